"""Writes the notes of a job within one transaction: intents to send batches, and their outcomes.

The statements over batches are here, those over many rows in ``rows.py``. If all rows of a batch come to one state,
that is one update; ``odd_outcomes.py`` has all other outcomes. On PostgreSQL each statement is a trip to the server, so
the batches of one transaction are written together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.row_state import BATCH_STATES, FREE, UNPROVEN, RowState
from airflow_provider_capillary.ledger.changes import Transaction, adopt, take_out
from airflow_provider_capillary.ledger.database import moment_values
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    Intent,
    IntentConflictError,
    Issues,
    Job,
    Note,
    Outcome,
    Proof,
)
from airflow_provider_capillary.ledger.issues import add_issues
from airflow_provider_capillary.ledger.odd_outcomes import OddOutcomes
from airflow_provider_capillary.ledger.packing import (
    BatchColumns,
    Key,
    KeyColumns,
    NewRows,
    columns_of,
    pack_ids,
    pack_rows,
    storable_all,
)
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Found, conflict_of, row_arrays

_NEW_BATCH = ("attempt", "row_count", "fingerprint", "request_id", "rows")
_SETTLED_BATCH = ("batch", "row_count", "state", "proof", "status", "verdict", "ids")


class _Noted(NamedTuple):
    """An intent with its batch and its rows."""

    intent: Intent
    batch: int
    columns: BatchColumns


class Recording:
    """The notes of one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._in = transaction
        self.accepted_elsewhere: set[int] = set()  #: rows that a reply accepts, but that belong to another job now

    def write(self, notes: Sequence[Note]) -> list[int]:
        """Write the notes, intents last; give the key of each intent's batch.

        Nearly always these are outcomes of batches whose rows were all accepted, and the intents of the lanes' next
        batches. For such an outcome ``_settle_untouched`` does everything.
        """
        intents = [note for note in notes if isinstance(note, Intent)]
        _refuse_repeated(intents)
        if any(intent.once_per_customer for intent in intents):
            self._in.connection.execute(QUERIES["lock_organisation"], {"organisation": self._in.job.organisation_key})
        self.learn(set().union(*map(_names, notes)))
        outcomes = [note for note in notes if isinstance(note, Outcome)]
        first = {outcome.batch: outcome for outcome in reversed(outcomes)}
        in_one_state = list(filter(None, map(self._in_one_state, first.values())))
        settled = _settle_untouched(self._in.connection, self._in.now, in_one_state)
        for note in notes:
            if isinstance(note, Outcome):
                self._outcome(note, is_settled=note is first[note.batch] and note.batch in settled)
            elif isinstance(note, Adoption):
                adopt(self._in, note)
            elif isinstance(note, Issues) and note.rows:
                add_issues(self._in.connection, self._in.job.key, note.rows, keep_earlier=note.keep_earlier)
        return self._intents(intents) if intents else []

    def learn(self, names: set[str]) -> None:
        """Number badges that the ledger does not know yet."""
        for name in sorted(names - self._in.badge_keys.keys()):
            values = {"organisation": self._in.job.organisation_key, "name": name}
            self._in.connection.execute(QUERIES["add_badge"], values)
            self._in.badge_keys[name] = int(self._in.connection.execute(QUERIES["find_badge"], values).scalar_one())

    # -- intents -----------------------------------------------------------------------------------------------------

    def _intents(self, intents: Sequence[Intent]) -> list[int]:
        once = [badge for intent in intents if intent.once_per_customer for badge in intent.badges]
        if once:
            self._refuse_second_badge(once)
        columns = [columns_of(intent.badges, self._in.badge_keys) for intent in intents]
        batches = list(map(_batch_values, intents, columns))
        if all(intent.unseen for intent in intents):
            return self._note_unseen(batches, [each.sorted_keys() for each in columns])
        keys = add_batches(self._in.connection, self._in.job, self._in.now, batches)
        noted = list(map(_Noted, intents, keys, columns))
        new = [NewRows(one.batch, self._new_keys(one)) for one in noted]
        self._in.rows.insert(self._in.connection, new)
        return [one.batch for one in noted]

    def _note_unseen(self, batches: Sequence[dict[str, Any]], keys: Sequence[KeyColumns]) -> list[int]:
        """Note batches with their rows, of which none was looked up: a row that the ledger holds is a conflict."""
        if self._in.connection.dialect.name == "sqlite":
            numbers = add_batches(self._in.connection, self._in.job, self._in.now, batches)
            self._in.rows.insert(self._in.connection, list(map(NewRows, numbers, keys)))
            return numbers
        values = {"job": self._in.job.key, "fence": self._in.job.fence, **moment_values(self._in.now)}
        values |= _columns(_NEW_BATCH, batches) | row_arrays(keys)
        try:
            return sorted(self._in.connection.execute(QUERIES["note_unseen_batches"], values).scalars())
        except IntegrityError as error:
            raise conflict_of(error) from error

    def _new_keys(self, noted: _Noted) -> KeyColumns:
        """The rows that the ledger does not hold. Rows that it holds are moved to the batch first, if they are free."""
        if noted.intent.unseen:
            return noted.columns.sorted_keys()
        keys = sorted(noted.columns.keys())
        self._in.rows.lock(self._in.connection, keys)
        found = map(Found._make, self._in.rows.find(self._in.connection, keys, any_date=False))
        held = {row.key: row for row in found}
        known = {key for key in keys if key in held}
        if known:
            known_doubts = {
                key
                for key, number in zip(noted.columns.keys(), noted.columns.numbers, strict=True)
                if number in noted.intent.doubted
            }
            self._refuse_own_other_rows(noted, held)
            self._claim([held[key] for key in sorted(known)], noted.batch, known_doubts)
        return KeyColumns.of([key for key in keys if key not in known])

    def _refuse_own_other_rows(self, noted: _Noted, held: Mapping[Key, Found]) -> None:
        """Refuse a row that repeats another one of this job under another number: a repeat is not sent."""
        for key, number in zip(noted.columns.keys(), noted.columns.numbers, strict=True):
            row = held.get(key)
            if row is not None and row.job == self._in.job.key and row.row_number not in (None, number):
                raise IntentConflictError("a row of the batch repeats another one of this job")

    def _claim(self, held: Sequence[Found], batch: int, known_doubts: set[Key]) -> None:
        """Move rows that are proven not to be at the API into another batch."""
        taken = [row for row in held if row.state not in FREE or (row.doubt and row.key not in known_doubts)]
        if taken:
            raise IntentConflictError(f"{len(taken)} rows are held by another batch or another job")
        take_out(self._in.connection, self._in.rows, held, batch)

    def _refuse_second_badge(self, badges: Sequence[EarnedBadge]) -> None:
        keys = sorted({(b.customer_id, self._in.badge_keys[b.badge_meta_id], 0) for b in badges})
        numbers = {badge.row_number for badge in badges}
        for found in map(Found._make, self._in.rows.find(self._in.connection, keys, any_date=True)):
            if _stands_in_the_way(found) or self._is_refused_here(found, numbers):
                raise IntentConflictError(f"a badge of the batch is held by another row, in state {found.state}")

    def _is_refused_here(self, found: Found, numbers: set[int]) -> bool:
        """Whether the API refused the badge for another row of this job. A row that repeats it ends in the same way."""
        return found.job == self._in.job.key and found.state == RowState.REJECTED and found.row_number not in numbers

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _outcome(self, outcome: Outcome, *, is_settled: bool) -> None:
        if is_settled and not (outcome.rows or outcome.issues or outcome.given):
            return  # all its rows were accepted together, and there is nothing else to record
        if not is_settled:
            self.learn(set(EarnedBadges.of(outcome.accepted).badge_meta_ids))
        odd = OddOutcomes(self._in)
        odd.write(outcome, is_settled=is_settled)
        self.accepted_elsewhere |= odd.accepted_elsewhere

    def _in_one_state(self, outcome: Outcome) -> dict[str, Any] | None:
        """The values that settle a whole batch, if all its rows come to one state together, else ``None``."""
        states = {change.state for change in outcome.rows} | ({RowState.ACCEPTED} if outcome.accepted else set())
        if not outcome.verdict or len(states) != 1 or outcome.doubt:
            return None
        (state,) = states
        granted = state is RowState.ACCEPTED
        has_ids = any(change.earned_badge_id for change in outcome.rows)
        if state not in BATCH_STATES or has_ids or (granted and outcome.rows):
            return None
        ids = pack_ids(_by_row_number(outcome.accepted, storable_all(outcome.ids))) if granted else None
        return {
            "batch": outcome.batch,
            "status": outcome.status,
            "verdict": outcome.verdict,
            "state": state.value,
            "proof": Proof.REPLY.value if granted else None,
            "ids": ids,
            "row_count": len(outcome.accepted) + len(outcome.rows),
        }


