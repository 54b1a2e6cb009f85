"""Records outcomes whose rows were not all accepted together: row by row, late, or with ids that accept no row.

The usual outcome is one update of its batch, in ``recording.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import settling
from airflow_provider_capillary.ledger.changes import DOUBT_OF_ID, Change, LockedBatch, changes_of, key_of, key_values
from airflow_provider_capillary.ledger.database import moment_values
from airflow_provider_capillary.ledger.facts import Job, Outcome, RowChange, RowEnd
from airflow_provider_capillary.ledger.given_ids import GivenIds, whole_row
from airflow_provider_capillary.ledger.issues import add_issues
from airflow_provider_capillary.ledger.packing import Key, storable_all
from airflow_provider_capillary.ledger.queries import QUERIES, insert_many
from airflow_provider_capillary.ledger.rows import Rows

log = logging.getLogger(__name__)


class OddOutcomes:
    """Outcomes of one transaction; for the parameters see ``Recording``.

    :param badge_keys: name -> the ledger's number, of every badge of the outcomes that are not settled.
    """

    def __init__(
        self,
        connection: sa.Connection,
        rows: Rows,
        job: Job,
        badge_keys: Mapping[str, int],
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
        self.accepted_elsewhere: set[int] = set()  #: rows that a reply accepts, but that belong to another job now

    def write(self, outcome: Outcome, *, is_settled: bool) -> None:
        """Write an outcome.

        :param is_settled: all rows of its batch came to one state together, and the batch has it already.
        """
        late = 0 if is_settled else self._change_rows(outcome)
        if self._keeps_issues:
            self._forget_issues([change for change in outcome.rows if change.state is RowState.PLANNED])
            if outcome.issues:
                add_issues(self._connection, self._job.key, outcome.issues, keep_earlier=False)
        if is_settled and not outcome.given:
            return
        ids = GivenIds(self._connection, self._rows, self._job, self._badge_keys)
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
            self._connection.execute(QUERIES["batch_settled"], reply | moment_values(self._now))
        if not outcome.rows and not outcome.accepted:
            return 0
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
        """Account for accepted rows in the jobs that own them now. Needed if this process lived on after its lease.

        Another job may have taken rows over, or another copy of this job may have reported them as unknown and ended.
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
        key = key_of(badge, self._badge_keys)
        return Change(key, badge.row_number, badge.expires_at, change.state, earned_badge_id)

    def _doubt(self, batch: LockedBatch, changes: Sequence[Change], doubt: str) -> None:
        """Record the doubt for rows that are unknown until now, and may be granted twice from now on."""
        here = batch.present([change.key for change in changes])
        unknown = [key for key in sorted(here) if batch.state_of(key) is RowState.UNKNOWN]
        if unknown:
            values = [key_values(key) | {"doubt": doubt} for key in unknown]
            insert_many(self._connection, "add_doubt", values)

    def _doubt_ids(self, batch: LockedBatch, absent: Sequence[Change]) -> None:
        """Record a doubt for rows that a read found absent, although a reply without proof gave an id for them."""
        unknown = [(change.key, batch.odd.get(change.key)) for change in absent]
        doubts = [
            key_values(key) | {"doubt": DOUBT_OF_ID.format(odd.earned_badge_id)}
            for key, odd in unknown
            if odd and odd.state is RowState.UNKNOWN and odd.earned_badge_id
        ]
        if doubts:
            insert_many(self._connection, "add_doubt", doubts)

    def _forget_issues(self, sent_again: Sequence[RowChange]) -> None:
        if sent_again:
            values = [{"job": self._job.key, "row_number": change.badge.row_number} for change in sent_again]
            self._connection.execute(QUERIES["forget_issue"], values)
