"""Writes what a job records, within one transaction."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.row_state import BATCH_STATES, FREE, UNPROVEN, RowState
from airflow_provider_capillary.ledger import settling
from airflow_provider_capillary.ledger.adopting import Adopted, adopt
from airflow_provider_capillary.ledger.batches import add_batches, moment_values, settle_untouched
from airflow_provider_capillary.ledger.changes import DOUBT_OF_ID, Change, LockedBatch, changes_of, key_values
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    Intent,
    IntentConflictError,
    Issues,
    Job,
    Note,
    Outcome,
    RowChange,
    RowEnd,
    RowIssue,
)
from airflow_provider_capillary.ledger.given_ids import GivenIds, whole_row
from airflow_provider_capillary.ledger.issues import add_issues
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
from airflow_provider_capillary.ledger.queries import QUERIES, insert_many
from airflow_provider_capillary.ledger.rows import Found, Rows

log = logging.getLogger(__name__)

_LARGEST = 2**63 - 1


class _Noted(NamedTuple):
    """An intent with its batch and its rows."""

    intent: Intent
    batch: int
    columns: BatchColumns


class Recording:
    """The notes of one transaction.

    :param badge_keys: name -> the ledger's number. What is looked up here is added; it may be kept only when
        the transaction is committed: a number that was rolled back is given to another badge.
    :param keeps_issues: whether the issues of outcomes count; those of a copy that was replaced do not.
    """

    def __init__(
        self,
        connection: sa.Connection,
        rows: Rows,
        job: Job,
        badge_keys: dict[str, int],
        *,
        now: Moment,
        keeps_issues: bool,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._job = job
        self._badge_keys = badge_keys
        self._now = now
        self._keeps_issues = keeps_issues
        self.accepted_elsewhere: set[int] = set()  #: rows that a reply accepts, and that are another job's by now

    def write(self, notes: Sequence[Note]) -> list[int]:
        """Write the notes, intents last; give the key of each intent's batch."""
        intents = [note for note in notes if isinstance(note, Intent)]
        _refuse_repeated(intents)
        if any(intent.once_per_customer for intent in intents):
            self._connection.execute(QUERIES["lock_organisation"], {"organisation": self._job.organisation_key})
        self.learn(set().union(*map(_names, notes)))
        outcomes = [note for note in notes if isinstance(note, Outcome)]
        first = {outcome.batch: outcome for outcome in reversed(outcomes)}
        in_one_state = list(filter(None, map(self._in_one_state, first.values())))
        settled = settle_untouched(self._connection, self._now, in_one_state)
        for note in notes:
            if isinstance(note, Outcome):
                self._outcome(note, at_once=note is first[note.batch] and note.batch in settled)
            elif isinstance(note, Adoption):
                rows = [Adopted(self._key(badge), badge.row_number, held) for badge, held in note.rows]
                adopt(self._connection, self._rows, self._job, rows)
            elif isinstance(note, Issues):
                self._issues(note.rows, only_if_untold=note.only_if_untold)
        return self._intents(intents) if intents else []

    def learn(self, names: set[str]) -> None:
        """Number badges that the ledger does not know yet."""
        for name in sorted(names - self._badge_keys.keys()):
            values = {"organisation": self._job.organisation_key, "name": name}
            self._connection.execute(QUERIES["add_badge"], values)
            self._badge_keys[name] = int(self._connection.execute(QUERIES["find_badge"], values).scalar_one())

    # -- intents -----------------------------------------------------------------------------------------------------

    def _intents(self, intents: Sequence[Intent]) -> list[int]:
        self._refuse_second_badge([b for intent in intents if intent.once_per_customer for b in intent.badges])
        columns = [columns_of(intent.badges, self._badge_keys) for intent in intents]
        batches = list(map(_batch_values, intents, columns))
        keys = add_batches(self._connection, self._job, self._now, batches)
        noted = list(map(_Noted, intents, keys, columns))
        new = [NewRows(one.batch, self._new_keys(one)) for one in noted]
        self._rows.insert(self._connection, new)
        return [one.batch for one in noted]

    def _new_keys(self, noted: _Noted) -> KeyColumns:
        """The rows that the ledger does not hold. Those that it holds and that are free move to the batch first."""
        if noted.intent.unseen:
            return noted.columns.sorted_keys()
        keys = sorted(noted.columns.keys())
        self._rows.lock(self._connection, keys)
        found = map(Found._make, self._rows.find(self._connection, keys, any_date=False))
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
        """Refuse to take a row of this job that was refused under another number: a repeat is not sent again."""
        for key, number in zip(noted.columns.keys(), noted.columns.numbers, strict=True):
            row = held.get(key)
            if row is not None and row.job == self._job.key and row.row_number not in (None, number):
                raise IntentConflictError("a row of the batch repeats another one of this job")

    def _claim(self, held: Sequence[Found], batch: int, known_doubts: set[Key]) -> None:
        """Take rows that are proven not to be at the API into another batch."""
        taken = [row for row in held if row.state not in FREE or (row.doubt and row.key not in known_doubts)]
        if taken:
            raise IntentConflictError(f"{len(taken)} rows are held by another batch or another job")
        self._rows.move(self._connection, batch, [row.key for row in held])
        odd = [key_values(row.key) for row in held if row.is_odd]
        if odd:
            self._connection.execute(QUERIES["drop_odd_row"], odd)
        left: dict[int, int] = {}
        for row in held:
            left[row.batch] = left.get(row.batch, 0) + 1
        values = [{"batch": key, "rows": rows} for key, rows in sorted(left.items())]
        self._connection.execute(QUERIES["rows_left"], values)

    def _refuse_second_badge(self, badges: Sequence[EarnedBadge]) -> None:
        keys = sorted({(b.customer_id, self._badge_keys[b.badge_meta_id], 0) for b in badges})
        numbers = {badge.row_number for badge in badges}
        for found in map(Found._make, self._rows.find(self._connection, keys, any_date=True)):
            if _stands_in_the_way(found) or self._is_refused_here(found, numbers):
                raise IntentConflictError(f"a badge of the batch is held by another row, in state {found.state}")

    def _is_refused_here(self, found: Found, numbers: set[int]) -> bool:
        """Whether this job was refused the badge for another of its rows: what repeats that row ends as it did."""
        return found.job == self._job.key and found.state == RowState.REJECTED and found.row_number not in numbers

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _outcome(self, outcome: Outcome, *, at_once: bool) -> None:
        """Write an outcome.

        :param at_once: its batch is settled: all rows came to one state together.
        """
        late = 0 if at_once else self._change_rows(outcome)
        if self._keeps_issues:
            self._forget_issues([change for change in outcome.rows if change.state is RowState.PLANNED])
            self._issues(outcome.issues)
        if at_once and not outcome.given:
            return
        ids = GivenIds(self._connection, self._rows, self._job, self._badge_keys)
        ids.keep(outcome.batch, outcome.given)
        if at_once:
            return
        if late:
            log.warning("An outcome came too late for %d rows: they were settled or sent again meanwhile", late)
            accepted = [change for change in changes_of(outcome) if change.state is RowState.ACCEPTED]
            ids.keep_late(outcome.batch, accepted)
        ids.look_for_second_grants(outcome)  # after the issues, which are added to where a row was granted twice

    def _in_one_state(self, outcome: Outcome) -> dict[str, Any] | None:
        """How a batch is settled whose rows all come to one state together; ``None`` where they do not."""
        states = {change.state for change in outcome.rows} | ({RowState.ACCEPTED} if outcome.accepted else set())
        if not outcome.verdict or len(states) != 1 or outcome.doubt:
            return None
        (state,) = states
        granted = state is RowState.ACCEPTED
        has_ids = any(change.earned_badge_id for change in outcome.rows)
        if state not in BATCH_STATES or has_ids or (granted and outcome.rows):
            return None
        ids = pack_ids(_by_row_number(outcome.accepted, storable_all(outcome.ids))) if granted else None
        return _reply_values(outcome) | {
            "state": state.value,
            "proof": outcome.proof.value if granted else None,
            "ids": ids,
            "row_count": len(outcome.accepted) + len(outcome.rows),
        }

    def _change_rows(self, outcome: Outcome) -> int:
        """Change rows that are still of the batch; give how many are not."""
        if outcome.verdict:
            values = _reply_values(outcome) | moment_values(self._now)
            self._connection.execute(QUERIES["batch_settled"], values)
        if not outcome.rows and not outcome.accepted:
            return 0
        self.learn(set(EarnedBadges.of(outcome.accepted).badge_meta_ids))
        batch = LockedBatch(self._connection, self._rows, outcome.batch)
        if batch.is_untouched(len(outcome.rows) + len(outcome.accepted)):
            batch.settle_untouched(outcome, self._badge_keys)
            return 0
        changes = changes_of(outcome)
        ids = storable_all([change.earned_badge_id for change in changes])
        wanted = [self._change(change, earned_badge_id) for change, earned_badge_id in zip(changes, ids, strict=True)]
        if outcome.doubt:
            self._doubt(batch, wanted, outcome.doubt)
        if not outcome.verdict:
            self._doubt_ids(batch, [change for change in wanted if change.state is RowState.PLANNED])
        before = {change.key: batch.state_of(change.key) for change in wanted}
        done = batch.change(wanted, outcome.proof)
        own = {change.key for change in done if self._keeps_issues and batch.owner_of(change.key) == self._job.key}
        were_unknown = {change.key for change in done if before[change.key] is RowState.UNKNOWN}
        self._account_elsewhere([one for one in wanted if one.key not in own], were_unknown)
        return len(wanted) - len(done)

    def _account_elsewhere(self, changes: Sequence[Change], were_unknown: Collection[Key]) -> None:
        """Account for accepted rows where they are owned now: the lease of this process ran out, and it lived on.

        Another job may have taken rows over, or another copy of this job may have reported them as unknown, and may
        be at its end.
        """
        for change in (change for change in changes if change.state is RowState.ACCEPTED):
            row = whole_row(self._connection, change.key)
            if row is None:
                continue
            if row.job != self._job.key:
                self.accepted_elsewhere.add(change.row_number)
            if change.key in were_unknown:
                owner = msgspec.structs.replace(self._job, key=row.job)
                end = RowEnd(row.row_number, RowState.ACCEPTED, settling.LATE_REPLY, row.doubt)
                settling.report_ends(self._connection, owner, [end])

    def _change(self, change: RowChange, earned_badge_id: str | None) -> Change:
        badge = change.badge
        return Change(self._key(badge), badge.row_number, badge.expires_at, change.state, earned_badge_id)

    def _key(self, badge: EarnedBadge) -> Key:
        return badge.customer_id, self._badge_keys[badge.badge_meta_id], badge.earned_at, badge.occurrence

    def _doubt(self, batch: LockedBatch, changes: Sequence[Change], doubt: str) -> None:
        """Rows that are unknown until now may be granted twice from now on."""
        here = batch.present([change.key for change in changes])
        unknown = [key for key in sorted(here) if batch.state_of(key) is RowState.UNKNOWN]
        if unknown:
            values = [key_values(key) | {"doubt": doubt} for key in unknown]
            insert_many(self._connection, "add_doubt", values)

    def _doubt_ids(self, batch: LockedBatch, absent: Sequence[Change]) -> None:
        """Rows that a read found absent, although a reply without proof gave an id for them."""
        unknown = [(change.key, batch.odd.get(change.key)) for change in absent]
        doubts = [
            key_values(key) | {"doubt": DOUBT_OF_ID.format(odd.earned_badge_id)}
            for key, odd in unknown
            if odd and odd.state is RowState.UNKNOWN and odd.earned_badge_id
        ]
        if doubts:
            insert_many(self._connection, "add_doubt", doubts)

    # -- issues ------------------------------------------------------------------------------------------------------

    def _forget_issues(self, sent_again: Sequence[RowChange]) -> None:
        if sent_again:
            values = [{"job": self._job.key, "row_number": change.badge.row_number} for change in sent_again]
            self._connection.execute(QUERIES["forget_issue"], values)

    def _issues(self, issues: Sequence[RowIssue], *, only_if_untold: bool = False) -> None:
        if issues:
            add_issues(self._connection, self._job.key, issues, keep_earlier=only_if_untold)


def _stands_in_the_way(found: Found) -> bool:
    """Whether a customer who may hold the badge only once holds it, may hold it, or had it revoked and not set free."""
    if found.state == RowState.REVOKED:
        return found.occurrence > 0
    return found.state == RowState.ACCEPTED or found.state in UNPROVEN


def _names(note: Note) -> set[str]:
    """The badges of a note."""
    if isinstance(note, Intent):
        return set(note.badges.badge_meta_ids)
    if isinstance(note, Outcome):
        return {change.badge.badge_meta_id for change in note.rows}  # of accepted rows the keys are seldom needed
    return {badge.badge_meta_id for badge, _ in note.rows} if isinstance(note, Adoption) else set()


def _batch_values(intent: Intent, columns: BatchColumns) -> dict[str, Any]:
    return {
        "attempt": intent.attempt,
        "row_count": len(intent.badges),
        "fingerprint": intent.fingerprint,
        "request_id": intent.request_id,
        "rows": pack_rows(columns),
    }


def _reply_values(outcome: Outcome) -> dict[str, Any]:
    return {"batch": outcome.batch, "status": outcome.status, "verdict": outcome.verdict}


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
            # no other job is to blame, so planning anew would not help
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
