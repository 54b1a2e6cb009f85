-- Every statement of the ledger but those over many rows at once (rows.py): a name, one sentence, the statement.
-- Each is for SQLite and PostgreSQL alike, unless its sentence says otherwise.

-- now --
-- PostgreSQL's clock.
SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)

-- now_by_server --
-- PostgreSQL's clock, and when the server began whose clock it is: another one has another clock.
SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS at,
    CAST(extract(epoch FROM pg_postmaster_start_time()) AS double precision) AS server

-- identity --
-- The ledger's own name, made with it, and whether no job ever began in it.
SELECT ledger_id, sealed_for, NOT EXISTS (SELECT 1 FROM capillary_job) AS is_empty FROM capillary_ledger

-- server_encoding --
-- How the database keeps texts (PostgreSQL).
SELECT current_setting('server_encoding')

-- unguarded_replicas --
-- Replicas that no commit waits for (PostgreSQL; without the right to see more, each counts).
SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' THEN 0 ELSE count(*) END
FROM pg_stat_replication WHERE coalesce(state, 'streaming') IN ('streaming', 'catchup')

-- seal --
-- Let nothing more be done with the ledger, or, with nothing given, let it be done again.
UPDATE capillary_ledger SET sealed_for = :place

-- any_living_job --
-- A job that runs, of whatever organisation.
SELECT job_id FROM capillary_job WHERE state = 'open' AND lease_until > :now LIMIT 1

-- ------------------------------------------------------------------------------------------ organisations and badges

-- note_organisation --
-- Note an organisation's name; of two that do it at once, both find one.
INSERT INTO capillary_organisation (name, folded, host, is_added) VALUES (:name, :folded, :host, false)
ON CONFLICT (folded) DO NOTHING

-- find_organisation --
-- An organisation, and whether the ledger knows it: by a person's word, or as badges were sent under its name before.
SELECT id, name, is_added OR EXISTS (
    SELECT 1 FROM capillary_job j JOIN capillary_batch b ON b.job_id = j.id WHERE j.organisation_id = o.id) AS is_known
FROM capillary_organisation o WHERE folded = :folded

-- granted_organisations --
-- Names under which badges were granted, or may have been.
SELECT o.name, o.folded FROM capillary_organisation o WHERE EXISTS (
    SELECT 1 FROM capillary_job j JOIN capillary_batch b ON b.job_id = j.id WHERE j.organisation_id = o.id AND (
        b.state <> 'planned' AND b.row_count - b.gone > (
            SELECT count(*) FROM capillary_odd_row x WHERE x.batch_id = b.id AND x.occurrence > 0)
        OR EXISTS (SELECT 1 FROM capillary_odd_row x
            WHERE x.batch_id = b.id AND x.state IN ('accepted', 'unknown', 'revoked'))))
ORDER BY o.name

-- organisations --
-- Every name, with its jobs.
SELECT o.name, o.folded, o.host, o.is_added, count(j.id) AS jobs, max(j.started_at) AS last_job
FROM capillary_organisation o LEFT JOIN capillary_job j ON j.organisation_id = o.id GROUP BY o.id, o.name, o.folded,
    o.host, o.is_added ORDER BY o.name

-- confirm_organisation --
-- A person says that a name is an organisation of its own.
UPDATE capillary_organisation SET is_added = true WHERE folded = :folded

-- give_jobs_up --
-- Jobs of a name under which no badge was sent are of another name from now on.
UPDATE capillary_job SET organisation_id = :to WHERE organisation_id = :organisation

-- drop_organisation --
-- Forget a name without jobs and badges.
DELETE FROM capillary_organisation WHERE id = :organisation

-- rename_organisation --
-- Give an organisation another name.
UPDATE capillary_organisation SET name = :name, folded = :folded WHERE id = :organisation

-- forget_turns --
-- Forget the turns of requests of a name.
DELETE FROM capillary_request_budget WHERE organisation = :folded

-- rename_turns --
-- The same turns under another name.
UPDATE capillary_request_budget SET organisation = :to WHERE organisation = :folded

-- rename_probes --
-- The same probes under another name.
UPDATE capillary_probe SET organisation = :to WHERE organisation = :folded

-- commits --
-- How often some jobs have committed.
SELECT job_id, commits FROM capillary_job WHERE job_id IN :job_ids

-- newest_jobs --
-- The newest jobs of an organisation that may have sent something, newest first.
SELECT j.job_id FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id
WHERE o.folded = :folded AND NOT j.dry_run ORDER BY j.id DESC LIMIT :limit

-- has_living_job --
-- Whether a job of an organisation runs.
SELECT 1 FROM capillary_job WHERE organisation_id = :organisation AND state = 'open' AND lease_until > :now LIMIT 1

-- lock_organisation --
-- Make the writers of one organisation wait for each other (PostgreSQL; SQLite has one writer anyway).
UPDATE capillary_organisation SET host = host WHERE id = :organisation

-- has_badges --
-- Whether badges of an organisation were ever numbered: each that was to be sent is.
SELECT 1 FROM capillary_badge WHERE organisation_id = :organisation LIMIT 1

-- add_badge --
-- Number a badge of an organisation.
INSERT INTO capillary_badge (organisation_id, badge_meta_id) VALUES (:organisation, :name)
ON CONFLICT (organisation_id, badge_meta_id) DO NOTHING

