"""Changes the states of rows that were sent, within the caller's transaction. There is no other way to change them.

If all rows of a batch come to the same state, the batch changes, and no row is touched. If they differ, the batch takes
the most frequent state, and the other rows get states of their own. Every writer locks the batch first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import BATCH_STATES, UNPROVEN, RowState
from airflow_provider_capillary.ledger.facts import Adoption, IntentConflictError, Job, Outcome, Proof, RowChange
from airflow_provider_capillary.ledger.packing import (
    BatchColumns,
    Key,
    pack_ids,
    storable,
    storable_all,
    unpack_ids,
    unpack_rows,
)
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Found, OwnState, Rows

#: The doubt of a row that a read found absent, although a reply without proof gave an id for it.
DOUBT_OF_ID = "the API gave {} for this row without proof, and a read did not show it: may be granted twice"
_KEY = itemgetter(0, 1, 2, 3)  #: of an ``OwnState``
_PROVEN = frozenset({RowState.ACCEPTED, RowState.PLANNED})
_SAID_BY_BATCH = tuple(state for state in BATCH_STATES if state is not RowState.INTENT)


class Change(msgspec.Struct, frozen=True, gc=False):
    """A row's new state, by its identity."""

    key: Key
    row_number: int
    expires_at: int
    state: RowState
    earned_badge_id: str | None = None


class OddRow(msgspec.Struct, frozen=True):
    """A row of a batch that has a state of its own."""

    key: Key
    state: RowState
    job: int
    earned_badge_id: str | None


class Transaction(NamedTuple):
    """The transaction in which a job records.

    ``badge_keys``: ``badge_meta_id`` -> the ledger's number. Numbers that are looked up are added. They count only
    after the commit, because a number that was rolled back is given to another badge.
    """

    connection: sa.Connection
    rows: Rows
    job: Job
    badge_keys: dict[str, int]
    now: Moment
    keeps_issues: bool = True  #: whether the issues of outcomes are written; not those of a copy that was replaced


class _Adopted(NamedTuple):
    """A row by its identity, its number in the job that takes it over, and what was held of it when it was planned."""

    key: Key
    row_number: int
    held: Held


