"""How much may go wrong: the budget beyond which a finished job fails, and the reasons to stop a job sooner.

A budget is a count, or a share of the rows read. A job stops where its batches are all refused, or where its canary
proves nothing.
"""

from __future__ import annotations

from collections.abc import Set
from fractions import Fraction

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ConfigurationError

IN_A_ROW = 5
#: If bad rows lie side by side, many parts of a refused batch are refused one by one. That is no reason to stop, unless
#: nothing else ever happens.
PARTS_IN_A_ROW = 200
PARTS_WITHOUT_ANY_SUCCESS = 20


class Budget(msgspec.Struct, frozen=True):
    """``count`` rows, or ``share`` (0..1) of all rows read; exactly one of them is set."""

    text: str  #: as the user wrote it
    count: int | None = None
    share: Fraction | None = None

    def exceeded(self, rows: int, rows_read: int) -> bool:
        """Whether ``rows`` is more than the budget allows of ``rows_read``."""
        limit = self.count if self.count is not None else (self.share or 0) * rows_read
        return rows > limit


def parse_budget(name: str, value: int | str) -> Budget:
    """Read ``5`` or ``"5"`` (rows) or ``"5%"`` (share of rows read).

    :param name: the argument's name, for the error.
    :raises ConfigurationError: the value is neither.
    """
    text = str(value).strip()
    try:
        if isinstance(value, (bool, float)):
            raise ValueError
        if text.endswith("%"):
            share = Fraction(text[:-1].strip()) / 100  # exact: 29% of 100 rows are 29 rows
            if not 0 <= share <= 1:
                raise ValueError
            return Budget(text, share=share)
        count = int(text)
        if count < 0:
            raise ValueError
        return Budget(text, count=count)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(
            f"{name} is {value!r}; it may be a number of rows such as 100, or a share of the rows such as '5%'"
        ) from None


class EarlyStop:
    """Observes what became of each batch and names the reason to stop, if there is one. Not thread-safe."""

    def __init__(self) -> None:
        self._full_batches = 0
        self._accepted_any = False
        self._refused_in_a_row = 0
        self._refused_parts_in_a_row = 0
        self._unproven_in_a_row = 0

    def observe(
        self, states: Set[RowState], *, rows: int, canary: bool, proof_failed: bool, split: bool = False
    ) -> str | None:
        """Count one batch, in order of completion; give a reason to stop, or ``None``.

        :param states: the states that its rows are in now; ``planned`` is a row that will be tried again.
        :param rows: how many rows it has.
        :param canary: it is one of the first, small batches.
        :param proof_failed: a 2xx reply contradicts what was sent.
        :param split: it is part of a batch that was refused as a whole.
        """
        if proof_failed and canary:
            return "the reply to a canary batch does not prove what became of its rows"
        self._count(states, split=split)
        if not canary and not split:
            self._full_batches += 1
            if self._full_batches == 1 and self._refused_in_a_row and rows > 1:
                return "every row of the first full batch was refused"
        if self._refused_in_a_row >= IN_A_ROW:
            return f"{IN_A_ROW} batches in a row were refused"
        if self._refused_parts_in_a_row >= (PARTS_IN_A_ROW if self._accepted_any else PARTS_WITHOUT_ANY_SUCCESS):
            return f"{self._refused_parts_in_a_row} rows in a row were refused one by one"
        return None

    @property
    def server_is_sick(self) -> bool:
        """Whether the last batches all stayed without proof, so that sending more would only add to them."""
        return self._unproven_in_a_row >= IN_A_ROW

    def _count(self, kinds: Set[RowState], *, split: bool) -> None:
        self._unproven_in_a_row = self._unproven_in_a_row + 1 if kinds == {RowState.UNKNOWN} else 0
        if kinds == {RowState.REJECTED}:
            self._refused_in_a_row += not split
            self._refused_parts_in_a_row += split
        elif RowState.PLANNED not in kinds:
            self._refused_in_a_row = self._refused_parts_in_a_row = 0
        if RowState.ACCEPTED in kinds:
            self._accepted_any = True
            self._refused_in_a_row = self._refused_parts_in_a_row = 0