-- find_badge --
-- The number of a badge of an organisation.
SELECT id FROM capillary_badge WHERE organisation_id = :organisation AND badge_meta_id = :name

-- badge_names --
-- The badges of a job's organisation by their numbers.
SELECT g.id, g.badge_meta_id FROM capillary_badge g JOIN capillary_job j ON j.organisation_id = g.organisation_id
WHERE j.id = :job

-- names_of_badges --
-- What some badges are called, as far as it is known.
SELECT badge_meta_id, name FROM capillary_badge_name WHERE badge_meta_id IN :badges

-- name_badge --
-- Note what a badge is called.
INSERT INTO capillary_badge_name (badge_meta_id, name) VALUES (:badge, :name)
ON CONFLICT (badge_meta_id) DO UPDATE SET name = excluded.name

-- reserve_request --
-- Take the turn of one more request: apart seconds after the last one, or now; one row, so all who ask wait in line.
-- A thousand never wait: a turn that is farther away was taken before the clock was put back.
INSERT INTO capillary_request_budget (organisation, turn) VALUES (:organisation, :now)
ON CONFLICT (organisation) DO UPDATE SET turn = CASE
    WHEN capillary_request_budget.turn + :apart > :now AND capillary_request_budget.turn <= :now + 1000 * :apart THEN capillary_request_budget.turn + :apart ELSE :now END
RETURNING turn

-- --------------------------------------------------------------------------------------------------- jobs and leases

-- add_job --
-- Begin a job and take its lease; no row comes back where the job is there already.
INSERT INTO capillary_job (job_id, organisation_id, dag_id, task_id, run_id, map_index, max_tries, dry_run,
    dataset_fingerprint, settings, sources, row_count, state, started_at, fence, lease_owner, lease_until, commits)
VALUES (:job_id, :organisation, :dag_id, :task_id, :run_id, :map_index, :max_tries, :dry_run,
    :dataset_fingerprint, :settings, :sources, :row_count, 'open', :now, 1, :owner, :until, 1)
ON CONFLICT (job_id) DO NOTHING RETURNING id

-- find_job --
-- A job as one that wants to resume it must know it.
SELECT id, fence, lease_owner, lease_until, state, dataset_fingerprint, settings FROM capillary_job
WHERE job_id = :job_id

-- take_lease --
-- Take the lease where it is still as it was read: of two that steal at once, one gets it.
UPDATE capillary_job SET fence = fence + 1, lease_owner = :owner, lease_until = :until, state = 'open',
    finished_at = NULL, commits = commits + 1
WHERE id = :job AND fence = :fence AND lease_until = :seen

-- renew_lease --
-- Say that this copy lives; no row changes where another copy took over, or the job is closed.
UPDATE capillary_job SET lease_until = :until, commits = commits + 1
WHERE id = :job AND fence = :fence AND state = 'open'

-- renew_lease_by_server --
-- The same by PostgreSQL's clock, which comes back, with the time at which the server began.
UPDATE capillary_job SET commits = commits + 1,
    lease_until = CAST(extract(epoch FROM clock_timestamp()) AS double precision) + :seconds
WHERE (id, fence, state) = (:job, :fence, 'open')
RETURNING CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS at,
    CAST(extract(epoch FROM pg_postmaster_start_time()) AS double precision) AS server

-- count_commit --
-- Count a commit of a copy that holds no lease; a row comes back where no other copy took the job over.
UPDATE capillary_job SET commits = commits + 1 WHERE id = :job RETURNING fence

-- finish_job --
-- Keep the summary and give the lease back.
UPDATE capillary_job SET state = :state, finished_at = :now, summary = :summary, lease_until = :now,
    commits = commits + 1
WHERE id = :job AND fence = :fence

-- lock_job --
-- Lock a job for work outside an import; an import must change the same row to take the job up.
UPDATE capillary_job SET commits = commits + 1 WHERE job_id = :job_id
RETURNING id, organisation_id, state, fence, lease_owner, lease_until

-- close_dead_job --
-- Shut out a process that was taken for dead and wakes up: by its fence it can note no intent any more.
-- A summary that is there is an earlier try's.
UPDATE capillary_job SET state = 'failed', fence = fence + 1, lease_until = :now, finished_at = :now, summary = NULL
WHERE id = :job AND state = 'open'

-- job_settings --
-- The settings that a job began with.
SELECT settings FROM capillary_job WHERE job_id = :job_id

-- job_key --
-- The ledger's number of a job.
SELECT id FROM capillary_job WHERE job_id = :job_id

-- job_id_of_key --
-- The id of a job, by the ledger's number.
SELECT job_id FROM capillary_job WHERE id = :job

-- job_summary --
-- The last summary of a job.
SELECT summary FROM capillary_job WHERE id = :job

-- save_summary --
-- Change a job's summary, in which a row's state changed since.
UPDATE capillary_job SET summary = :summary WHERE id = :job

-- one_job --
-- A job as it is shown.
SELECT j.job_id, o.name AS organisation, j.dag_id, j.task_id, j.run_id, j.map_index, j.state, j.started_at,
    j.finished_at, j.row_count AS rows, j.sources, j.summary, j.commits, j.max_tries, j.dry_run, j.lease_owner,
    j.lease_until
FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id WHERE j.job_id = :job_id

