"""Notes of revocations, before and after the API is asked, within the caller's transaction.

The note before it is what remains of a process that dies in between. The row itself becomes revoked only when the API
has said that its badge is not active; then no import grants it again, for its identity is taken for ever.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import text

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import settling
from airflow_provider_capillary.ledger.base import Job
from airflow_provider_capillary.ledger.revocations import Answer, GrantedRow, Grants

_JOB = "(SELECT id FROM capillary_job WHERE job_id = :job_id)"
_COUNT = text(f"""
    SELECT g.badge_meta_id, e.state, e.has_id, count(*) AS row_count
    FROM capillary_row e JOIN capillary_badge g ON g.id = e.badge_id
    WHERE e.job_id = {_JOB} AND e.state IN ('accepted', 'intent', 'unknown', 'revoked') GROUP BY 1, 2, 3
""")
_GRANTED = text(f"""
    SELECT e.row_number, g.badge_meta_id, e.customer_id, e.earned_at, e.expires_at, e.occurrence, e.badge_id, e.state,
        e.earned_badge_id, r.earned_badge_id IS NOT NULL AS asked_before, EXISTS (
            SELECT 1 FROM capillary_given_id k WHERE k.batch_id = e.batch_id
            AND k.earned_badge_id = e.earned_badge_id AND NOT k.is_proven) AS is_unproven
    FROM capillary_row e
    JOIN capillary_badge g ON g.id = e.badge_id
    LEFT JOIN capillary_revocation r ON r.organisation_id = e.organisation_id
        AND r.earned_badge_id = e.earned_badge_id AND r.answer IS NULL
    WHERE e.job_id = {_JOB} AND e.state IN ('accepted', 'unknown') AND e.has_id
        AND e.row_number > :after
    ORDER BY e.row_number LIMIT :limit
""")
#: From the few ids to their rows: CROSS JOIN keeps SQLite from going through the rows of the job.
_SECOND = text(f"""
    SELECT DISTINCT e.row_number, g.badge_meta_id, e.customer_id, e.earned_at, e.expires_at, e.occurrence, e.badge_id,
        e.state, k.earned_badge_id, r.earned_badge_id IS NOT NULL AS asked_before
    FROM capillary_given_id k CROSS JOIN capillary_badge g CROSS JOIN capillary_row e
    LEFT JOIN capillary_revocation r ON r.organisation_id = k.organisation_id
        AND r.earned_badge_id = k.earned_badge_id
    WHERE g.badge_meta_id = k.badge_meta_id AND e.organisation_id = k.organisation_id
        AND e.customer_id = k.customer_id AND e.badge_id = g.id AND e.earned_at = k.earned_at
        AND e.occurrence = k.occurrence AND e.job_id = {_JOB}
        AND k.earned_badge_id <> coalesce(e.earned_badge_id, '')
        AND (r.earned_badge_id IS NULL OR r.answer IS NULL OR r.answer IN ('refused', 'unconfirmed'))
    ORDER BY e.row_number, k.earned_badge_id
""")
#: Ids of the job's batches that name a customer and a badge, but no row for certain.
_NAMELESS = text(f"""
    SELECT DISTINCT 0 AS row_number, k.badge_meta_id, k.customer_id, 0 AS earned_at, 0 AS expires_at, 0 AS occurrence,
        g.id AS badge_id, 'unknown' AS state, k.earned_badge_id, r.earned_badge_id IS NOT NULL AS asked_before
    FROM capillary_given_id k
    JOIN capillary_batch b ON b.id = k.batch_id
    JOIN capillary_badge g ON g.badge_meta_id = k.badge_meta_id
    LEFT JOIN capillary_revocation r ON r.organisation_id = k.organisation_id
        AND r.earned_badge_id = k.earned_badge_id
    WHERE b.job_id = {_JOB} AND k.earned_at IS NULL AND k.customer_id IS NOT NULL
        AND (r.earned_badge_id IS NULL OR r.answer IS NULL OR r.answer IN ('refused', 'unconfirmed'))
        AND NOT EXISTS (
            SELECT 1 FROM capillary_row e WHERE e.organisation_id = k.organisation_id
            AND e.customer_id = k.customer_id AND e.badge_id = g.id AND e.earned_badge_id = k.earned_badge_id)
    ORDER BY k.earned_badge_id