def _stands_in_the_way(found: Found) -> bool:
    """Whether a customer who may hold the badge once holds it by this row, may hold it, or had it revoked for good."""
    if found.state == RowState.REVOKED:
        return found.occurrence > 0
    return found.state == RowState.ACCEPTED or found.state in UNPROVEN


def _names(note: Note) -> set[str]:
    """The badges of a note."""
    if isinstance(note, Intent):
        return set(note.badges.badge_meta_ids)
    if isinstance(note, Outcome):
        return {change.badge.badge_meta_id for change in note.rows}  # the keys of accepted rows are rarely needed
    return {badge.badge_meta_id for badge, _ in note.rows} if isinstance(note, Adoption) else set()


def _batch_values(intent: Intent, columns: BatchColumns) -> dict[str, Any]:
    return {
        "attempt": intent.attempt,
        "row_count": len(intent.badges),
        "fingerprint": intent.fingerprint,
        "request_id": intent.request_id,
        "rows": pack_rows(columns),
    }


def _refuse_repeated(intents: Sequence[Intent]) -> None:
    customers = [intent.badges.customer_ids for intent in intents]
    if len(set().union(*customers)) == sum(map(len, customers)):
        return  # every customer has one row, so no two rows are equal
    taken: set[tuple[Any, ...]] = set()
    for intent in intents:
        keys: set[tuple[Any, ...]]
        if intent.once_per_customer:
            keys = {(b.customer_id, b.badge_meta_id) for b in intent.badges}
        else:
            keys = {(b.customer_id, b.badge_meta_id, b.earned_at, b.occurrence) for b in intent.badges}
        if len(keys) < len(intent.badges):
            # it is a defect, not a conflict with another job, so planning again would not help
            raise ValueError("a batch holds two rows of one identity")
        if not taken.isdisjoint(keys):
            raise IntentConflictError("two batches that are noted together hold the same row")
        taken |= keys