-- latest_jobs --
-- The latest jobs, latest first; of one DAG where it is given.
SELECT j.job_id, o.name AS organisation, j.dag_id, j.task_id, j.run_id, j.map_index, j.state, j.started_at,
    j.finished_at, j.row_count AS rows, j.sources, j.summary, j.commits, j.max_tries, j.dry_run, j.lease_owner,
    j.lease_until
FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id
WHERE CAST(:dag_id AS text) IS NULL OR j.dag_id = :dag_id ORDER BY j.id DESC LIMIT :limit

-- jobs_of_run --
-- The jobs of a run's tasks, latest first; of one task where it is given.
SELECT j.job_id, o.name AS organisation, j.dag_id, j.task_id, j.run_id, j.map_index, j.state, j.started_at,
    j.finished_at, j.row_count AS rows, j.sources, j.summary, j.commits, j.max_tries, j.dry_run, j.lease_owner,
    j.lease_until
FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id
WHERE j.dag_id = :dag_id AND j.run_id = :run_id AND (CAST(:task_id AS text) IS NULL OR j.task_id = :task_id)
ORDER BY j.id DESC

-- count_batches --
-- How many batches a job began to send.
SELECT count(*) FROM capillary_batch WHERE job_id = :job

-- count_unsent_issues --
-- Rows of a job that ended before they were sent, and rejected ones: those of a missing badge are in no batch.
SELECT state, count(*) AS row_count FROM capillary_row_issue WHERE job_id = :job AND state IN ('invalid', 'rejected')
GROUP BY state

-- living_job --
-- Whether the lease of a job is held.
SELECT 1 FROM capillary_job WHERE id = :job AND state = 'open' AND lease_until > :now

-- ----------------------------------------------------------------------------------------------------------- batches

-- add_batch --
-- Note the intent to send a batch, with its rows.
INSERT INTO capillary_batch (job_id, fence, attempt, state, row_count, gone, has_late_id, fingerprint, request_id,
    sent_at, server_started, boot_id, sent_boot_time, sent_time_of_day, rows)
VALUES (:job, :fence, :attempt, 'intent', :row_count, 0, false, :fingerprint, :request_id, :now, :server, :boot_id,
    :boot_time, :time_of_day, :rows)
RETURNING id

-- add_batches --
-- The same for many batches, in their order (PostgreSQL).
INSERT INTO capillary_batch (job_id, fence, attempt, state, row_count, gone, has_late_id, fingerprint, request_id,
    sent_at, server_started, boot_id, sent_boot_time, sent_time_of_day, rows)
SELECT :job, :fence, n.attempt, 'intent', n.row_count, 0, false, n.fingerprint, n.request_id, :now,
    CAST(:server AS double precision), CAST(:boot_id AS text), CAST(:boot_time AS double precision),
    CAST(:time_of_day AS double precision), n.rows
FROM unnest(CAST(:attempt_column AS int[]), CAST(:row_count_column AS int[]), CAST(:fingerprint_column AS text[]),
    CAST(:request_id_column AS text[]), CAST(:rows_column AS bytea[])) WITH ORDINALITY
    AS n(attempt, row_count, fingerprint, request_id, rows, place)
ORDER BY n.place
RETURNING id

-- note_unseen_batches --
-- The same with their rows, of which none was looked up (PostgreSQL).
WITH added AS (
    INSERT INTO capillary_batch (job_id, fence, attempt, state, row_count, gone, has_late_id, fingerprint, request_id,
        sent_at, server_started, boot_id, sent_boot_time, sent_time_of_day, rows)
    SELECT :job, :fence, n.attempt, 'intent', n.row_count, 0, false, n.fingerprint, n.request_id, :now,
        CAST(:server AS double precision), CAST(:boot_id AS text), CAST(:boot_time AS double precision),
        CAST(:time_of_day AS double precision), n.rows
    FROM unnest(CAST(:attempt_column AS int[]), CAST(:row_count_column AS int[]), CAST(:fingerprint_column AS text[]),
        CAST(:request_id_column AS text[]), CAST(:rows_column AS bytea[])) WITH ORDINALITY
        AS n(attempt, row_count, fingerprint, request_id, rows, place)
    ORDER BY n.place
    RETURNING id
), noted AS (
    INSERT INTO capillary_earned_badge (customer_id, earned_at, batch_id, badge_id, occurrence)
    SELECT unnest(CAST(:customers AS bigint[])), unnest(CAST(:dates AS bigint[])),
        numbered.ids[unnest(CAST(:places AS int[]))], unnest(CAST(:badges AS int[])),
        unnest(CAST(:occurrences AS int[]))
    FROM (SELECT array_agg(id ORDER BY id) AS ids FROM added) numbered
)
SELECT id FROM added

-- accept_seeded_batch --
-- Accept rows that were granted outside this ledger, in the transaction in which they were noted.
UPDATE capillary_batch SET state = 'accepted', proof = 'seed', ids = :ids, settled_at = :now, verdict = 'SEEDED'
WHERE id = :batch

-- settle_untouched_batch --
-- Give all rows of a batch one state at once, where none has left it or has a state of its own since the intent.
UPDATE capillary_batch SET state = :state, proof = :proof, ids = :ids, settled_at = :now, server_started = :server,
    status = :status, verdict = :verdict, settled_time_of_day = :time_of_day,
    settled_boot_time = CASE WHEN boot_id = :boot_id THEN CAST(:boot_time AS double precision) END