class LockedBatch:
    """A batch that is locked, so that no other transaction can change the state of one of its rows."""

    def __init__(self, connection: sa.Connection, rows: Rows, batch: int) -> None:
        self._connection = connection
        self._rows = rows
        found = connection.execute(QUERIES["lock_batch"], {"batch": batch}).one_or_none()
        self.is_there = found is not None
        self.key = batch
        self.job = found.job_id if found else 0
        self.state = RowState(found.state) if found else RowState.PLANNED
        self._row_count = found.row_count if found else 0
        self._gone = found.gone if found else 0
        self._packed = bytes(found.rows) if found else b""
        self._ids: bytes | None = found.ids if found else None
        self.odd = odd_rows(connection, batch)

    @property
    def columns(self) -> BatchColumns:
        """All rows that the batch began with, by row number."""
        return unpack_rows(self._packed, self._row_count)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        """The keys that still belong to this batch."""
        if not self._gone:
            return set(keys)
        found = map(Found._make, self._rows.find(self._connection, sorted(keys), any_date=False))
        return {row.key for row in found if row.batch == self.key}

    def state_of(self, key: Key) -> RowState:
        """The state of a row that belongs to this batch."""
        odd = self.odd.get(key)
        return odd.state if odd else self.state

    def owner_of(self, key: Key) -> int:
        """The job, by its number, that a row of this batch counts for."""
        odd = self.odd.get(key)
        return odd.job if odd else self.job

    def plain_rows(self) -> int:
        """How many rows have the batch's state."""
        return self._row_count - self._gone - sum(key[3] > 0 for key in self.odd)

    def change(self, changes: Sequence[Change], proof: Proof) -> list[Change]:
        """Change rows that are unproven and still belong to this batch; give these, with their new states.

        A late refusal of a row that is unknown now proves that the badge is not there, so the row becomes planned.
        """
        here = self.present([change.key for change in changes])
        done: list[Change] = []
        for change in changes:
            now = self.state_of(change.key)
            if change.key not in here or now not in UNPROVEN:
                continue
            if change.state is RowState.REJECTED and now is RowState.UNKNOWN:
                change = msgspec.structs.replace(change, state=RowState.PLANNED)
            done.append(change)
        odd = [_own_state(change, proof, 0) for change in done if change.key in self.odd]
        self._rows.change_odd(self._connection, sorted(odd, key=_KEY))
        self._change_plain([change for change in done if change.key not in self.odd], proof)
        return done

    def is_untouched(self, rows: int) -> bool:
        """Whether the batch is in flight with so many rows, none of which has left it or has a state of its own."""
        return self.state is RowState.INTENT and self._row_count == rows and not self._gone and not self.odd

    def settle_untouched(self, outcome: Outcome, badge_keys: Mapping[str, int]) -> None:
        """Settle all rows of an untouched batch. They are all intents, so every state is allowed, and none is checked.

        Rows that the outcome accepts together get objects only if the batch itself does not become accepted.

        :param badge_keys: ``badge_meta_id`` -> the ledger's number, of every row of the outcome.
        """
        counts = Counter(change.state for change in outcome.rows)
        counts[RowState.ACCEPTED] += len(outcome.accepted)
        state = _most_frequent(counts)
        granted = state is RowState.ACCEPTED
        ids: dict[int, str | None] = {}
        apart: list[OwnState] = []
        for change in outcome.rows if granted else changes_of(outcome):
            badge, earned_badge_id = change.badge, storable(change.earned_badge_id)
            if change.state is state and (granted or earned_badge_id is None):
                ids[badge.row_number] = earned_badge_id
                continue
            key = key_of(badge, badge_keys)
            said = _said_by(outcome.proof, change.state)
            number, expires_at = badge.row_number, badge.expires_at
            apart.append(OwnState(*key, change.state.value, self.job, number, expires_at, earned_badge_id, said))
        if granted:
            numbers = EarnedBadges.of(outcome.accepted).row_numbers
            ids.update(zip(numbers, storable_all(outcome.ids), strict=True))
        self._rows.add_odd(self._connection, self.key, sorted(apart, key=_KEY))
        self._connection.execute(QUERIES["change_batch"], self._batch_values(state, outcome.proof, ids))
        self.state = state

    def take_id(self, key: Key, row_number: int, earned_badge_id: str) -> None:
        """Give a row that was accepted without an id, or is unknown, an id that is proven to be its own."""
        if key in self.odd:
            self.change_odd(Change(key, row_number, 0, self.odd[key].state, earned_badge_id), None)
        elif self.state is RowState.ACCEPTED:
            ids = unpack_ids(self._ids, self._row_count)
            ids[self.columns.numbers.index(row_number)] = earned_badge_id
            self._connection.execute(QUERIES["change_ids"], {"batch": self.key, "ids": pack_ids(ids)})
        else:
            expires_at = dict(zip(self.columns.keys(), self.columns.expires, strict=True))[key]
            self.add_odd(Change(key, row_number, expires_at, self.state, earned_badge_id), None)

    def add_odd(self, change: Change, proof: Proof | None, *, job: int | None = None) -> None:
        """Give one row a state of its own."""
        self._rows.add_odd(self._connection, self.key, [_own_state(change, proof, job or self.job)])

    def change_odd(self, change: Change, proof: Proof | None) -> None:
        """Change the state of one row that has one of its own."""
        self._rows.change_odd(self._connection, [_own_state(change, proof, 0)])

    def _change_plain(self, changes: Sequence[Change], proof: Proof) -> None:
        """Change rows that have the batch's state. Rows that get a state of their own come first, while the batch still
        has the state that they come from.
        """
        if not changes:
            return
        all_together = len(changes) == self.plain_rows()
        state = _most_frequent(Counter(change.state for change in changes)) if all_together else None
        apart = [change for change in changes if not _follows(change, state)]
        own = [_own_state(change, proof, self.job) for change in apart]
        self._rows.add_odd(self._connection, self.key, sorted(own, key=_KEY))
        if state is not None and state is not self.state:
            ids = {change.row_number: change.earned_badge_id for change in changes if _follows(change, state)}
            self._connection.execute(QUERIES["change_batch"], self._batch_values(state, proof, ids))
            self.state = state

    def _batch_values(self, state: RowState, proof: Proof, ids: Mapping[int, str | None]) -> dict[str, object]:
        granted = state is RowState.ACCEPTED
        return {
            "batch": self.key,
            "state": state.value,
            "proof": proof.value if granted else None,
            "ids": pack_ids([ids.get(number) for number in self.columns.numbers]) if granted else None,
        }


