"""How rows come to their end without an answer to a request: closed at planning, or never sent."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Plan
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.importing.account import Account, issue_of
from airflow_provider_capillary.importing.doubtful import Doubtful
from airflow_provider_capillary.importing.repeats import Repeats
from airflow_provider_capillary.ledger.facts import Issues, RowIssue
from airflow_provider_capillary.ledger.writer import LedgerWriter

_ENDS = {
    Plan.ACCEPTED: RowState.ACCEPTED,
    Plan.ALREADY_ACCEPTED: RowState.ALREADY_ACCEPTED,
    Plan.REJECTED: RowState.REJECTED,
}


class Ending:
    """Counts rows that end without being sent, and keeps their story."""

    def __init__(self, ledger: LedgerWriter, account: Account, doubtful: Doubtful) -> None:
        self._ledger = ledger
        self._doubtful = doubtful
        self._account = account
        self.repeats = Repeats()

    def close(self, done: Sequence[tuple[EarnedBadge, Plan]], origins: Sequence[Window]) -> None:
        """Rows whose end is clear from what the ledger holds."""
        busy, in_doubt = [], []
        doubts = self._doubtful.among([badge for badge, _ in done])
        for badge, plan in done:
            if plan is Plan.ACCEPTED and badge.row_number in doubts:
                in_doubt.append(issue_of(badge, origins, RowState.ACCEPTED, "send", doubts[badge.row_number]))
                continue
            if plan is Plan.BUSY:
                busy.append(issue_of(badge, origins, RowState.NOT_SENT, "plan", plan.value))
                continue
            if plan is Plan.DUPLICATE:
                self.repeats.note(badge)
                continue
            self._account.count(_ENDS[plan])
            if plan is Plan.REJECTED:
                self._account.explain("plan", None, plan.value)
        self.keep(busy)
        self.keep(in_doubt, only_if_untold=True)
        self._doubtful.forget(doubts)

    def not_sent(self, batch: Batch, why: str) -> None:
        """Rows that were to be sent, but the job stopped before."""
        self.keep([issue_of(badge, batch.origins, RowState.NOT_SENT, "send", why) for badge in batch.badges])

    def keep(self, issues: Sequence[RowIssue], *, only_if_untold: bool = False) -> None:
        """Rows that end with a story: told to the ledger, then counted."""
        if issues:
            self._ledger.record(Issues(issues, only_if_untold))
            self._account.close_rows(issues)