WHERE id = :batch AND state = 'intent' AND row_count = :row_count AND gone = 0 AND NOT has_late_id
    AND NOT EXISTS (SELECT 1 FROM capillary_odd_row x WHERE x.batch_id = capillary_batch.id)

-- settle_untouched_batches --
-- The same for many batches (PostgreSQL); those come back that were settled.
UPDATE capillary_batch AS b SET state = n.state, proof = n.proof, ids = n.ids, settled_at = :now,
    server_started = CAST(:server AS double precision), status = n.status, verdict = n.verdict,
    settled_time_of_day = CAST(:time_of_day AS double precision),
    settled_boot_time = CASE WHEN b.boot_id = CAST(:boot_id AS text) THEN CAST(:boot_time AS double precision) END
FROM (SELECT * FROM unnest(CAST(:batch_column AS bigint[]), CAST(:row_count_column AS int[]),
    CAST(:state_column AS text[]), CAST(:proof_column AS text[]), CAST(:status_column AS int[]),
    CAST(:verdict_column AS text[]), CAST(:ids_column AS bytea[]))
    AS n(batch, row_count, state, proof, status, verdict, ids) ORDER BY n.batch) n
WHERE b.id = n.batch AND b.state = 'intent' AND b.row_count = n.row_count AND b.gone = 0 AND NOT b.has_late_id
    AND NOT EXISTS (SELECT 1 FROM capillary_odd_row x WHERE x.batch_id = b.id)
RETURNING b.id

-- lock_batch --
-- Lock a batch. A process that gives one of its rows a state of its own does this first, so that they take turns.
UPDATE capillary_batch SET gone = gone WHERE id = :batch
RETURNING id, job_id, state, row_count, gone, rows, ids

-- batch_settled --
-- Note the reply to a batch.
UPDATE capillary_batch SET settled_at = :now, server_started = :server, status = :status, verdict = :verdict,
    settled_time_of_day = :time_of_day,
    settled_boot_time = CASE WHEN boot_id = :boot_id THEN CAST(:boot_time AS double precision) END
WHERE id = :batch

-- change_batch --
-- Change the state of all rows of a batch that have none of their own.
UPDATE capillary_batch SET state = :state, proof = :proof, ids = :ids WHERE id = :batch

-- change_ids --
-- Change the ids of a batch: one of them was not known when it was accepted.
UPDATE capillary_batch SET ids = :ids WHERE id = :batch

-- late_id_is_known --
-- A late id is known of a row of a batch in flight: its outcome then changes row by row, and looks at each.
UPDATE capillary_batch SET has_late_id = true WHERE id = :batch AND state = 'intent'

-- add_batch_of_late_row --
-- A batch of its own for a row that an earlier request is proven to have granted, with that request's data.
INSERT INTO capillary_batch (job_id, fence, attempt, state, row_count, gone, has_late_id, sent_with, fingerprint,
    request_id, sent_at, server_started, boot_id, sent_boot_time, sent_time_of_day, rows)
SELECT :job, fence, attempt, 'intent', 1, 0, false, id, fingerprint, request_id, sent_at, server_started, boot_id,
    sent_boot_time, sent_time_of_day, :rows
FROM capillary_batch WHERE id = :batch RETURNING id

-- intents_are_unknown --
-- An intent that a dead try left is unknown: one change for each batch.
UPDATE capillary_batch SET state = 'unknown' WHERE job_id = :job AND state = 'intent'

-- batch_is_cut_off --
-- An intent of which another job takes rows over is unknown, and not only for these rows.
UPDATE capillary_batch SET state = 'unknown' WHERE id = :batch AND state = 'intent'

-- rows_left --
-- Rows of a batch that belong to another one from now on.
UPDATE capillary_batch SET gone = gone + :rows WHERE id = :batch

-- batch_rows --
-- The packed rows of a batch, which never change.
SELECT rows, row_count FROM capillary_batch WHERE id = :batch

-- newest_batch --
-- The number of the newest batch of all.
SELECT max(id) FROM capillary_batch

-- moments_of_batches --
-- When the exchanges of batches were over, or their intents noted where no process recorded an end.
SELECT id, coalesce(settled_at, sent_at) AS at, server_started AS server, boot_id, settled_at IS NULL AS is_cut_off,
    CASE WHEN settled_at IS NULL THEN sent_boot_time ELSE settled_boot_time END AS boot_seconds,
    CASE WHEN settled_at IS NULL THEN sent_time_of_day ELSE settled_time_of_day END AS time_of_day
FROM capillary_batch WHERE id IN :batches

-- next_batch --
-- The first batch of a job after another one that is in one of some states.
SELECT b.id, b.state, b.row_count, b.gone, b.rows, b.ids, b.proof, b.request_id, b.sent_at,
    (SELECT count(*) FROM capillary_odd_row x WHERE x.batch_id = b.id) AS odd
FROM capillary_batch b WHERE b.job_id = :job AND b.state IN :states AND b.id > :after ORDER BY b.id LIMIT 1

-- replied_batches --
-- The newest batches of an organisation that a reply proves, of those that were settled so long ago.
SELECT b.id, b.row_count, b.rows, b.ids FROM capillary_batch b CROSS JOIN capillary_job j
WHERE b.state = 'accepted' AND b.proof = 'reply' AND b.settled_at <= :before
    AND j.id = b.job_id AND j.organisation_id = :organisation