def _by_row_number(badges: Sequence[EarnedBadge], ids: Sequence[str | None]) -> Sequence[str | None]:
    """The ids in the order in which the batch keeps its rows."""
    numbers = EarnedBadges.of(badges).row_numbers
    if numbers == sorted(numbers):
        return ids
    of_row: Mapping[int, str | None] = dict(zip(numbers, ids, strict=True))
    return [of_row[number] for number in sorted(numbers)]


def add_batches(connection: sa.Connection, job: Job, now: Moment, batches: Sequence[dict[str, Any]]) -> list[int]:
    """Note the intents to send batches; give the key of each."""
    values = {"job": job.key, "fence": job.fence, **moment_values(now)}
    if connection.dialect.name == "sqlite":
        return [int(connection.execute(QUERIES["add_batch"], values | batch).scalar_one()) for batch in batches]
    keys = connection.execute(QUERIES["add_batches"], values | _columns(_NEW_BATCH, batches)).scalars()
    return sorted(keys)  # they are numbered in the given order


def _settle_untouched(connection: sa.Connection, now: Moment, batches: Sequence[dict[str, Any]]) -> set[int]:
    """Give all rows of a batch one state; give the batches for which that was right.

    In these no row had left the batch since the intent, or had a state of its own. Others are left as they are.
    """
    values = moment_values(now)
    if connection.dialect.name == "sqlite":
        statement = QUERIES["settle_untouched_batch"]
        return {one["batch"] for one in batches if connection.execute(statement, values | one).rowcount == 1}
    if not batches:
        return set()
    found = connection.execute(QUERIES["settle_untouched_batches"], values | _columns(_SETTLED_BATCH, batches))
    return set(found.scalars())


def _columns(names: Sequence[str], batches: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {f"{name}_column": [batch[name] for batch in batches] for name in names}
