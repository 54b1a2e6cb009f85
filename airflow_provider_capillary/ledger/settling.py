"""Settles rows without proof outside an import, by a read or by a person's word, within the caller's transaction.

Only where no import can be at work on them: every change first locks the job's row, which an import must change to
take the job up, and then changes a row only if it is still the unknown row, of the same batch, that was looked at.
A row that another job has taken over or sent again in the meantime stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import text

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.exceptions import JobIsRunningError
from airflow_provider_capillary.ledger import lease, statements
from airflow_provider_capillary.ledger.base import Job
from airflow_provider_capillary.ledger.doubts import Hearsay, Proof, Settled, UnprovenRow

_LOCK_JOB = text("""
    UPDATE capillary_job SET fence = fence WHERE job_id = :job_id
    RETURNING id, organisation_id, state, fence, lease_owner, lease_until
""")
#: The fence shuts out a process that was taken for dead and wakes up: it can note no intent any more.
_CLOSE_DEAD_JOB = text("""
    UPDATE capillary_job SET state = 'failed', fence = fence + 1, lease_until = :now, finished_at = :now
    WHERE id = :job AND state = 'open'
""")
_UNPROVEN = text("""
    SELECT e.row_number, g.badge_meta_id, e.customer_id, e.earned_at, e.expires_at, e.occurrence, e.badge_id,
        e.batch_id, e.state, e.earned_badge_id, b.sent_at, coalesce(b.settled_at, b.sent_at) AS since, b.request_id,
        i.message, b.settled_at IS NULL AS is_cut_off
    FROM capillary_row e
    JOIN capillary_badge g ON g.id = e.badge_id
    JOIN capillary_batch b ON b.id = e.batch_id
    LEFT JOIN capillary_row_issue i
        ON i.job_id = e.job_id AND i.row_number = e.row_number AND i.state = 'unknown'
    WHERE e.job_id = (SELECT id FROM capillary_job WHERE job_id = :job_id)
        AND e.state IN ('intent', 'unknown') AND e.row_number > :after
    ORDER BY e.row_number LIMIT :limit
""")
_SETTLE = text("""
    UPDATE capillary_earned_badge SET state = :state, earned_badge_id = coalesce(:granted, earned_badge_id),
        doubt = coalesce(doubt, :doubt, CASE WHEN :state = 'planned' THEN 'the API gave ' || earned_badge_id ||
            ' for this row without proof, and a read did not show it: may be granted twice' END)
    WHERE organisation_id = :organisation AND customer_id = :customer AND badge_id = :badge AND earned_at = :earned
        AND occurrence = :occurrence AND job_id = :job AND batch_id = :batch AND state = 'unknown'
""")
_NOTE_SETTLEMENT = text("""
    INSERT INTO capillary_settlement (job_id, row_number, organisation_id, customer_id, badge_id, earned_at, occurrence,
        state, proof, settled_by, settled_at)
    VALUES (:job, :row_number, :organisation, :customer, :badge, :earned, :occurrence, :state, :proof, :by, :now)
""")
#: Of stage verify is what is proven to be granted once; an accepted row that is in doubt is none of these.
_DOUBT = """
    (SELECT max(e.doubt) FROM capillary_earned_badge e
    WHERE :state = 'accepted' AND e.job_id = :job AND e.row_number = :row_number)
"""
_RETELL = text(f"""
    UPDATE capillary_row_issue SET state = :state, stage = CASE WHEN {_DOUBT} IS NULL THEN 'verify' ELSE 'send' END,
        message = message || '; ' || :told || coalesce('; ' || {_DOUBT}, '')
    WHERE job_id = :job AND row_number = :row_number AND state = 'unknown'
