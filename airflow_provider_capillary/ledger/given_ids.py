"""Keeps ids that accept no row, and finds rows that were granted twice, within the caller's transaction.

An id may come when its row is no longer the batch's: another copy took the job over, read back and sent the row again.
Such an id is *proven*: its reply held every proof. Where the row was accepted under another id meanwhile, it was
granted twice; both ids are recorded with the job that owns the row now. Where the row waits to be sent again, it is
accepted instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.reply import GivenId
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.changes import Change, LockedBatch, Transaction, changes_of, key_values
from airflow_provider_capillary.ledger.facts import GrantedRow, Outcome, Proof, RowChange, RowIssue
from airflow_provider_capillary.ledger.issues import issue_columns
from airflow_provider_capillary.ledger.packing import (
    BatchColumns,
    Key,
    pack_rows,
    storable,
    unpack_ids,
    unpack_rows,
)
from airflow_provider_capillary.ledger.queries import QUERIES, insert_many


class WholeRow(NamedTuple):
    """All that the ledger holds of one row, wherever it stands."""

    key: Key
    row_number: int
    expires_at: int
    state: RowState
    batch: int
    job: int
    earned_badge_id: str | None
    is_odd: bool
    attempt: int
    sent_with: int  #: the batch whose request it was in
    doubt: str | None


class GivenIds:
    """The ids of one transaction, which has numbered every badge that is asked for."""

    def __init__(self, transaction: Transaction) -> None:
        self._in = transaction

    def keep(self, batch: int, given: Sequence[GivenId], *, is_proven: bool = False) -> None:
        """Record ids with the batch whose reply gave them."""
        if given:
            insert_many(self._in.connection, "keep_id", [self._values(batch, one, is_proven) for one in given])

    def keep_late(self, batch: int, accepted: Sequence[RowChange]) -> None:
        """Record the ids of rows that did not become accepted under them."""
        late = [change for change in accepted if change.earned_badge_id and not self._stands(change)]
        names = [
            GivenId(change.earned_badge_id or "", change.badge.customer_id, change.badge.badge_meta_id, change.badge)
            for change in late
        ]
        self.keep(batch, names, is_proven=True)

    def look_for_second_grants(self, outcome: Outcome) -> None:
        """Find rows, among those that were changed one by one, that have proven ids besides their own.

        Rows of a batch that changed as a whole need no check. A batch in flight is marked here, so that its outcome
        changes row by row.
        """
        customers = set(
            self._in.connection.execute(
                QUERIES["customers_of_late_ids"], {"organisation": self._in.job.organisation_key}
            ).scalars()
        )
        if not customers:
            return
        touched = [change for change in changes_of(outcome) if change.badge.customer_id in customers]
        rows = [row for change in touched if (row := self._row(change))]
        for batch in sorted({row.batch for row in rows if row.state is RowState.INTENT}):
            self._in.connection.execute(QUERIES["late_id_is_known"], {"batch": batch})
        for change in touched:  # a second look: a row in flight may have been settled before its batch was marked
            self._look(change)

    def _look(self, change: RowChange) -> None:
        row = self._row(change)
        if row is None or row.state is RowState.INTENT:
            return
        name = change.badge.badge_meta_id
        identity = key_values(row.key) | {"organisation": self._in.job.organisation_key, "name": name}
        proven = self._in.connection.execute(QUERIES["late_ids"], identity).all()
        if not proven:
            return
        first = next((one for one in proven if one.batch_id == row.sent_with), proven[0])
        if row.state is RowState.PLANNED:  # it is granted, so it must not be sent again
            self._accept(row, first.batch_id, first.earned_badge_id)
            return
        if row.earned_badge_id is None and first.batch_id == row.sent_with:
            batch = LockedBatch(self._in.connection, self._in.rows, row.batch)
            batch.take_id(row.key, row.row_number, first.earned_badge_id)
        ids = {str(one.earned_badge_id) for one in proven} | ({row.earned_badge_id} if row.earned_badge_id else set())
        if len(ids) > 1 or any(one.batch_id != row.sent_with for one in proven):
            self._report(row, name, sorted(ids))

    def _accept(self, row: WholeRow, granted_by: int, earned_badge_id: str) -> None:
        """Accept a row that waits to be sent again. No transition leads there, so it gets a batch of its own."""
        customer, badge, earned, occurrence = row.key
        columns = BatchColumns((row.row_number,), (customer,), (badge,), (earned,), (row.expires_at,), (occurrence,))
        values = {"batch": granted_by, "job": row.job, "rows": pack_rows(columns)}
        own = int(self._in.connection.execute(QUERIES["add_batch_of_late_row"], values).scalar_one())
        self._in.rows.lock(self._in.connection, [row.key])
        self._in.rows.move(self._in.connection, own, [row.key])
        if row.is_odd:
            self._in.connection.execute(QUERIES["drop_odd_row"], key_values(row.key))
        self._in.connection.execute(QUERIES["rows_left"], {"batch": row.batch, "rows": 1})
        accepted = Change(row.key, row.row_number, row.expires_at, RowState.ACCEPTED, earned_badge_id)
        LockedBatch(self._in.connection, self._in.rows, own).change([accepted], Proof.REPLY)

    def _report(self, row: WholeRow, name: str, ids: Sequence[str]) -> None:
        doubt = f"the API gave {' and '.join(ids)} for this row, one of them in a late reply: may be granted twice"
        if row.doubt == doubt:
            return
        self._in.connection.execute(QUERIES["add_doubt"], key_values(row.key) | {"doubt": doubt})
        if row.state is RowState.UNKNOWN:
            return  # the doubt is reported when the row is settled
        state = RowState.REJECTED if row.state is RowState.REJECTED else RowState.ACCEPTED
        badge = EarnedBadge(row.row_number, name, row.key[0], row.key[2], row.expires_at)
        issue = RowIssue(
            row.row_number,
            state,
            "send",
            doubt,
            source="",
            line=0,
            original=badge.as_columns(),
            attempt=row.attempt,
            badge_meta_id=name,
        )
        self._in.connection.execute(QUERIES["report_second_grant"], {"job": row.job, **issue_columns(issue)})

    def _stands(self, change: RowChange) -> bool:
        row = self._row(change)
        return row is not None and bool(row.earned_badge_id == storable(change.earned_badge_id))

    def _row(self, change: RowChange) -> WholeRow | None:
        badge = change.badge
        key = (badge.customer_id, self._in.badge_keys[badge.badge_meta_id], badge.earned_at, badge.occurrence)
        return whole_row(self._in.connection, key)

    def _values(self, batch: int, one: GivenId, is_proven: bool) -> dict[str, Any]:
        return {
            "batch": batch,
            "organisation": self._in.job.organisation_key,
            "earned_badge_id": storable(one.earned_badge_id),
            "customer": one.customer_id,
            "name": storable(one.badge_meta_id),
            "earned": one.row.earned_at if one.row else None,
            "occurrence": one.row.occurrence if one.row else None,
            "is_proven": is_proven,
        }


def whole_row(connection: sa.Connection, key: Key) -> WholeRow | None:
    """All that the ledger holds of one row; for few rows, as its batch's packed rows are read for it."""
    found = connection.execute(QUERIES["one_row"], key_values(key)).one_or_none()
    if found is None:
        return None
    number, expires_at, earned_badge_id = found.row_number, found.expires_at, found.earned_badge_id
    if not found.is_odd:
        columns = unpack_rows(found.rows, found.row_count)
        at = columns.keys().index(key)
        number, expires_at = columns.numbers[at], columns.expires[at]
        earned_badge_id = unpack_ids(found.ids, found.row_count)[at]
    return WholeRow(
        key,
        number,
        expires_at,
        RowState(found.state),
        found.batch_id,
        found.job_id,
        earned_badge_id,
        bool(found.is_odd),
        found.attempt,
        found.sent_with,
        found.doubt,
    )