ORDER BY b.settled_at DESC LIMIT :limit

-- next_replied_batch --
-- When the first batch was settled that a reply proves, of those that were settled later than that.
SELECT b.settled_at FROM capillary_batch b CROSS JOIN capillary_job j
WHERE b.state = 'accepted' AND b.proof = 'reply' AND b.settled_at > :before
    AND j.id = b.job_id AND j.organisation_id = :organisation
ORDER BY b.settled_at LIMIT 1

-- count_states --
-- The rows of a job by state: those of its batches without the odd ones, and the odd ones of the job.
SELECT state, CAST(sum(rows) AS bigint) FROM (
    SELECT b.state, sum(b.row_count - b.gone) AS rows FROM capillary_batch b WHERE b.job_id = :job GROUP BY b.state
    UNION ALL
    SELECT b.state, -count(*) FROM capillary_batch b JOIN capillary_odd_row x ON x.batch_id = b.id
    WHERE b.job_id = :job AND x.occurrence > 0 GROUP BY b.state
    UNION ALL
    SELECT x.state, count(*) FROM capillary_odd_row x WHERE x.job_id = :job GROUP BY x.state
) counted GROUP BY state

-- ------------------------------------------------------------------------------------- rows with a state of their own

-- odd_rows_of_batch --
-- All rows of a batch that have a state of their own, of whatever job they are by now.
SELECT customer_id, badge_id, earned_at, occurrence, state, job_id, earned_badge_id FROM capillary_odd_row
WHERE batch_id = :batch

-- odd_rows_of_job --
-- Rows of a job that have a state of their own, by row number.
SELECT x.customer_id, x.badge_id, x.earned_at, x.occurrence, x.state, x.batch_id, x.row_number, x.expires_at,
    x.earned_badge_id, x.proof, b.request_id, b.sent_at
FROM capillary_odd_row x JOIN capillary_batch b ON b.id = x.batch_id
WHERE x.job_id = :job AND x.state IN :states AND (x.row_number, x.customer_id, x.badge_id, x.earned_at, x.occurrence)
    > (:row_number, :customer, :badge, :earned, :occurrence)
ORDER BY x.row_number, x.customer_id, x.badge_id, x.earned_at, x.occurrence LIMIT :limit

-- count_odd_rows --
-- Rows of a job that have a state of their own, by badge and state, and whether their id is known.
SELECT badge_id, state, earned_badge_id IS NOT NULL AS has_id, count(*) AS row_count FROM capillary_odd_row
WHERE job_id = :job GROUP BY badge_id, state, earned_badge_id IS NOT NULL

-- adopt_odd_row --
-- An unknown row belongs to another job from now on.
UPDATE capillary_odd_row SET job_id = :job, row_number = :row_number
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned AND occurrence = :occurrence

-- drop_odd_row --
-- A row that is sent again is as its new batch.
DELETE FROM capillary_odd_row
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned AND occurrence = :occurrence

-- add_doubt --
-- Keep for ever why a row may be granted twice; the first reason stays.
INSERT INTO capillary_doubt (customer_id, badge_id, earned_at, occurrence, doubt)
VALUES (:customer, :badge, :earned, :occurrence, :doubt)
ON CONFLICT (customer_id, badge_id, earned_at, occurrence) DO NOTHING

-- find_doubt --
-- Why a row may be granted twice.
SELECT doubt FROM capillary_doubt
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned AND occurrence = :occurrence

-- ------------------------------------------------------------------------------------------------------------ issues

-- add_first_issue --
-- Keep why a row was not accepted, or may be granted twice; a row that has an issue already keeps it.
INSERT INTO capillary_row_issue (job_id, row_number, state, stage, code, message, badge_meta_id, details, original)
VALUES (:job, :row_number, :state, :stage, :code, :message, :badge_meta_id, :details, :original)
ON CONFLICT (job_id, row_number) DO NOTHING

-- issues --
-- Why rows of a job were not accepted, in the dataset's order.
SELECT i.row_number, i.state, i.stage, i.code, i.message, i.badge_meta_id, i.details, i.original
FROM capillary_row_issue i JOIN capillary_job j ON j.id = i.job_id WHERE j.job_id = :job_id ORDER BY i.row_number

-- issues_about_batches --
-- Issues of a job in one state that no row with a state of its own confirms.
SELECT i.row_number FROM capillary_row_issue i WHERE i.job_id = :job AND i.state = :state AND NOT EXISTS (
    SELECT 1 FROM capillary_odd_row x
    WHERE x.job_id = i.job_id AND x.row_number = i.row_number AND x.state = i.state)

-- forget_unconfirmed_issues --
-- A new try writes its issues again: forget those that no row with a state of its own confirms, but not these states.
DELETE FROM capillary_row_issue WHERE job_id = :job AND state NOT IN ('accepted', 'unknown') AND NOT EXISTS (
    SELECT 1 FROM capillary_odd_row x WHERE x.job_id = capillary_row_issue.job_id
    AND x.row_number = capillary_row_issue.row_number AND x.state = capillary_row_issue.state)

-- forget_issue --
-- A row that is sent again is no longer unknown.
DELETE FROM capillary_row_issue WHERE job_id = :job AND row_number = :row_number

