"""The account of one job while it runs: every row is counted once, with its story where it was not accepted."""

from __future__ import annotations

import bisect
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Tally
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.ledger.facts import RowIssue

log = logging.getLogger(__name__)


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
    """Describe a row, with its place in the dataset and its original columns.

    Never raises for what the dataset holds: the outcome of a whole batch is recorded together with its issues, and is
    not lost for a value that cannot be shown.
    """
    place = _place(badge, origins)
    return RowIssue(
        row_number=badge.row_number,
        state=state,
        stage=stage,
        message=message,
        source=place.source,
        line=place.line,
        original=place.original,
        code=code,
        request_id=request_id,
        attempt=attempt,
        badge_meta_id=badge.badge_meta_id if isinstance(badge, EarnedBadge) else None,
    )


class _Place(NamedTuple):
    source: str
    line: int
    original: Mapping[str, Any]


def _place(badge: EarnedBadge | InvalidRow, origins: Sequence[Window]) -> _Place:
    try:
        window = origins[bisect.bisect_right(origins, badge.row_number, key=_first_row) - 1]
        index = badge.row_number - window.first_row_number
        return _Place(window.source, window.line(index), _storable(window.original(index)))
    except Exception as error:  # noqa: BLE001 - whatever a dataset's value does, the row's outcome is more important
        log.warning("Row %d is reported without its own columns: %s", badge.row_number, type(error).__name__)
        return _Place("", 0, _as_sent(badge))


def _storable(original: Mapping[str, Any]) -> Mapping[str, Any]:
    """The columns as they are where JSON can hold them; a value that it cannot hold becomes text."""
    if _fits_json(original):
        return original
    return {_text(name): value if _fits_json(value) else _text(value) for name, value in original.items()}


def _fits_json(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 - an odd value may raise anything
        return False
    return True


def _text(value: Any) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - an odd value may raise anything
        return f"<{type(value).__name__}>"


def _as_sent(badge: EarnedBadge | InvalidRow) -> dict[str, Any]:
    if not isinstance(badge, EarnedBadge):
        return {}
    return {
        "badgeMetaId": badge.badge_meta_id,
        "customerId": badge.customer_id,
        "earnEventDate": badge.earned_at,
        "earnExpiresOn": badge.expires_at,
    }


def _first_row(window: Window) -> int:
    return window.first_row_number
