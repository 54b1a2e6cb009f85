"""Settles rows without proof outside an import, by a read or a person's decision, within the caller's transaction.

No import can work on them meanwhile: every change first locks the job's row, which an import must change to resume the
job, then the batch. A row is changed only if it is still the unknown row, of the same job and batch, that was read. A
row that another job has taken over or sent again since stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import UNPROVEN, RowState
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.ledger import listing
from airflow_provider_capillary.ledger.changes import DOUBT_OF_ID, Change, LockedBatch, key_values
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.facts import (
    DependentRow,
    Job,
    LedgerRow,
    Proof,
    RowEnd,
    RowIssue,
    Settled,
    UnprovenRow,
)
from airflow_provider_capillary.ledger.issues import issue_columns
from airflow_provider_capillary.ledger.lease import Lease, lock_resting
from airflow_provider_capillary.ledger.packing import Key
from airflow_provider_capillary.ledger.queries import QUERIES, insert_many
from airflow_provider_capillary.ledger.rows import Rows

LATE_REPLY = "a reply that came late proves that it was accepted"


def take_stock(connection: sa.Connection, job_id: str, now: float, outwaited: Lease | None = None) -> Job:
    """Close the job if its process is dead; its intents become unknown, as if a retry had found them.

    :raises LookupError: there is no such job.
    :raises JobIsRunningError: the job lives, and settles its rows itself.
    """
    found = lock_resting(connection, job_id, now, outwaited)
    connection.execute(QUERIES["close_dead_job"], {"job": found.id, "now": now})
    connection.execute(QUERIES["intents_are_unknown"], {"job": found.id})
    fence = found.fence + (found.state == "open")
    return Job(found.id, job_id, found.organisation_id, fence, resumed=True)


def _unproven(connection: sa.Connection, job: int, rows: Sequence[LedgerRow]) -> list[UnprovenRow]:
    """Rows without proof, with the message of their issue."""
    if not rows:
        return []
    numbers = [row.badge.row_number for row in rows]
    values = {"job": job, "first": min(numbers), "last": max(numbers)}
    messages = {one.row_number: one.message for one in connection.execute(QUERIES["unknown_issues"], values)}
    return [
        UnprovenRow(
            row.badge,
            row.badge_key,
            row.batch,
            row.state,
            row.sent_at,
            row.request_id,
            messages.get(row.badge.row_number),
            row.earned_badge_id,
        )
        for row in rows
    ]


def settle(
    connection: sa.Connection, tables: Rows, job: Job, rows: Sequence[Settled], *, proof: Proof, by: str, now: float
) -> list[Settled]:
    """Settle rows, each with its record, its issue in the job's report and its count in the job's summary.

    Gives those that were settled; the others had changed since they were read.

    :raises JobIsRunningError: the import goes on again.
    """
    lock_resting(connection, job.job_id, now)
    of_batch: dict[int, list[Settled]] = {}
    for one in rows:
        of_batch.setdefault(one.row.batch, []).append(one)
    done = [
        one
        for key, some in sorted(of_batch.items())
        for one in _settle_batch(connection, LockedBatch(connection, tables, key), job, some, proof)
    ]
    done.sort(key=lambda one: one.row.badge.row_number)
    if done:
        own = {"job": job.key, "proof": proof.value, "by": by, "now": now}
        notes = [
            own | key_values(one.row.key) | {"row_number": one.row.badge.row_number, "state": one.state.value}
            for one in done
        ]
        insert_many(connection, "note_settlement", notes)
    doubts = [_doubt(connection, one) for one in done]
    of_rows = list(zip(done, doubts, strict=True))
    report_ends(
        connection, job, [RowEnd(one.row.badge.row_number, _reported_as(one), one.reason, why) for one, why in of_rows]
    )
    for one, why in of_rows:
        if why:
            values = issue_columns(_doubtful_issue(one, why))
            connection.execute(QUERIES["add_first_issue"], {"job": job.key, **values})
    return done


def _settle_batch(
    connection: sa.Connection, batch: LockedBatch, job: Job, rows: Sequence[Settled], proof: Proof
) -> list[Settled]:
    here = batch.present([one.row.key for one in rows])
    still = [one for one in rows if one.row.key in here and _is_unknown_row_of(batch, job, one.row.key)]
    doubts = [key_values(one.row.key) | {"doubt": doubt} for one in still if (doubt := _doubt_of(batch, one))]
    if doubts:
        insert_many(connection, "add_doubt", doubts)
    changes = [
        Change(one.row.key, one.row.badge.row_number, one.row.badge.expires_at, one.state, one.earned_badge_id)
        for one in still
    ]
    changed = {change.key for change in batch.change(changes, proof)}
    return [one for one in still if one.row.key in changed]


def _doubt_of(batch: LockedBatch, one: Settled) -> str | None:
    """Why the row may be granted twice from now on."""
    odd = batch.odd.get(one.row.key)
    if one.doubt is None and one.state is RowState.PLANNED and odd and odd.earned_badge_id:
        return DOUBT_OF_ID.format(odd.earned_badge_id)
    return one.doubt


def _is_unknown_row_of(batch: LockedBatch, job: Job, key: Key) -> bool:
    return batch.state_of(key) is RowState.UNKNOWN and batch.owner_of(key) == job.key


def report_ends(connection: sa.Connection, job: Job, ends: Sequence[RowEnd]) -> int:
    """Change the issues of rows that were reported as unknown, and their counts in the job's summary.

    The caller has locked the job, and has settled the rows themselves. Gives how many issues changed.
    """
    moved: Counter[RowState] = Counter()
    for end in ends:
        values: dict[str, Any] = {"reason": end.reason, "doubt": end.doubt, "state": end.state.value}
        values |= {"job": job.key, "row_number": end.row_number}
        moved[end.state] += connection.execute(QUERIES["report_end"], values).rowcount
    _move(connection, job.key, moved)
    return moved.total()


def doubt_of(connection: sa.Connection, key: Key) -> str | None:
    """Why a row may be granted twice."""
    doubt: str | None = connection.execute(QUERIES["find_doubt"], key_values(key)).scalar()
    return doubt


def _reported_as(one: Settled) -> RowState:
    return RowState.ACCEPTED if one.state is RowState.ACCEPTED else RowState.NOT_SENT


def _doubt(connection: sa.Connection, one: Settled) -> str | None:
    """Why a row that was just accepted may be granted twice."""
    return doubt_of(connection, one.row.key) if one.state is RowState.ACCEPTED else None


def _doubtful_issue(one: Settled, doubt: str) -> RowIssue:
    """An issue for a row whose job died before it wrote one. The ledger lacks its own columns."""
    badge = one.row.badge
    return RowIssue(
        badge.row_number,
        RowState.ACCEPTED,
        "send",
        f"{one.reason}; {doubt}",
        source="",
        line=0,
        original=badge.as_columns(),
        request_id=one.row.request_id,
        attempt=1,
        badge_meta_id=badge.badge_meta_id,
    )


def _move(connection: sa.Connection, job: int, moved: Counter[RowState]) -> None:
    """Count rows in the summary by their new states instead of unknown. A job that never ended has no summary."""
    summary = connection.execute(QUERIES["job_summary"], {"job": job}).scalar_one() if moved.total() else None
    if summary is None:
        return
    counts = msgspec.json.decode(summary)
    settled = counts.setdefault("settled", {})
    for state in FINAL_STATES:
        rows = min(moved[state], counts["unknown"])
        if rows:
            counts["unknown"] -= rows
            counts[state.value] += rows
            settled[state.value] = settled.get(state.value, 0) + rows
    connection.execute(QUERIES["save_summary"], {"job": job, "summary": msgspec.json.encode(counts).decode()})


class Settlements:
    """Settles rows that imports left without proof."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_stock(self, job_id: str, outwaited: Lease | None = None) -> Job:
        """Close a job whose process is dead, so that its rows without proof can be settled; its intents are unknown.

        :param outwaited: a lease of the job that was not renewed for as long as it held.
        :raises LookupError: there is no such job.
        :raises JobIsRunningError: the job lives, and settles its rows itself.
        """
        return self._database.durably(lambda c: take_stock(c, job_id, self._database.now(c), outwaited))

    def unproven(self, job_id: str) -> Iterator[list[UnprovenRow]]:
        """Pages of the rows of a job that nothing proves either way. Rows may be settled between two pages."""
        return listing.pages(self._database, job_id, tuple(UNPROVEN), _unproven)

    def settle(self, job: Job, rows: Sequence[Settled], *, proof: Proof, by: str) -> list[Settled]:
        """Settle rows, with their issues in the job's report and their counts in its summary, all or none.

        Gives those that had not changed since they were read; the others were taken over or settled by another job.

        :raises JobIsRunningError: the import goes on again.
        """

        def work(connection: sa.Connection) -> list[Settled]:
            return settle(
                connection, self._database.rows, job, rows, proof=proof, by=by, now=self._database.now(connection)
            )

        return self._database.durably(work)

    def dependent_rows(self, job: Job, *, limit: int = 500) -> Iterator[list[DependentRow]]:
        """Rows that the job's report calls unknown, but that repeat another row, or that another job has taken over."""
        with self._database.snapshot() as connection:
            values = {"job": job.key, "state": RowState.UNKNOWN.value}
            wanted = set(connection.execute(QUERIES["issues_about_batches"], values).scalars())
            own = listing.plain_numbers(connection, self._database.rows, job.key, tuple(UNPROVEN), wanted)
        strangers = sorted(wanted.difference(*own.values()))
        for numbers in (strangers[start : start + limit] for start in range(0, len(strangers), limit)):
            with self._database.reading() as connection:
                values = {"job": job.key, "first": numbers[0], "last": numbers[-1]}
                found = connection.execute(QUERIES["unknown_issues"], values).all()
            named = set(numbers)
            rows = [DependentRow(r.row_number, msgspec.json.decode(r.original)) for r in found if r.row_number in named]
            if rows:
                yield rows

    def report_ends(self, job: Job, ends: Sequence[RowEnd]) -> int:
        """Change the issues of rows that were reported as unknown; give how many changed."""

        def work(connection: sa.Connection) -> int:
            lock_resting(connection, job.job_id, self._database.now(connection))
            return report_ends(connection, job, ends)

        return self._database.durably(work)

    def report_late_replies(self, job: Job) -> None:
        """Report rows as accepted that the job's report calls unknown, and that a late reply has accepted since."""
        with self._database.reading() as connection:
            values = {"job": job.key, "first": 1, "last": 2**63 - 1}
            reported = {one.row_number for one in connection.execute(QUERIES["unknown_issues"], values)}
        pages = listing.pages(self._database, job.job_id, (RowState.ACCEPTED,), _whole) if reported else iter(())
        late = [row for page in pages for row in page if row.badge.row_number in reported]

        def work(connection: sa.Connection) -> None:
            ends = [
                RowEnd(row.badge.row_number, RowState.ACCEPTED, LATE_REPLY, doubt_of(connection, row.key))
                for row in late
            ]
            report_ends(connection, job, ends)

        if late:
            self._database.durably(work)


def _whole(_connection: sa.Connection, _job: int, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    return list(rows)