-- unknown_issues --
-- What a job's report says of the rows that it calls unknown, by row number.
SELECT row_number, message, original FROM capillary_row_issue
WHERE job_id = :job AND state = 'unknown' AND row_number BETWEEN :first AND :last ORDER BY row_number

-- report_end --
-- Change the issue of a row that was unknown; of stage verify is only what is proven to be granted once.
UPDATE capillary_row_issue SET state = :state, stage = CASE WHEN CAST(:doubt AS text) IS NULL THEN 'verify' ELSE 'send' END,
    message = message || '; ' || :reason || coalesce('; ' || :doubt, '')
WHERE job_id = :job AND row_number = :row_number AND state = 'unknown'

-- ------------------------------------------------------------------------------------------- ids that accept no row

-- keep_id --
-- Keep an id with the batch in whose reply it came.
INSERT INTO capillary_given_id (batch_id, organisation_id, earned_badge_id, customer_id, badge_meta_id, earned_at,
    occurrence, is_proven)
VALUES (:batch, :organisation, :earned_badge_id, :customer, :name, :earned, :occurrence, :is_proven)

-- customers_of_late_ids --
-- Customers of an organisation of whom a proven id came late.
SELECT DISTINCT customer_id FROM capillary_given_id WHERE organisation_id = :organisation AND is_proven

-- late_ids --
-- The proven ids that came late for a row, with the batch of each.
SELECT DISTINCT k.earned_badge_id, k.batch_id FROM capillary_given_id k
WHERE k.organisation_id = :organisation AND k.customer_id = :customer AND k.badge_meta_id = :name
    AND k.earned_at = :earned AND k.occurrence = :occurrence AND k.is_proven
ORDER BY k.batch_id, k.earned_badge_id

-- report_second_grant --
-- Report with the job that owns a row that it was granted twice; an issue that stands is added to.
INSERT INTO capillary_row_issue (job_id, row_number, state, stage, code, message, badge_meta_id, details, original)
VALUES (:job, :row_number, :state, :stage, :code, :message, :badge_meta_id, :details, :original)
ON CONFLICT (job_id, row_number) DO UPDATE SET state = excluded.state, stage = excluded.stage,
    message = capillary_row_issue.message || '; ' || excluded.message

-- one_row --
-- A row with its batch, as far as it does not stand in the batch's packed rows.
SELECT coalesce(x.state, b.state) AS state, e.batch_id, coalesce(x.job_id, b.job_id) AS job_id, x.row_number,
    x.expires_at, x.earned_badge_id, x.state IS NOT NULL AS is_odd, b.attempt, b.row_count, b.rows, b.ids,
    coalesce(b.sent_with, b.id) AS sent_with, d.doubt
FROM capillary_earned_badge e JOIN capillary_batch b ON b.id = e.batch_id
LEFT JOIN capillary_odd_row x ON x.customer_id = e.customer_id AND x.badge_id = e.badge_id
    AND x.earned_at = e.earned_at AND x.occurrence = e.occurrence AND x.batch_id = e.batch_id
LEFT JOIN capillary_doubt d ON d.customer_id = e.customer_id AND d.badge_id = e.badge_id
    AND d.earned_at = e.earned_at AND d.occurrence = e.occurrence
WHERE e.customer_id = :customer AND e.badge_id = :badge AND e.earned_at = :earned AND e.occurrence = :occurrence

-- unproven_ids --
-- Ids that replies without proof gave, of some batches.
SELECT batch_id, earned_badge_id FROM capillary_given_id WHERE batch_id IN :batches AND NOT is_proven

-- second_ids --
-- Ids that were kept for rows of a job's organisation, and that no revocation has settled.
SELECT DISTINCT k.earned_badge_id, k.customer_id, g.id AS badge_id, g.badge_meta_id, k.earned_at, k.occurrence,
    r.earned_badge_id IS NOT NULL AS asked_before
FROM capillary_given_id k
JOIN capillary_job j ON j.organisation_id = k.organisation_id
JOIN capillary_badge g ON g.organisation_id = k.organisation_id AND g.badge_meta_id = k.badge_meta_id
LEFT JOIN capillary_revocation r ON r.organisation_id = k.organisation_id AND r.earned_badge_id = k.earned_badge_id
WHERE j.job_id = :job_id AND k.earned_at IS NOT NULL
    AND (r.earned_badge_id IS NULL OR r.answer IS NULL OR r.answer IN ('refused', 'unconfirmed'))

-- nameless_ids --
-- Ids of a job's batches that name a customer and a badge, but no row for certain, and that no revocation has settled.
SELECT DISTINCT k.earned_badge_id, k.customer_id, g.id AS badge_id, g.badge_meta_id,
    r.earned_badge_id IS NOT NULL AS asked_before
FROM capillary_given_id k
JOIN capillary_batch b ON b.id = k.batch_id
JOIN capillary_job j ON j.id = b.job_id
JOIN capillary_badge g ON g.organisation_id = j.organisation_id AND g.badge_meta_id = k.badge_meta_id
LEFT JOIN capillary_revocation r ON r.organisation_id = k.organisation_id AND r.earned_badge_id = k.earned_badge_id
WHERE j.job_id = :job_id AND k.earned_at IS NULL AND k.customer_id IS NOT NULL
    AND (r.earned_badge_id IS NULL OR r.answer IS NULL OR r.answer IN ('refused', 'unconfirmed'))