""")
#: A job that died has no story of its rows without proof; of one in doubt there must be one.
_TELL_DOUBT = text("""
    INSERT INTO capillary_row_issue (job_id, row_number, state, stage, message, request_id, attempt, badge_meta_id,
        source, line, original)
    SELECT e.job_id, e.row_number, e.state, 'send', CAST(:told AS text) || '; ' || e.doubt, :request_id, e.attempt,
        :name, '', 0, :original
    FROM capillary_row e
    WHERE e.organisation_id = :organisation AND e.customer_id = :customer AND e.badge_id = :badge
        AND e.earned_at = :earned AND e.occurrence = :occurrence AND e.state = 'accepted' AND e.doubt IS NOT NULL
    ON CONFLICT (job_id, row_number) DO NOTHING
""")
_SUMMARY = text("SELECT summary FROM capillary_job WHERE id = :job")
_SAVE_SUMMARY = text("UPDATE capillary_job SET summary = :summary WHERE id = :job")
#: Told as unknown, though this job has no row without proof under that number: it repeats a row, or another job has it.
_HEARSAY = text("""
    SELECT i.row_number, i.original FROM capillary_row_issue i
    WHERE i.job_id = :job AND i.state = 'unknown' AND i.row_number > :after AND NOT EXISTS (
        SELECT 1 FROM capillary_row e
        WHERE e.job_id = i.job_id AND e.row_number = i.row_number AND e.state IN ('intent', 'unknown'))
    ORDER BY i.row_number LIMIT :limit
