"""The statements about jobs, batches and issues: each for SQLite and PostgreSQL alike."""

from __future__ import annotations

from sqlalchemy import text

#: PostgreSQL's clock.
NOW = text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")

ADD_ORGANISATION = text(
    "INSERT INTO capillary_organisation (name, host) VALUES (:name, :host) ON CONFLICT (name) DO NOTHING"
)
FIND_ORGANISATION = text("SELECT id FROM capillary_organisation WHERE name = :name")

#: Other names under which badges were granted at this host.
OTHER_ORGANISATIONS = text("""
    SELECT o.name FROM capillary_organisation o WHERE o.host = :host AND o.name <> :name
    AND EXISTS (SELECT 1 FROM capillary_earned_badge e WHERE e.organisation_id = o.id) ORDER BY o.name
""")
HAS_ROWS = text("SELECT 1 FROM capillary_earned_badge WHERE organisation_id = :organisation LIMIT 1")
#: Makes the writers of one organisation wait for each other (PostgreSQL; SQLite has one writer anyway).
LOCK_ORGANISATION = text("UPDATE capillary_organisation SET host = host WHERE id = :organisation")

ADD_BADGE = text("INSERT INTO capillary_badge (badge_meta_id) VALUES (:name) ON CONFLICT (badge_meta_id) DO NOTHING")
FIND_BADGE = text("SELECT id FROM capillary_badge WHERE badge_meta_id = :name")

FIND_JOB = text("""
    SELECT id, fence, lease_owner, lease_until, state, dataset_fingerprint, settings FROM capillary_job
    WHERE job_id = :job_id
""")
ADD_JOB = text("""
    INSERT INTO capillary_job (job_id, organisation_id, dag_id, task_id, run_id, map_index, max_tries, dry_run,
        dataset_fingerprint, settings, sources, row_count, state, started_at, fence, lease_owner, lease_until)
    VALUES (:job_id, :organisation, :dag_id, :task_id, :run_id, :map_index, :max_tries, :dry_run,
        :dataset_fingerprint, :settings, :sources, :row_count, 'open', :now, 1, :owner, :until)
    ON CONFLICT (job_id) DO NOTHING RETURNING id
""")
#: Takes the lease where it is still as it was read: of two that steal at once, one gets it.
TAKE_LEASE = text("""
    UPDATE capillary_job SET fence = fence + 1, lease_owner = :owner, lease_until = :until, state = 'open',
        finished_at = NULL
    WHERE id = :job AND fence = :fence AND lease_until = :seen
""")
RENEW_LEASE = text(
    "UPDATE capillary_job SET lease_until = :until WHERE id = :job AND fence = :fence AND state = 'open'"
)
IS_LATEST = text("SELECT 1 FROM capillary_job WHERE id = :job AND fence = :fence")
#: A found intent of a dead try is unknown.
INTENTS_ARE_UNKNOWN = text("""
    UPDATE capillary_earned_badge SET state = 'unknown'
    WHERE job_id = :job AND state = 'intent' AND NOT EXISTS (
        SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = capillary_earned_badge.batch_id)
""")
#: Whoever changes rows that another process has in flight says so here first: an outcome that comes late then meets
#: a batch that has a verdict already, and looks at each row. Both wait for each other at this row of the ledger.
CUT_OFF_JOB = text("UPDATE capillary_batch SET verdict = 'CUT_OFF' WHERE job_id = :job AND verdict IS NULL")
CUT_OFF_BATCH = text("UPDATE capillary_batch SET verdict = 'CUT_OFF' WHERE id = :batch AND verdict IS NULL")
#: Told anew by every try, but for the stories that still hold: of rows that this job has in that very state.
FORGET_ISSUES = text("""
    DELETE FROM capillary_row_issue WHERE job_id = :job AND NOT EXISTS (
        SELECT 1 FROM capillary_row e WHERE e.job_id = capillary_row_issue.job_id
        AND e.row_number = capillary_row_issue.row_number AND e.state = capillary_row_issue.state)
""")
#: A row that is sent again is no longer unknown.
FORGET_ISSUE = text("DELETE FROM capillary_row_issue WHERE job_id = :job AND row_number = :row_number")