ORDER BY k.earned_badge_id

-- rows_of_customer --
-- The rows of one badge of one customer.
SELECT earned_at, occurrence FROM capillary_earned_badge WHERE customer_id = :customer AND badge_id = :badge

-- all_rows_of_customer --
-- All rows of one customer, of every organisation, with the jobs that have them.
SELECT o.name AS organisation, r.badge_meta_id, r.earned_at, r.occurrence, r.state, j.job_id, j.dag_id, j.run_id,
    r.request_id, r.sent_at, r.doubt
FROM capillary_row r JOIN capillary_job j ON j.id = r.job_id JOIN capillary_organisation o ON o.id = r.organisation_id
WHERE r.customer_id = :customer ORDER BY r.earned_at, o.name, r.badge_meta_id, r.occurrence

-- ids_of_batches --
-- The packed ids of all batches.
SELECT row_count, ids FROM capillary_batch WHERE ids IS NOT NULL

-- other_ids --
-- All ids that stand elsewhere.
SELECT earned_badge_id FROM capillary_odd_row WHERE earned_badge_id IS NOT NULL
UNION SELECT earned_badge_id FROM capillary_given_id
UNION SELECT earned_badge_id FROM capillary_probe_grant WHERE earned_badge_id IS NOT NULL

-- -------------------------------------------------------------------------------------------- settling and revoking

-- note_settlement --
-- Keep by what proof, or by whose word, a row was settled.
INSERT INTO capillary_settlement (job_id, row_number, customer_id, badge_id, earned_at, occurrence, state, proof,
    settled_by, settled_at)
VALUES (:job, :row_number, :customer, :badge, :earned, :occurrence, :state, :proof, :by, :now)

-- open_revocations --
-- Those of some earned badges that were asked to be revoked, and no answer is noted.
SELECT earned_badge_id FROM capillary_revocation
WHERE organisation_id = (SELECT organisation_id FROM capillary_job WHERE id = :job) AND earned_badge_id IN :ids
    AND answer IS NULL

-- note_revocation --
-- Note that the API is about to be asked; a note without an answer stays as it is.
INSERT INTO capillary_revocation (organisation_id, earned_badge_id, job_id, customer_id, badge_id, earned_at,
    occurrence, asked_by, asked_at)
VALUES (:organisation, :earned_badge_id, :job, :customer, :badge, :earned, :occurrence, :by, :now)
ON CONFLICT (organisation_id, earned_badge_id) DO UPDATE SET asked_by = excluded.asked_by,
    asked_at = excluded.asked_at, answered_at = NULL, answer = NULL
WHERE capillary_revocation.answer IN ('refused', 'unconfirmed')

-- answer_revocation --
-- Note the API's answer.
UPDATE capillary_revocation SET answered_at = :now, answer = :answer
WHERE organisation_id = :organisation AND earned_badge_id = :earned_badge_id
    AND (answer IS NULL OR answer IN ('refused', 'unconfirmed'))

-- revoked_rows --
-- Revoked rows of a job that were not set aside yet.
SELECT customer_id, badge_id, earned_at, occurrence, batch_id, earned_badge_id FROM capillary_odd_row
WHERE job_id = :job AND state = 'revoked' AND occurrence > 0 ORDER BY row_number LIMIT :limit

-- lowest_occurrence --
-- The occurrence below 0 that was given last to a row of this identity that was set aside.
SELECT min(occurrence) FROM capillary_earned_badge
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned

-- set_row_aside --
-- Set a row's identity free: the row goes on under another occurrence.
UPDATE capillary_earned_badge SET occurrence = :aside
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned AND occurrence = :occurrence

-- set_odd_row_aside --
-- The same for its state.
UPDATE capillary_odd_row SET occurrence = :aside
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned AND occurrence = :occurrence

-- set_doubt_aside --
-- The same for its doubt.
UPDATE capillary_doubt SET occurrence = :aside
WHERE customer_id = :customer AND badge_id = :badge AND earned_at = :earned AND occurrence = :occurrence

-- note_freed --
-- Keep by whose word a revoked row may be imported again.
UPDATE capillary_revocation SET freed_by = :by, freed_at = :now
WHERE organisation_id = :organisation AND earned_badge_id = :earned_badge_id

-- --------------------------------------------------------------------------------------------- what the page shows

-- dag_ids_of_jobs --
-- The DAGs that ever had a job here.
SELECT DISTINCT dag_id FROM capillary_job ORDER BY dag_id

-- organisations_of_dags --
-- The organisations that some DAGs imported for.
SELECT DISTINCT o.name FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id
WHERE j.dag_id IN :dag_ids ORDER BY o.name

-- page_of_jobs --
-- Jobs of some DAGs, latest first; an open job whose lease is over is dead.
SELECT j.job_id, o.name AS organisation, j.dag_id, j.task_id, j.run_id, j.map_index, j.state, j.started_at,
    j.finished_at, j.row_count AS rows, j.sources, j.summary, j.commits, j.max_tries, j.dry_run, j.lease_owner,
    j.lease_until
FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id
WHERE j.dag_id IN :dag_ids
    AND (CAST(:dag_id AS text) IS NULL OR j.dag_id = :dag_id)
    AND (CAST(:organisation AS text) IS NULL OR o.name = :organisation)
    AND (CAST(:state AS text) IS NULL
        OR CASE WHEN j.state = 'open' AND j.lease_until <= :now THEN 'dead' ELSE j.state END = :state)
    AND j.started_at >= :since AND j.started_at < :until