def _own_state(change: Change, proof: Proof | None, job: int) -> OwnState:
    said = _said_by(proof, change.state)
    return OwnState(
        *change.key, change.state.value, job, change.row_number, change.expires_at, change.earned_badge_id, said
    )


def _said_by(proof: Proof | None, state: RowState) -> str | None:
    """The proof that the ledger keeps with a state: only for rows that were granted, or are proven not to be there."""
    return proof.value if proof is not None and state in _PROVEN else None


def changes_of(outcome: Outcome) -> list[RowChange]:
    """All rows of an outcome with the states that they come to."""
    return [*outcome.rows, *map(RowChange, outcome.accepted, repeat(RowState.ACCEPTED), outcome.ids)]


def take_out(connection: sa.Connection, rows: Rows, free: Sequence[Found], batch: int) -> None:
    """Move rows that are free to be sent out of their batches into another; the schema refuses any other row."""
    rows.move(connection, batch, [row.key for row in free])
    if odd := [key_values(row.key) for row in free if row.is_odd]:
        connection.execute(QUERIES["drop_odd_row"], odd)
    left = Counter(row.batch for row in free)
    values = [{"batch": key, "rows": count} for key, count in sorted(left.items())]
    connection.execute(QUERIES["rows_left"], values)


def adopt(transaction: Transaction, adoption: Adoption) -> None:
    """Take over rows that another job left without proof, all or none. They stay unknown; their batches are cut off.

    :raises IntentConflictError: a row is not as it was held any more.
    """
    of_batch: dict[int, list[_Adopted]] = {}
    for badge, held in adoption.rows:
        row = _Adopted(key_of(badge, transaction.badge_keys), badge.row_number, held)
        of_batch.setdefault(held.batch, []).append(row)
    connection = transaction.connection
    for batch, some in sorted(of_batch.items()):
        connection.execute(QUERIES["batch_is_cut_off"], {"batch": batch})
        _adopt_of_batch(connection, LockedBatch(connection, transaction.rows, batch), transaction.job, some)


def odd_rows(connection: sa.Connection, batch: int) -> dict[Key, OddRow]:
    """The rows of a batch that have a state of their own."""
    found = connection.execute(QUERIES["odd_rows_of_batch"], {"batch": batch})
    odd = [OddRow(tuple(row[:4]), RowState(row.state), row.job_id, row.earned_badge_id) for row in found]
    return {one.key: one for one in odd}


def key_of(badge: EarnedBadge, badge_keys: Mapping[str, int]) -> Key:
    """A row's identity in the ledger."""
    return badge.customer_id, badge_keys[badge.badge_meta_id], badge.earned_at, badge.occurrence


def key_values(key: Key) -> dict[str, object]:
    """A row's identity as parameters of a statement."""
    return dict(zip(("customer", "badge", "earned", "occurrence"), key, strict=True))


def _adopt_of_batch(connection: sa.Connection, batch: LockedBatch, job: Job, rows: Sequence[_Adopted]) -> None:
    here = batch.present([row.key for row in rows])
    expires = dict(zip(batch.columns.keys(), batch.columns.expires, strict=True))
    for key, row_number, held in sorted(rows, key=lambda row: row.key):
        if key not in here or batch.owner_of(key) != held.job or batch.state_of(key) is not RowState.UNKNOWN:
            raise IntentConflictError("another job settled a row that was to be taken over")
        if key in batch.odd:
            values = key_values(key) | {"job": job.key, "row_number": row_number}
            connection.execute(QUERIES["adopt_odd_row"], values)
        else:
            batch.add_odd(Change(key, row_number, expires[key], RowState.UNKNOWN), None, job=job.key)


def _most_frequent(counts: Mapping[RowState, int]) -> RowState:
    """The state of a batch whose rows come to these states, so many to each.

    A batch cannot be rejected. If all its rows were, each has a state of its own, and the batch is planned.
    """
    return max(_SAID_BY_BATCH, key=lambda state: (counts.get(state, 0), state is RowState.PLANNED))


def _follows(change: Change, state: RowState | None) -> bool:
    """Whether a row needs no state of its own beside its batch's; a batch keeps the ids of accepted rows only."""
    return change.state is state and (change.earned_badge_id is None or state is RowState.ACCEPTED)