ADD_BATCH = text("""
    INSERT INTO capillary_batch (job_id, fence, attempt, row_count, fingerprint, request_id, sent_at)
    VALUES (:job, :fence, :attempt, :row_count, :fingerprint, :request_id, :now) RETURNING id
""")
SETTLE_BATCH = text("""
    UPDATE capillary_batch SET settled_at = :now, status = :status, verdict = :verdict WHERE id = :batch
""")
#: The same where nobody has touched the batch since its intent, and so many rows are all that it has.
SETTLE_UNTOUCHED_BATCH = text(f"{SETTLE_BATCH} AND verdict IS NULL AND row_count = :rows")
ACCEPT_BATCH = text("INSERT INTO capillary_accepted_batch (batch_id, earned_badge_ids) VALUES (:batch, :ids)")
#: Comes before the change that sets the rows free. The first doubt of a row stays its doubt for ever.
DOUBT = text("""
    UPDATE capillary_earned_badge SET doubt = coalesce(doubt, :doubt)
    WHERE organisation_id = :organisation AND customer_id = :customer_id AND badge_id = :badge_id
        AND earned_at = :earned_at AND occurrence = :occurrence AND batch_id = :batch AND state = 'unknown'
""")
#: The same for rows that a read found absent, although a reply without proof gave an id for them.
DOUBT_OF_ID = text("""
    UPDATE capillary_earned_badge SET doubt = coalesce(doubt, 'the API gave ' || earned_badge_id ||
        ' for this row without proof, and a read did not show it: may be granted twice')
    WHERE organisation_id = :organisation AND customer_id = :customer_id AND badge_id = :badge_id
        AND earned_at = :earned_at AND occurrence = :occurrence AND batch_id = :batch AND state = 'unknown'
        AND earned_badge_id IS NOT NULL
""")
#: An accepted batch accepts its intents only: rows that its reply left unknown can be taken over like any other.
ADOPT = text("""
    UPDATE capillary_earned_badge SET state = 'unknown', job_id = :job, row_number = :row_number
    WHERE organisation_id = :organisation AND customer_id = :customer_id AND badge_id = :badge_id
        AND earned_at = :earned_at AND occurrence = :occurrence
        AND job_id = :old_job AND batch_id = :batch AND (state = 'unknown' OR state = 'intent' AND NOT EXISTS (
            SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = capillary_earned_badge.batch_id))
""")

_ADD_ISSUE = """
    INSERT INTO capillary_row_issue (job_id, row_number, state, stage, code, message, request_id, attempt,
        badge_meta_id, source, line, original)
    VALUES (:job, :row_number, :state, :stage, :code, :message, :request_id, :attempt,
        :badge_meta_id, :source, :line, :original)
    ON CONFLICT (job_id, row_number)
"""
ADD_FIRST_ISSUE = text(f"{_ADD_ISSUE} DO NOTHING")
ADD_ISSUE = text(f"""{_ADD_ISSUE}
    DO UPDATE SET state = excluded.state, stage = excluded.stage,
        code = excluded.code, message = excluded.message, request_id = excluded.request_id,
        attempt = excluded.attempt, badge_meta_id = excluded.badge_meta_id, source = excluded.source,
        line = excluded.line, original = excluded.original
""")
ISSUES = text("""
    SELECT i.row_number, i.state, i.stage, i.code, i.message, i.request_id, i.attempt, i.badge_meta_id, i.source,
        i.line, i.original
    FROM capillary_row_issue i JOIN capillary_job j ON j.id = i.job_id
    WHERE j.job_id = :job_id ORDER BY i.row_number
""")

#: The turn of one more request: ``apart`` seconds after the last one, or now. One row, so all who ask wait in line.
RESERVE_REQUEST = text("""
    INSERT INTO capillary_request_budget (organisation, turn) VALUES (:organisation, :now)
    ON CONFLICT (organisation) DO UPDATE SET turn = CASE
        WHEN capillary_request_budget.turn + :apart > :now THEN capillary_request_budget.turn + :apart ELSE :now END
    RETURNING turn
""")

#: By indexes alone: rows that are neither accepted nor intents, by state; every row; batches that no note accepts.
#: Where there is no such batch, every intent is accepted with its batch: a row gets its batch from the job that it
#: belongs to, or is no intent any more when another job takes it over.
COUNT_TOLD = text("""
    SELECT state, count(*) FROM capillary_earned_badge
    WHERE job_id = :job AND state NOT IN ('intent', 'accepted') GROUP BY state
    UNION ALL SELECT 'every', count(*) FROM capillary_earned_badge WHERE job_id = :job
    UNION ALL SELECT 'batches', count(*) FROM capillary_batch b
        WHERE b.job_id = :job AND NOT EXISTS (SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = b.id)
""")
#: The same for any job: each row that was not accepted with its batch is looked at.
COUNT_STATES = text("""
    SELECT state, count(*) FROM capillary_earned_badge WHERE job_id = :job AND NOT (
        state = 'intent' AND batch_id IN (
            SELECT a.batch_id FROM capillary_accepted_batch a JOIN capillary_batch b ON b.id = a.batch_id
            WHERE b.job_id = :job)) GROUP BY state
    UNION ALL SELECT 'every', count(*) FROM capillary_earned_badge WHERE job_id = :job
""")
FINISH_JOB = text("""
    UPDATE capillary_job SET state = :state, finished_at = :now, summary = :summary, lease_until = :now
    WHERE id = :job AND fence = :fence
""")

_JOB_COLUMNS = """
    j.job_id, o.name AS organisation, j.dag_id, j.task_id, j.run_id, j.map_index, j.state, j.started_at, j.finished_at,
    j.row_count AS rows, j.sources, j.summary
    FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id
"""
ONE_JOB = text(f"SELECT {_JOB_COLUMNS} WHERE j.job_id = :job_id")
LATEST_JOBS = text(f"SELECT {_JOB_COLUMNS} ORDER BY j.id DESC LIMIT :limit")