""")
_NOTE = text("""
    INSERT INTO capillary_revocation (organisation_id, earned_badge_id, job_id, customer_id, badge_id, earned_at,
        occurrence, asked_by, asked_at)
    VALUES (:organisation, :earned_badge_id, :job, :customer, :badge, :earned, :occurrence, :by, :now)
    ON CONFLICT (organisation_id, earned_badge_id) DO UPDATE SET asked_by = excluded.asked_by,
        asked_at = excluded.asked_at, answered_at = NULL, answer = NULL
    WHERE capillary_revocation.answer IN ('refused', 'unconfirmed')
""")
_ANSWER = text("""
    UPDATE capillary_revocation SET answered_at = :now, answer = :answer
    WHERE organisation_id = :organisation AND earned_badge_id = :earned_badge_id
        AND (answer IS NULL OR answer IN ('refused', 'unconfirmed'))
""")
_CHANGE = text("""
    UPDATE capillary_earned_badge SET state = :new
    WHERE organisation_id = :organisation AND customer_id = :customer AND badge_id = :badge AND earned_at = :earned
        AND occurrence = :occurrence AND job_id = :job AND earned_badge_id = :earned_badge_id AND state = :old
""")
#: From now on the row's state and id stand in itself, and may change.
_STAND_ALONE = text("""
    UPDATE capillary_earned_badge SET state = 'accepted', earned_badge_id = :earned_badge_id
    WHERE organisation_id = :organisation AND customer_id = :customer AND badge_id = :badge AND earned_at = :earned
        AND occurrence = :occurrence AND job_id = :job AND state = 'intent' AND EXISTS (
            SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = capillary_earned_badge.batch_id)
""")
_REVOKED = text("""
    SELECT organisation_id, customer_id, badge_id, earned_at, occurrence, earned_badge_id FROM capillary_earned_badge
    WHERE job_id = :job AND state = 'revoked' AND occurrence > 0 ORDER BY row_number LIMIT :limit
""")
#: The row keeps its story under an occurrence that no import uses; its identity is free.
_SET_ASIDE = text("""
    UPDATE capillary_earned_badge SET occurrence = (
        SELECT CASE WHEN min(o.occurrence) < 0 THEN min(o.occurrence) - 1 ELSE -1 END FROM capillary_earned_badge o
        WHERE o.organisation_id = :organisation_id AND o.customer_id = :customer_id AND o.badge_id = :badge_id
            AND o.earned_at = :earned_at)
    WHERE organisation_id = :organisation_id AND customer_id = :customer_id AND badge_id = :badge_id
        AND earned_at = :earned_at AND occurrence = :occurrence AND state = 'revoked'
""")
_NOTE_FREED = text("""
    UPDATE capillary_revocation SET freed_by = :by, freed_at = :now
    WHERE organisation_id = :organisation_id AND earned_badge_id = :earned_badge_id
""")
_SUMMARY = text("SELECT summary FROM capillary_job WHERE id = :job")
_SAVE_SUMMARY = text("UPDATE capillary_job SET summary = :summary WHERE id = :job")

GRANTED_AND_REVOKED = "it was granted, and is revoked"


def grants(connection: sa.Connection, job_id: str) -> Grants:
    """Count what a job granted; see ``RevokingLedger.grants``."""
    with_id: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for row in connection.execute(_COUNT, {"job_id": job_id}):
        if row.state in (RowState.ACCEPTED, RowState.UNKNOWN) and row.has_id:
            with_id[row.badge_meta_id] += row.row_count
        else:
            others[row.state] += row.row_count
    unknown = others[RowState.UNKNOWN] + others[RowState.INTENT]
    return Grants(dict(sorted(with_id.items())), others[RowState.ACCEPTED], unknown, others[RowState.REVOKED])


def granted(connection: sa.Connection, job_id: str, after: int, limit: int) -> list[GrantedRow]:
    """Rows that can be revoked, by row number."""
    rows = connection.execute(_GRANTED, {"job_id": job_id, "after": after, "limit": limit})
    return [_granted_row(row, is_proven=not row.is_unproven) for row in rows]


def second_grants(connection: sa.Connection, job_id: str) -> list[GrantedRow]:
    """Ids besides the rows' own that no revocation has settled; those that mean no row for certain come last."""
    return [
        _granted_row(row, is_proven=False, is_second=True)
        for statement in (_SECOND, _NAMELESS)
        for row in connection.execute(statement, {"job_id": job_id})
    ]