""")
_SETTINGS = text("SELECT settings FROM capillary_job WHERE job_id = :job_id")


def take_stock(connection: sa.Connection, job_id: str, now: float) -> Job:
    """Close the job if its process is dead; its intents become unknown, as if a retry had found them.

    :raises LookupError: there is no such job.
    :raises JobIsRunningError: the job lives, and settles its rows itself.
    """
    found = lock_resting(connection, job_id, now)
    connection.execute(_CLOSE_DEAD_JOB, {"job": found.id, "now": now})
    connection.execute(statements.CUT_OFF_JOB, {"job": found.id})
    connection.execute(statements.INTENTS_ARE_UNKNOWN, {"job": found.id})
    fence = found.fence + (found.state == "open")
    return Job(found.id, job_id, found.organisation_id, fence, resumed=True)


def unproven(connection: sa.Connection, job_id: str, after: int, limit: int) -> list[UnprovenRow]:
    """Rows without proof, by row number, from the first one after ``after``."""
    rows = connection.execute(_UNPROVEN, {"job_id": job_id, "after": after, "limit": limit})
    return [
        UnprovenRow(
            EarnedBadge(r.row_number, r.badge_meta_id, r.customer_id, r.earned_at, r.expires_at, r.occurrence),
            r.badge_id,
            r.batch_id,
            RowState(r.state),
            r.sent_at,
            r.since,
            r.request_id,
            r.message,
            r.earned_badge_id,
            bool(r.is_cut_off),
        )
        for r in rows
    ]


def settle(
    connection: sa.Connection, job: Job, rows: Sequence[Settled], *, proof: Proof, by: str, now: float
) -> list[Settled]:
    """Settle rows, each with its note, its story in the job's report and its place in the job's summary.

    Gives those that were settled; the others were not as they were seen any more.

    :raises JobIsRunningError: the import goes on again.
    """
    lock_resting(connection, job.job_id, now)
    done: list[Settled] = []
    ends = []
    for one in rows:
        values = _values(job, one) | {"proof": proof.value, "by": by, "now": now}
        if connection.execute(_SETTLE, values).rowcount == 1:
            connection.execute(_NOTE_SETTLEMENT, values)
            told_as = RowState.ACCEPTED if one.state is RowState.ACCEPTED else RowState.NOT_SENT
            ends.append((one.row.badge.row_number, told_as, one.told))
            done.append(one)
    tell(connection, job, ends)
    for one in done:
        if one.state is RowState.ACCEPTED:
            connection.execute(_TELL_DOUBT, _values(job, one) | _as_imported(one))
    return done


def hearsay(connection: sa.Connection, job: int, after: int, limit: int) -> list[Hearsay]:
    """Rows that are told as unknown but that the job does not hold, by row number, from the first after ``after``."""
    rows = connection.execute(_HEARSAY, {"job": job, "after": after, "limit": limit})
    return [Hearsay(row.row_number, msgspec.json.decode(row.original)) for row in rows]


def retell(connection: sa.Connection, job: Job, ends: Sequence[tuple[int, RowState, str]], now: float) -> int:
    """Tell anew how rows ended that the job does not hold: row number, state, why. Gives how many are told anew."""
    lock_resting(connection, job.job_id, now)
    return tell(connection, job, ends)


def tell(connection: sa.Connection, job: Job, ends: Sequence[tuple[int, RowState, str]]) -> int:
    """Change the stories of rows that were told as unknown, and their place in the job's summary.

    For whoever has locked the job, and has settled the rows themselves.
    """
    moved: Counter[RowState] = Counter()
    for row_number, state, told in ends:
        values = {"job": job.key, "row_number": row_number, "state": state.value, "told": told}
        moved[state] += connection.execute(_RETELL, values).rowcount
    _move(connection, job.key, moved)
    return moved.total()


def job_settings(connection: sa.Connection, job_id: str) -> dict[str, str]:
    """The settings that the job began with."""
    settings: dict[str, str] = msgspec.json.decode(connection.execute(_SETTINGS, {"job_id": job_id}).scalar_one())
    return settings


def lock_resting(connection: sa.Connection, job_id: str, now: float) -> sa.Row[Any]:
    """Lock a job at which no process is at work; no import takes it up before the transaction is over.

    :raises LookupError: there is no such job.
    :raises JobIsRunningError: the job lives.
    """
    found = connection.execute(_LOCK_JOB, {"job_id": job_id}).one_or_none()
    if found is None:
        raise LookupError(job_id)
    if found.state == "open" and found.lease_until > now and not lease.is_certainly_dead(found.lease_owner):
        raise JobIsRunningError(
            f"job {job_id} is running, and settles its rows itself "
            f"(its lease holds for {found.lease_until - now:.0f} s more)",
            retry_after=found.lease_until - now,
        )
    return found


def _values(job: Job, one: Settled) -> dict[str, Any]:
    badge = one.row.badge
    return {
        "organisation": job.organisation_key,
        "customer": badge.customer_id,
        "badge": one.row.badge_key,
        "earned": badge.earned_at,
        "occurrence": badge.occurrence,
        "job": job.key,
        "row_number": badge.row_number,
        "batch": one.row.batch,
        "state": one.state.value,
        "granted": one.earned_badge_id,
        "doubt": one.doubt,
    }


def _as_imported(one: Settled) -> dict[str, Any]:
    """The row as the ledger can tell it, which does not keep the dataset's own columns."""
    badge = one.row.badge
    original = {
        "badgeMetaId": badge.badge_meta_id,
        "customerId": badge.customer_id,
        "earnEventDate": badge.earned_at,
        "earnExpiresOn": badge.expires_at,
    }
    told = {"told": one.told, "request_id": one.row.request_id, "name": badge.badge_meta_id}
    return told | {"original": msgspec.json.encode(original).decode()}


def _move(connection: sa.Connection, job: int, moved: Counter[RowState]) -> None:
    """Take rows out of the summary's unknown ones, so that it still adds up; a job that never ended has none."""
    summary = connection.execute(_SUMMARY, {"job": job}).scalar_one() if moved.total() else None
    if summary is None:
        return
    told = msgspec.json.decode(summary)
    settled = told.setdefault("settled", {})
    for state in FINAL_STATES:
        rows = min(moved[state], told["unknown"])
        if rows:
            told["unknown"] -= rows
            told[state.value] += rows
            settled[state.value] = settled.get(state.value, 0) + rows
    connection.execute(_SAVE_SUMMARY, {"job": job, "summary": msgspec.json.encode(told).decode()})
