"""Records outcomes whose rows were not all accepted together: row by row, late, or with ids that accept no row.

The usual outcome is one update of its batch, in ``recording.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import settling
from airflow_provider_capillary.ledger.changes import (
    DOUBT_OF_ID,
    Change,
    LockedBatch,
    Transaction,
    changes_of,
    key_of,
    key_values,
)
from airflow_provider_capillary.ledger.database import moment_values
from airflow_provider_capillary.ledger.facts import Outcome, RowChange, RowEnd
from airflow_provider_capillary.ledger.given_ids import GivenIds, whole_row
from airflow_provider_capillary.ledger.issues import add_issues
from airflow_provider_capillary.ledger.packing import Key, storable_all
from airflow_provider_capillary.ledger.queries import QUERIES, insert_many

log = logging.getLogger(__name__)


class OddOutcomes:
    """Outcomes of one transaction, which has numbered every badge of the outcomes that are not settled."""

    def __init__(self, transaction: Transaction) -> None:
        self._in = transaction
        self.accepted_elsewhere: set[int] = set()  #: rows that a reply accepts, but that belong to another job now

    def write(self, outcome: Outcome, *, is_settled: bool) -> None:
        """Write an outcome.

        :param is_settled: all rows of its batch came to one state together, and the batch has it already.
        """
        late = 0 if is_settled else self._change_rows(outcome)
        if self._in.keeps_issues:
            self._forget_issues([change for change in outcome.rows if change.state is RowState.PLANNED])
            if outcome.issues:
                add_issues(self._in.connection, self._in.job.key, outcome.issues, keep_earlier=False)
        if is_settled and not outcome.given:
            return
        ids = GivenIds(self._in)
        ids.keep(outcome.batch, outcome.given)
        if is_settled:
            return
        if late:
            log.warning("An outcome came too late for %d rows: they were settled or sent again before", late)
            accepted = [change for change in changes_of(outcome) if change.state is RowState.ACCEPTED]
            ids.keep_late(outcome.batch, accepted)
        ids.look_for_second_grants(outcome)  # after the issues, because a second grant is appended to the row's issue

    def _change_rows(self, outcome: Outcome) -> int:
        """Change rows that still belong to the batch; give how many do not."""
        if outcome.verdict:
            reply = {"batch": outcome.batch, "status": outcome.status, "verdict": outcome.verdict}
            self._in.connection.execute(QUERIES["batch_settled"], reply | moment_values(self._in.now))
        if not outcome.rows and not outcome.accepted:
            return 0
        batch = LockedBatch(self._in.connection, self._in.rows, outcome.batch)
        if batch.is_untouched(len(outcome.rows) + len(outcome.accepted)):
            batch.settle_untouched(outcome, self._in.badge_keys)
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
        own = {
            change.key for change in done if self._in.keeps_issues and batch.owner_of(change.key) == self._in.job.key
        }
        were_unknown = {change.key for change in done if before[change.key] is RowState.UNKNOWN}
        self._account_elsewhere([one for one in wanted if one.key not in own], were_unknown)
        return len(wanted) - len(done)

    def _account_elsewhere(self, changes: Sequence[Change], were_unknown: Collection[Key]) -> None:
        """Account for accepted rows in the jobs that own them now. Needed if this process lived on after its lease.

        Another job may have taken rows over, or another copy of this job may have reported them as unknown and ended.
        """
        for change in (change for change in changes if change.state is RowState.ACCEPTED):
            row = whole_row(self._in.connection, change.key)
            if row is None:
                continue
            if row.job != self._in.job.key:
                self.accepted_elsewhere.add(change.row_number)
            if change.key in were_unknown:
                owner = msgspec.structs.replace(self._in.job, key=row.job)
                end = RowEnd(row.row_number, RowState.ACCEPTED, settling.LATE_REPLY, row.doubt)
                settling.report_ends(self._in.connection, owner, [end])

    def _change(self, change: RowChange, earned_badge_id: str | None) -> Change:
        badge = change.badge
        key = key_of(badge, self._in.badge_keys)
        return Change(key, badge.row_number, badge.expires_at, change.state, earned_badge_id)

    def _doubt(self, batch: LockedBatch, changes: Sequence[Change], doubt: str) -> None:
        """Record the doubt for rows that are unknown until now, and may be granted twice from now on."""
        here = batch.present([change.key for change in changes])
        unknown = [key for key in sorted(here) if batch.state_of(key) is RowState.UNKNOWN]
        if unknown:
            values = [key_values(key) | {"doubt": doubt} for key in unknown]
            insert_many(self._in.connection, "add_doubt", values)

    def _doubt_ids(self, batch: LockedBatch, absent: Sequence[Change]) -> None:
        """Record a doubt for rows that a read found absent, although a reply without proof gave an id for them."""
        unknown = [(change.key, batch.odd.get(change.key)) for change in absent]
        doubts = [
            key_values(key) | {"doubt": DOUBT_OF_ID.format(odd.earned_badge_id)}
            for key, odd in unknown
            if odd and odd.state is RowState.UNKNOWN and odd.earned_badge_id
        ]
        if doubts:
            insert_many(self._in.connection, "add_doubt", doubts)

    def _forget_issues(self, sent_again: Sequence[RowChange]) -> None:
        if sent_again:
            values = [{"job": self._in.job.key, "row_number": change.badge.row_number} for change in sent_again]
            self._in.connection.execute(QUERIES["forget_issue"], values)
