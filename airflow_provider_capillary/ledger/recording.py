"""Writes what a job tells its ledger, within one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import statements
from airflow_provider_capillary.ledger.base import (
    Adoption,
    Intent,
    IntentConflictError,
    Issues,
    Job,
    Note,
    Outcome,
    RowChange,
    RowIssue,
)
from airflow_provider_capillary.ledger.bulk import Bulk, ClaimRow, Claims, Known
from airflow_provider_capillary.ledger.given_ids import GivenIds
from airflow_provider_capillary.ledger.storable import storable, storable_all

log = logging.getLogger(__name__)

_LARGEST = 2**63 - 1


class Recording:
    """The notes of one transaction, written in one order by all jobs: two of them do not wait in a circle.

    :param badge_keys: name -> the ledger's number. What is looked up here is added; it may be kept only when
        the transaction is committed: a number that was rolled back is given to another badge.
    :param keeps_issues: whether the issues of outcomes count; those of a copy that was replaced do not.
    """

    def __init__(
        self,
        connection: sa.Connection,
        bulk: Bulk,
        job: Job,
        badge_keys: dict[str, int],
        *,
        now: float,
        keeps_issues: bool,
    ) -> None:
        self._connection = connection
        self._bulk = bulk
        self._job = job
        self._badge_keys = badge_keys
        self._now = now
        self._keeps_issues = keeps_issues

    def write(self, notes: Sequence[Note]) -> list[int]:
        """Write the notes, intents last; give the key of each intent's batch."""
        intents = [note for note in notes if isinstance(note, Intent)]
        _refuse_repeated(intents)
        if any(intent.once_per_customer for intent in intents):
            self._connection.execute(statements.LOCK_ORGANISATION, {"organisation": self._job.organisation_key})
        self._learn(set().union(*map(_names, notes)))
        for note in notes:
            if isinstance(note, Outcome):
                self._outcome(note)
            elif isinstance(note, Adoption):
                self._adoption(note)
            elif isinstance(note, Issues):
                self._issues(note.rows, only_if_untold=note.only_if_untold)
        return self._intents(intents) if intents else []

    def _learn(self, names: set[str]) -> None:
        for name in sorted(names - self._badge_keys.keys()):
            self._badge_keys[name] = self._register(name)

    def _register(self, name: str) -> int:
        self._connection.execute(statements.ADD_BADGE, {"name": name})
        return int(self._connection.execute(statements.FIND_BADGE, {"name": name}).scalar_one())

    def _intents(self, intents: Sequence[Intent]) -> list[int]:
        self._refuse_second_badge([b for intent in intents if intent.once_per_customer for b in intent.badges])
        batches = [self._batch(intent) for intent in intents]
        claims = [
            claims for batch, intent in zip(batches, intents, strict=True) for claims in self._claims(batch, intent)
        ]
        job, claimed = self._job, 0
        for known in Known:
            alike = [one for one_known, one in claims if one_known is known]
            if alike:
                claimed += self._bulk.claim(self._connection, job.organisation_key, job.key, alike, known)
        missed = sum(len(one.rows) for _, one in claims) - claimed
        if missed:
            raise IntentConflictError(f"{missed} rows are held by another batch or another job")
        return batches

    def _claims(self, batch: int, intent: Intent) -> Iterator[tuple[Known, Claims]]:
        """The rows in the order of the index, where neighbours are written together."""
        keys = self._badge_keys
        rows: list[ClaimRow] = [
            (b.customer_id, keys[b.badge_meta_id], b.earned_at, b.occurrence, b.row_number, b.expires_at)
            for b in intent.badges
        ]
        rows.sort()
        if intent.doubted:
            in_doubt = [row for row in rows if row[4] in intent.doubted]
            yield Known.DOUBT, Claims(batch, intent.attempt, in_doubt)
            rows = [row for row in rows if row[4] not in intent.doubted]
        yield Known.NOTHING if intent.unseen else Known.FREE, Claims(batch, intent.attempt, rows)

    def _batch(self, intent: Intent) -> int:
        values = {
            "job": self._job.key,
            "fence": self._job.fence,
            "attempt": intent.attempt,
            "row_count": len(intent.badges),
            "fingerprint": intent.fingerprint,
            "request_id": intent.request_id,
            "now": self._now,
        }
        return int(self._connection.execute(statements.ADD_BATCH, values).scalar_one())

    def _refuse_second_badge(self, badges: Sequence[EarnedBadge]) -> None:
        if not badges:
            return
        keys = {(b.customer_id, self._badge_keys[b.badge_meta_id], 0) for b in badges}
        own = {(b.customer_id, self._badge_keys[b.badge_meta_id], b.earned_at, b.row_number) for b in badges}
        values = {"organisation": self._job.organisation_key, "job": self._job.key, "now": self._now}
        for found in self._bulk.find(self._connection, sorted(keys), any_date=True, **values):
            customer, badge, owner, row, state, earned = tuple(found)[:6]
            in_hand = owner == self._job.key and (customer, badge, earned, row) in own
            if not in_hand and state in (RowState.ACCEPTED, RowState.INTENT, RowState.UNKNOWN):
                raise IntentConflictError(f"a badge of the batch is held by another row, in state {state}")

    def _outcome(self, outcome: Outcome) -> None:
        # first the batch: whoever takes rows of it away waits here, or was here before and has left a mark
        together = self._settle_batch(outcome)
        changes = list(outcome.rows)
        if not together:
            changes += map(RowChange, outcome.accepted, repeat(RowState.ACCEPTED), outcome.ids)
        if outcome.doubt:
            self._connection.execute(statements.DOUBT, self._doubts(outcome, outcome.rows))
        absent = [] if outcome.verdict else [change for change in outcome.rows if change.state is RowState.PLANNED]
        if absent:
            self._connection.execute(statements.DOUBT_OF_ID, self._doubts(outcome, absent))
        late = self._change_rows(outcome.batch, changes)
        if together:  # after the others: rows that still stand as intents are accepted by this
            ids = dict(zip([b.row_number for b in outcome.accepted], storable_all(outcome.ids), strict=True))
            values = {"batch": outcome.batch, "ids": msgspec.json.encode(ids).decode()}
            self._connection.execute(statements.ACCEPT_BATCH, values)
        if self._keeps_issues:
            self._forget_issues([change for change in outcome.rows if change.state is RowState.PLANNED])
            self._issues(outcome.issues)
        self._keep_ids(outcome, changes, late)

    def _keep_ids(self, outcome: Outcome, changes: Sequence[RowChange], late: int) -> None:
        """Keep ids that accept no row; after the issues, which are added to where a row was granted twice."""
        ids = GivenIds(self._connection, self._job, self._badge_keys)
        ids.keep(outcome.batch, outcome.given)
        if late:
            log.warning("An outcome came too late for %d rows: they were settled or sent anew in the meantime", late)
            accepted = [change for change in changes if change.state is RowState.ACCEPTED]
            ids.keep_late(outcome.batch, accepted)
        if changes:
            ids.look_for_second_grants(changes)

    def _settle_batch(self, outcome: Outcome) -> bool:
        """Write the verdict; say whether the accepted rows are as their intent left them, and can go together."""
        values = {"batch": outcome.batch, "now": self._now, "status": outcome.status, "verdict": outcome.verdict}
        if outcome.accepted:
            every = len(outcome.accepted) + len(outcome.rows)
            if self._connection.execute(statements.SETTLE_UNTOUCHED_BATCH, values | {"rows": every}).rowcount == 1:
                return True
        if outcome.verdict:
            self._connection.execute(statements.SETTLE_BATCH, values)
        return False

    def _change_rows(self, batch: int, changes: Sequence[RowChange]) -> int:
        """Change rows that are still of the batch; give how many are not."""
        self._learn({change.badge.badge_meta_id for change in changes})
        return len(changes) - sum(
            self._change(batch, state, [change for change in changes if change.state is state])
            for state in dict.fromkeys(change.state for change in changes)
        )

    def _change(self, batch: int, state: RowState, changed: Sequence[RowChange]) -> int:
        ids = storable_all([row.earned_badge_id for row in changed])
        keys, badges = self._badge_keys, [row.badge for row in changed]
        rows = sorted(
            [
                (b.customer_id, keys[b.badge_meta_id], b.earned_at, b.occurrence, granted)
                for b, granted in zip(badges, ids, strict=True)
            ]
        )
        organisation = self._job.organisation_key
        return self._bulk.change(self._connection, organisation, batch, state.value, rows)

    def _doubts(self, outcome: Outcome, rows: Sequence[RowChange]) -> list[dict[str, Any]]:
        return [
            {
                "organisation": self._job.organisation_key,
                "customer_id": row.badge.customer_id,
                "badge_id": self._badge_keys[row.badge.badge_meta_id],
                "earned_at": row.badge.earned_at,
                "occurrence": row.badge.occurrence,
                "batch": outcome.batch,
                "doubt": outcome.doubt,
            }
            for row in rows
        ]

    def _adoption(self, adoption: Adoption) -> None:
        keys = self._badge_keys
        rows = [(b.customer_id, keys[b.badge_meta_id], b.earned_at, b.occurrence, b, held) for b, held in adoption.rows]
        for batch in sorted({held.batch for _, held in adoption.rows}):
            self._connection.execute(statements.CUT_OFF_BATCH, {"batch": batch})
        for customer, badge_key, earned_at, occurrence, badge, held in sorted(rows, key=itemgetter(0, 1, 2, 3)):
            values = {
                "organisation": self._job.organisation_key,
                "customer_id": customer,
                "badge_id": badge_key,
                "earned_at": earned_at,
                "occurrence": occurrence,
                "job": self._job.key,
                "row_number": badge.row_number,
                "old_job": held.job,
                "batch": held.batch,
            }
            if self._connection.execute(statements.ADOPT, values).rowcount != 1:
                raise IntentConflictError("another job settled a row that was to be taken over")

    def _forget_issues(self, sent_again: Sequence[RowChange]) -> None:
        if sent_again:
            values = [{"job": self._job.key, "row_number": change.badge.row_number} for change in sent_again]
            self._connection.execute(statements.FORGET_ISSUE, values)

    def _issues(self, issues: Sequence[RowIssue], *, only_if_untold: bool = False) -> None:
        if issues:
            values = [_issue_values(issue) | {"job": self._job.key} for issue in issues]
            self._connection.execute(statements.ADD_FIRST_ISSUE if only_if_untold else statements.ADD_ISSUE, values)


def _names(note: Note) -> set[str]:
    """The badges of a note."""
    if isinstance(note, Intent):
        return {badge.badge_meta_id for badge in note.badges}
    if isinstance(note, Outcome):
        return {change.badge.badge_meta_id for change in note.rows}  # of accepted rows the keys are seldom needed
    return {badge.badge_meta_id for badge, _ in note.rows} if isinstance(note, Adoption) else set()


def _refuse_repeated(intents: Sequence[Intent]) -> None:
    customers = [b.customer_id for intent in intents for b in intent.badges]
    if len(set(customers)) == len(customers):
        return  # nobody has two rows, so no two rows are equal
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


def _issue_values(issue: RowIssue) -> dict[str, Any]:
    values = msgspec.structs.asdict(issue)
    for name in ("stage", "message", "source", "request_id", "badge_meta_id"):
        values[name] = storable(values[name])
    values["state"] = issue.state.value
    values["original"] = msgspec.json.encode(issue.original).decode()
    # a code is told by the API, which may tell anything
    values["code"] = issue.code if issue.code is not None and abs(issue.code) <= _LARGEST else None
    return values
