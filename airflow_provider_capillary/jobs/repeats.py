"""Remembers rows that repeat an earlier row of the dataset. Each ends as that one does, which is known at the end."""

from __future__ import annotations

import bisect
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Plan
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.jobs.account import Account, issue_of
from airflow_provider_capillary.ledger.facts import RowIssue

#: How equal rows ended -> how the row that repeats them is reported.
_ENDS = {
    RowState.ACCEPTED: (RowState.ALREADY_ACCEPTED, Plan.DUPLICATE.value),
    RowState.REVOKED: (RowState.ALREADY_ACCEPTED, Plan.DUPLICATE.value),  # it is not granted again
    RowState.REJECTED: (RowState.REJECTED, f"{Plan.DUPLICATE.value}, and was rejected"),
    RowState.UNKNOWN: (RowState.UNKNOWN, f"{Plan.DUPLICATE.value}, and what became of it is unknown"),
}
_NOT_SENT = (RowState.NOT_SENT, f"{Plan.DUPLICATE.value}, and was not sent")
_BAD_ENDS = (RowState.REJECTED, RowState.UNKNOWN, RowState.NOT_SENT)


class Repeats:
    """The numbers of such rows, eight bytes each. If all other rows ended well, the dataset is not read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = array("q")
        self._is_sorted = False

    def note(self, badge: EarnedBadge) -> None:
        """Remember a row that repeats an earlier one. Thread-safe."""
        with self._lock:
            self._numbers.append(badge.row_number)

    def end_well(self, account: Account, *, hope: bool = False) -> bool:
        """Count the rows if every row that they repeat was accepted.

        :param hope: a dry run: count them as if those were accepted.
        :return: whether all of them are counted.
        """
        if not hope and any(account.tally.rows[state] for state in _BAD_ENDS):
            return not self._numbers
        self._count(account, len(self._numbers), *_ENDS[RowState.ACCEPTED])
        return True

    def end_unsent(self, account: Account) -> None:
        """Count them as not sent, if there is no time to read the dataset again."""
        self._count(account, len(self._numbers), *_NOT_SENT)

    def end_as_equals(
        self,
        window: Window,
        badges: Iterable[EarnedBadge],
        states_of: Callable[[Sequence[EarnedBadge]], dict[int, RowState]],
        account: Account,
    ) -> list[RowIssue]:
        """Count the window's rows that repeat an accepted row; give the issues of its other ones.

        :param states_of: for each row number the state of the ledger's row of the same identity.
        """
        numbers = self._of(window)
        repeats = [badge for badge in badges if badge.row_number in numbers]
        states = states_of(repeats) if repeats else {}
        ends = [(badge, *_ENDS.get(states.get(badge.row_number, RowState.PLANNED), _NOT_SENT)) for badge in repeats]
        well = sum(state is RowState.ALREADY_ACCEPTED for _, state, _ in ends)
        self._count(account, well, *_ENDS[RowState.ACCEPTED])
        return [
            issue_of(badge, [window], state, "plan", reason)
            for badge, state, reason in ends
            if state is not RowState.ALREADY_ACCEPTED
        ]

    def _of(self, window: Window) -> set[int]:
        """The repeating rows of the window. Lanes note rows too, a little out of order, so they are sorted once."""
        if not self._is_sorted:
            self._numbers, self._is_sorted = array("q", sorted(self._numbers)), True
        first = bisect.bisect_left(self._numbers, window.first_row_number)
        last = bisect.bisect_left(self._numbers, window.first_row_number + len(window))
        return set(self._numbers[first:last])

    @staticmethod
    def _count(account: Account, rows: int, state: RowState, reason: str) -> None:
        if rows:
            account.count(state, rows)
            account.explain("plan", None, reason, rows)