def second_grants(connection: sa.Connection, job_id: str) -> list[GrantedRow]:
    """Ids besides the rows' own that no revocation has settled; those that mean no row for certain come last."""
    job = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
    second = []
    for one in connection.execute(QUERIES["second_ids"], {"job_id": job_id}).all():
        row = whole_row(connection, (one.customer_id, one.badge_id, one.earned_at, one.occurrence))
        if row is not None and row.job == job and row.earned_badge_id != one.earned_badge_id:
            badge = EarnedBadge(row.row_number, one.badge_meta_id, row.key[0], row.key[2], row.expires_at, row.key[3])
            second.append(_second(one, badge, row.batch, row.state))
    second.sort(key=lambda row: (row.badge.row_number, row.earned_badge_id))
    nameless = connection.execute(QUERIES["nameless_ids"], {"job_id": job_id}).all()
    return second + [
        _second(one, EarnedBadge(0, one.badge_meta_id, one.customer_id, 0, 0, 0), 0, RowState.UNKNOWN)
        for one in nameless
        if one.earned_badge_id not in _ids_of(connection, one.customer_id, one.badge_id)
    ]


def all_ids(connection: sa.Connection) -> Iterator[str]:
    """Every id that the ledger knows, each once: of rows, and kept."""
    of_batches: set[str] = set()
    for batch in connection.execute(QUERIES["ids_of_batches"]):
        of_batches.update(one for one in unpack_ids(batch.ids, batch.row_count) if one is not None)
    yield from of_batches
    yield from (one for one in connection.execute(QUERIES["other_ids"]).scalars() if one not in of_batches)


def _ids_of(connection: sa.Connection, customer: int, badge: int) -> set[str | None]:
    """The ids of all rows of one badge of one customer."""
    keys = connection.execute(QUERIES["rows_of_customer"], {"customer": customer, "badge": badge}).all()
    rows = (whole_row(connection, (customer, badge, one.earned_at, one.occurrence)) for one in keys)
    return {row.earned_badge_id for row in rows if row is not None}


def _second(one: Any, badge: EarnedBadge, batch: int, state: RowState) -> GrantedRow:
    return GrantedRow(
        badge, one.badge_id, batch, state, one.earned_badge_id, bool(one.asked_before), is_proven=False, is_second=True
    )
