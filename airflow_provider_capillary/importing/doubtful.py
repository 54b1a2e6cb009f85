"""Rows that were set free to be sent again without proof: once they are accepted, they may be granted twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge


class Doubtful:
    """Remembers, of the rows that are in hand, the doubt that the ledger keeps for ever. Nearly always empty.

    No lock: a row is in one hand at a time, and each method does one thing to the dict for each row.
    """

    def __init__(self) -> None:
        self._doubts: dict[int, str] = {}

    def note(self, badge: EarnedBadge, doubt: str) -> None:
        """Note the row's doubt; the first one stays."""
        self._doubts.setdefault(badge.row_number, doubt)

    def among(self, badges: Sequence[EarnedBadge]) -> dict[int, str]:
        """The doubts of these rows, by row number."""
        if not self._doubts:
            return {}
        found = ((badge.row_number, self._doubts.get(badge.row_number)) for badge in badges)
        return {number: doubt for number, doubt in found if doubt is not None}

    def forget(self, row_numbers: Iterable[int]) -> None:
        """These rows are at their end."""
        for number in row_numbers:
            self._doubts.pop(number, None)
