"""The account of one job while it runs: every row is counted once, with its story where it was not accepted."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Tally
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.ledger.base import RowIssue


class Account:
    """Thread-safe counts, and the making of row issues from the windows that rows came in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tally = Tally()
        self.requests = 0
        self.batches = 0

    def count(self, state: RowState, rows: int = 1) -> None:
        """Count rows that reached their end."""
        with self._lock:
            self._tally.add(state, rows)

    def explain(self, stage: str, code: int | None, message: str, rows: int = 1) -> None:
        """Count a reason apart from the rows' ends."""
        with self._lock:
            self._tally.explain(stage, code, message, rows)

    def close_rows(self, issues: Sequence[RowIssue]) -> None:
        """Count rows that ended badly, with their reasons."""
        with self._lock:
            for issue in issues:
                self._tally.add(issue.state)
                self._tally.explain(issue.stage, issue.code, issue.message)

    def request_sent(self) -> None:
        """Count one import request."""
        with self._lock:
            self.requests += 1

    def batch_begun(self) -> None:
        """Count one batch."""
        with self._lock:
            self.batches += 1

    @property
    def tally(self) -> Tally:
        """The counts; read them when all threads are done."""
        return self._tally

    def rows_so_far(self) -> int:
        """Rows that reached their end."""
        with self._lock:
            return self._tally.total()


def issue_of(
    badge: EarnedBadge | InvalidRow,
    origins: Sequence[Window],
    state: RowState,
    stage: str,
    message: str,
    *,
    code: int | None = None,
    request_id: str | None = None,
    attempt: int = 0,
) -> RowIssue:
    """Tell of a row, with its place in the dataset and its original columns."""
    window = origins[bisect.bisect_right(origins, badge.row_number, key=_first_row) - 1]
    index = badge.row_number - window.first_row_number
    return RowIssue(
        row_number=badge.row_number,
        state=state,
        stage=stage,
        message=message,
        source=window.source,
        line=window.line(index),
        original=window.original(index),
        code=code,
        request_id=request_id,
        attempt=attempt,
        badge_meta_id=badge.badge_meta_id if isinstance(badge, EarnedBadge) else None,
    )


def _first_row(window: Window) -> int:
    return window.first_row_number
