"""The dataset's rows, checked: earned badges to plan, and the story of each row that cannot be sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.field_mapping import Columns, RowReader
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.timestamps import UNITS
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.importing.account import issue_of
from airflow_provider_capillary.importing.badge_check import NOT_FOUND, NOT_FOUND_CODE
from airflow_provider_capillary.importing.settings import TimestampUnit
from airflow_provider_capillary.ledger.facts import RowIssue


class RowCheck:
    """Checks the rows of one window after the other.

    :param missing: badges that the organisation does not have.
    :param unit: of instants that are numbers in the dataset.
    """

    def __init__(
        self, columns: Columns, zone: tzinfo | None, missing: Collection[str], unit: str = TimestampUnit.SECONDS
    ) -> None:
        self._names: tuple[str | None, ...] = msgspec.structs.astuple(columns)
        self._reader = RowReader(columns, zone, unit)
        self._scale = UNITS[unit]
        self._missing = missing

    def check(self, window: Window) -> tuple[list[EarnedBadge], list[RowIssue]]:
        """Give the rows that may be sent, and an issue for each of the others."""
        columns = [self._values(window, name) if name else () for name in self._names]
        rows = list(self._reader.read(window.first_row_number, *columns))
        missing = self._missing
        badges = [row for row in rows if isinstance(row, EarnedBadge) and row.badge_meta_id not in missing]
        if len(badges) == len(rows):
            return badges, []
        return badges, [issue for row in rows if (issue := self._issue(row, window)) is not None]

    def _values(self, window: Window, name: str) -> Sequence[Any]:
        values = window.column(name)
        if self._scale == 1 or not window.is_in_seconds(name):
            return values
        return [value * self._scale if isinstance(value, int) else value for value in values]

    def _issue(self, row: EarnedBadge | InvalidRow, window: Window) -> RowIssue | None:
        if isinstance(row, InvalidRow):
            return issue_of(row, [window], RowState.INVALID, "validate", row.message)
        if row.badge_meta_id in self._missing:
            return issue_of(row, [window], RowState.REJECTED, "badge_check", NOT_FOUND, code=NOT_FOUND_CODE)
        return None