def _granted_row(row: sa.Row[Any], *, is_proven: bool, is_second: bool = False) -> GrantedRow:
    return GrantedRow(
        EarnedBadge(row.row_number, row.badge_meta_id, row.customer_id, row.earned_at, row.expires_at, row.occurrence),
        row.badge_id,
        RowState(row.state),
        row.earned_badge_id,
        bool(row.asked_before),
        is_proven,
        is_second,
    )


def note(connection: sa.Connection, job: Job, row: GrantedRow, *, by: str, now: float) -> None:
    """Note what is about to be asked."""
    settling.lock_resting(connection, job.job_id, now)
    connection.execute(_NOTE, _values(job, row) | {"by": by, "now": now})


def answer(connection: sa.Connection, job: Job, row: GrantedRow, said: Answer, now: float) -> bool:
    """Note the answer, and with it the row's new state and the job's count of revoked rows."""
    settling.lock_resting(connection, job.job_id, now)
    values = _values(job, row)
    connection.execute(_ANSWER, values | {"answer": said.value, "now": now})
    # of an id without proof, "not active" may just mean that it is not the row's own
    is_own = row.is_proven and row.state is RowState.ACCEPTED
    gone = said is Answer.REVOKED or (said is Answer.NOT_ACTIVE and is_own)
    if not gone or row.is_second:
        return False
    if row.state is RowState.UNKNOWN:
        _become_accepted(connection, job, row, values)
    connection.execute(_STAND_ALONE, values)
    change = {"old": RowState.ACCEPTED.value, "new": RowState.REVOKED.value}
    if connection.execute(_CHANGE, values | change).rowcount != 1:
        return False
    _count_revoked(connection, job)
    return True


def free(connection: sa.Connection, job: Job, *, by: str, limit: int, now: float) -> int:
    """Set revoked rows aside, so that the next import of them may grant them again."""
    settling.lock_resting(connection, job.job_id, now)
    rows = connection.execute(_REVOKED, {"job": job.key, "limit": limit}).mappings().all()
    for row in rows:
        connection.execute(_SET_ASIDE, {name: row[name] for name in row if name != "earned_badge_id"})
        connection.execute(_NOTE_FREED, {**row, "by": by, "now": now})
    return len(rows)


def _become_accepted(connection: sa.Connection, job: Job, row: GrantedRow, values: dict[str, Any]) -> None:
    """What could be revoked had been granted: the doubt is settled."""
    change = {"old": RowState.UNKNOWN.value, "new": RowState.ACCEPTED.value}
    if connection.execute(_CHANGE, values | change).rowcount:
        settling.tell(connection, job, [(row.badge.row_number, RowState.ACCEPTED, GRANTED_AND_REVOKED)])


def _count_revoked(connection: sa.Connection, job: Job) -> None:
    """Beside the other counts, which say how the import ended: ``accepted`` rows of which so many are revoked since."""
    summary = connection.execute(_SUMMARY, {"job": job.key}).scalar_one()
    if summary is not None:
        told = msgspec.json.decode(summary)
        told["revoked"] = told.get("revoked", 0) + 1
        connection.execute(_SAVE_SUMMARY, {"job": job.key, "summary": msgspec.json.encode(told).decode()})


def _values(job: Job, row: GrantedRow) -> dict[str, Any]:
    return {
        "organisation": job.organisation_key,
        "customer": row.badge.customer_id,
        "badge": row.badge_key,
        "earned": row.badge.earned_at,
        "occurrence": row.badge.occurrence,
        "job": job.key,
        "earned_badge_id": row.earned_badge_id,
    }
