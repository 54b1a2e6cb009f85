"""The dataset's rows, checked: earned badges to plan, and the story of each row that cannot be sent."""

from __future__ import annotations

from collections.abc import Collection
from datetime import tzinfo

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.field_mapping import Columns, RowReader
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.importing.account import issue_of
from airflow_provider_capillary.importing.badge_check import NOT_FOUND, NOT_FOUND_CODE
from airflow_provider_capillary.ledger.facts import RowIssue


class RowCheck:
    """Checks the rows of one window after the other.

    :param missing: badges that the organisation does not have.
    """

    def __init__(self, columns: Columns, zone: tzinfo | None, missing: Collection[str]) -> None:
        self._names: tuple[str, ...] = msgspec.structs.astuple(columns)
        self._reader = RowReader(columns, zone)
        self._missing = missing

    def check(self, window: Window) -> tuple[list[EarnedBadge], list[RowIssue]]:
        """Give the rows that may be sent, and an issue for each of the others."""
        columns = [window.column(name) for name in self._names]
        rows = list(self._reader.read(window.first_row_number, *columns))
        missing = self._missing
        badges = [row for row in rows if isinstance(row, EarnedBadge) and row.badge_meta_id not in missing]
        if len(badges) == len(rows):
            return badges, []
        return badges, [issue for row in rows if (issue := self._issue(row, window)) is not None]

    def _issue(self, row: EarnedBadge | InvalidRow, window: Window) -> RowIssue | None:
        if isinstance(row, InvalidRow):
            message = f"{row.column} {row.value!r} {row.reason}"
            return issue_of(row, [window], RowState.INVALID, "validate", message)
        if row.badge_meta_id in self._missing:
            return issue_of(row, [window], RowState.REJECTED, "badge_check", NOT_FOUND, code=NOT_FOUND_CODE)
        return None