ORDER BY j.id DESC LIMIT :limit OFFSET :offset

-- issue_counts --
-- How many rows of a job have an issue, by state, stage and badge.
SELECT state, stage, badge_meta_id, count(*) AS row_count FROM capillary_row_issue
WHERE job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id) GROUP BY state, stage, badge_meta_id

-- first_issues --
-- Why the first rows of a job were not accepted, without the rows.
SELECT state, stage, code, message FROM capillary_row_issue
WHERE job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id) ORDER BY row_number LIMIT :limit

-- find_issues --
-- A page of a job's issues, of one state or of all; the text is looked for in the reason and in the row itself.
SELECT row_number, state, stage, code, message, badge_meta_id, details, original
FROM capillary_row_issue WHERE job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id)
    AND (CAST(:state AS text) IS NULL OR state = :state)
    AND (CAST(:pattern AS text) IS NULL OR lower(original) LIKE :json_pattern ESCAPE '!'
        OR lower(message) LIKE :pattern ESCAPE '!' OR badge_meta_id LIKE :pattern ESCAPE '!'
        OR CAST(code AS text) = :text)
ORDER BY row_number LIMIT :limit OFFSET :offset

-- rows_of_customer_in_job --
-- What the ledger holds of one customer's rows in a job.
SELECT v.customer_id, v.badge_meta_id, v.earned_at, v.state, v.request_id, v.sent_at, v.doubt FROM capillary_row v
WHERE v.customer_id = :customer AND v.job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id)
ORDER BY v.earned_at, v.badge_meta_id LIMIT :limit

-- what_a_job_waits_for --
-- Rows without proof: when the last of their batches was given up; rows in flight; the next turn of the budget.
SELECT
    (SELECT max(coalesce(b.settled_at, b.sent_at)) FROM capillary_batch b
        WHERE b.job_id = j.id AND b.state = 'unknown') AS unproven_since,
    (SELECT CAST(coalesce(sum(b.row_count - b.gone), 0) AS bigint) FROM capillary_batch b
        WHERE b.job_id = j.id AND b.state = 'intent') AS in_flight,
    (SELECT max(r.turn) FROM capillary_request_budget r WHERE r.organisation = o.name) AS turn
FROM capillary_job j JOIN capillary_organisation o ON o.id = j.organisation_id WHERE j.job_id = :job_id

-- settlements_of_job --
-- By what proof and by whose word rows of a job were settled, latest first.
SELECT settled_by, state, proof, count(*) AS row_count, min(settled_at) AS first_at, max(settled_at) AS last_at
FROM capillary_settlement WHERE job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id)
GROUP BY settled_by, state, proof ORDER BY max(settled_at) DESC LIMIT :limit

-- revocations_of_job --
-- Who asked to take badges of a job back, and what the API answered, latest first.
SELECT asked_by, answer, count(*) AS row_count, min(asked_at) AS first_at, max(asked_at) AS last_at
FROM capillary_revocation WHERE job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id)
GROUP BY asked_by, answer ORDER BY max(asked_at) DESC LIMIT :limit
-- ------------------------------------------------------------------------------------------------------------ probes

-- add_probe --
-- Note that a probe begins.
INSERT INTO capillary_probe (organisation, customer_id, badge_meta_id, before_it, asked_by, owner, started_at)
VALUES (:organisation, :customer, :name, :before, :by, :owner, :now) RETURNING id

-- add_probe_grant --
-- Note that a probe is about to grant a badge.
INSERT INTO capillary_probe_grant (probe_id, earned_at, import_method, timestamp_format, request_id, state, noted_at)
VALUES (:probe, :earned, :import_method, :timestamp_format, :request_id, 'intent', :now) RETURNING id

-- answer_probe_grant --
-- Note what became of a grant of a probe.
UPDATE capillary_probe_grant SET state = :state, answered_at = :now,
    earned_badge_id = coalesce(:earned_badge_id, earned_badge_id)
WHERE id = :grant

-- open_probe_grants --
-- Grants of probes that may still be there.
SELECT g.id, g.probe_id, p.customer_id, p.badge_meta_id, g.earned_at, g.state, g.earned_badge_id, g.noted_at, p.owner,
    p.before_it
FROM capillary_probe_grant g JOIN capillary_probe p ON p.id = g.probe_id
WHERE p.organisation = :organisation AND g.state IN ('intent', 'granted') ORDER BY g.id

-- ids_of_probes --
-- Ids of all grants of the probes of an organisation, or of those to one customer from one probe on.
SELECT g.earned_badge_id FROM capillary_probe_grant g JOIN capillary_probe p ON p.id = g.probe_id
WHERE p.organisation = :organisation AND g.earned_badge_id IS NOT NULL AND (CAST(:customer AS bigint) IS NULL
    OR p.customer_id = :customer AND p.badge_meta_id = :name AND p.id >= :since)

-- finish_probe --
-- Keep what a probe found out.
UPDATE capillary_probe SET answers = :answers, finished_at = :now WHERE id = :probe

-- latest_probe --
-- The latest probe of an organisation that ended.
SELECT organisation, started_at, finished_at, asked_by, answers FROM capillary_probe
WHERE organisation = :organisation AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1
