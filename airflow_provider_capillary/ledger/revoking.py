"""Records revocations before and after the API is asked, within the caller's transaction.

If the process dies in between, the first record remains. The row becomes revoked only when the API has said that its
badge is not active. From then on no import grants it again, because its identity stays taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import given_ids, listing, settling
from airflow_provider_capillary.ledger.changes import Change, LockedBatch, key_values
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.facts import Answer, GrantedRow, Job, LedgerRow, Proof, RowEnd
from airflow_provider_capillary.ledger.lease import lock_resting
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Rows

GRANTED_AND_REVOKED = "it was granted, and is revoked"


def _granted(connection: sa.Connection, job: int, rows: Sequence[LedgerRow]) -> list[GrantedRow]:
    """The rows that can be revoked: those with an id."""
    known = [(row, row.earned_badge_id) for row in rows if row.earned_badge_id is not None]
    asked: set[str] = set()
    for start in range(0, len(known), 500):
        values = {"job": job, "ids": [one for _, one in known[start : start + 500]]}
        asked |= set(connection.execute(QUERIES["open_revocations"], values).scalars())
    batches = sorted({row.batch for row, _ in known})
    unproven = {
        tuple(row)
        for start in range(0, len(batches), 500)
        for row in connection.execute(QUERIES["unproven_ids"], {"batches": batches[start : start + 500]})
    }
    return [
        GrantedRow(
            row.badge,
            row.badge_key,
            row.batch,
            row.state,
            one,
            one in asked,
            is_proven=(row.batch, one) not in unproven,
        )
        for row, one in known
    ]


def _note(connection: sa.Connection, job: Job, row: GrantedRow, *, by: str, now: float) -> None:
    """Record that the API is about to be asked."""
    lock_resting(connection, job.job_id, now)
    connection.execute(QUERIES["note_revocation"], _values(job, row) | {"by": by, "now": now})


def _answer(connection: sa.Connection, tables: Rows, job: Job, row: GrantedRow, said: Answer, now: float) -> bool:
    """Record the answer, the row's new state, and the job's count of revoked rows."""
    lock_resting(connection, job.job_id, now)
    connection.execute(QUERIES["answer_revocation"], _values(job, row) | {"answer": said.value, "now": now})
    # if nothing proves that the id is the row's own, "not active" does not prove that the row is revoked
    is_own = row.is_proven and row.state is RowState.ACCEPTED
    gone = said is Answer.REVOKED or (said is Answer.NOT_ACTIVE and is_own)
    if not gone or row.is_second or not _revoke(connection, LockedBatch(connection, tables, row.batch), job, row):
        return False
    if row.state is RowState.UNKNOWN:  # a badge that could be revoked had been granted, so the row is settled
        doubt = settling.doubt_of(connection, row.key)
        end = RowEnd(row.badge.row_number, RowState.ACCEPTED, GRANTED_AND_REVOKED, doubt)
        settling.report_ends(connection, job, [end])
    _count_revoked(connection, job)
    return True


def _free(connection: sa.Connection, job: Job, *, by: str, limit: int, now: float) -> int:
    """Move revoked rows to occurrences below 0, so that the next import may grant their identities again."""
    lock_resting(connection, job.job_id, now)
    rows = connection.execute(QUERIES["revoked_rows"], {"job": job.key, "limit": limit}).all()
    for row in rows:
        values = key_values((row.customer_id, row.badge_id, row.earned_at, row.occurrence))
        values["aside"] = min(0, connection.execute(QUERIES["lowest_occurrence"], values).scalar_one()) - 1
        for statement in ("set_row_aside", "set_odd_row_aside", "set_doubt_aside"):
            connection.execute(QUERIES[statement], values)
        # the batch's packed rows still name the row under its old identity
        connection.execute(QUERIES["rows_left"], {"batch": row.batch_id, "rows": 1})
        note = {"organisation": job.organisation_key, "earned_badge_id": row.earned_badge_id, "by": by, "now": now}
        connection.execute(QUERIES["note_freed"], note)
    return len(rows)


def _revoke(connection: sa.Connection, batch: LockedBatch, job: Job, row: GrantedRow) -> bool:
    """Change the row's state, if the row has not changed since it was read."""
    key = row.key
    odd = batch.odd.get(key)
    if key not in batch.present([key]) or batch.owner_of(key) != job.key:
        return False
    if batch.state_of(key) is not row.state or (odd and odd.earned_badge_id != row.earned_badge_id):
        return False
    badge = row.badge
    revoked = Change(key, badge.row_number, badge.expires_at, RowState.REVOKED, row.earned_badge_id)
    if odd and row.state is RowState.UNKNOWN:
        batch.change_odd(msgspec.structs.replace(revoked, state=RowState.ACCEPTED), Proof.REPLY)
    if odd:
        batch.change_odd(revoked, None)
    else:
        batch.add_odd(revoked, None)
    return True


def _count_revoked(connection: sa.Connection, job: Job) -> None:
    """Count a revoked row in the job's summary. Its other counts stay: they say how the import ended."""
    summary = connection.execute(QUERIES["job_summary"], {"job": job.key}).scalar_one()
    if summary is not None:
        counts = msgspec.json.decode(summary)
        counts["revoked"] = counts.get("revoked", 0) + 1
        values = {"job": job.key, "summary": msgspec.json.encode(counts).decode()}
        connection.execute(QUERIES["save_summary"], values)


def _values(job: Job, row: GrantedRow) -> dict[str, Any]:
    own = {"organisation": job.organisation_key, "job": job.key, "earned_badge_id": row.earned_badge_id}
    return key_values(row.key) | own


class Revocations:
    """The rows of jobs that can be revoked, and the records of revocations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def granted(self, job_id: str) -> Iterator[list[GrantedRow]]:
        """Pages of the rows of a job that can be revoked. Rows may be revoked between two pages."""
        return listing.pages(self._database, job_id, (RowState.ACCEPTED, RowState.UNKNOWN), _granted)

    def second_grants(self, job_id: str) -> list[GrantedRow]:
        """Ids that the API gave for rows of a job besides their own, and that are not revoked yet.

        Included are ids of its batches that name a customer and a badge, but no certain row: their row number is 0.
        """
        with self._database.snapshot() as connection:
            return given_ids.second_grants(connection, job_id)

    def note(self, job: Job, row: GrantedRow, *, by: str) -> None:
        """Record durably that the API is about to be asked.

        :raises JobIsRunningError: the import goes on again.
        """
        self._database.durably(lambda c: _note(c, job, row, by=by, now=self._database.now(c)))

    def answer(self, job: Job, row: GrantedRow, answer: Answer) -> bool:
        """Record the answer; give whether this revoked the row (which was not revoked before)."""
        return self._database.durably(
            lambda c: _answer(c, self._database.rows, job, row, answer, self._database.now(c))
        )

    def free(self, job: Job, *, by: str, limit: int = 500) -> int:
        """Let an import grant revoked rows of the job again, at most ``limit`` at once; give how many were freed.

        They move to an occurrence below 0. Their identities are free then, and their history stays.
        """
        return self._database.durably(lambda c: _free(c, job, by=by, limit=limit, now=self._database.now(c)))
