"""When to stop sending because going on could only do harm."""

from __future__ import annotations

from collections.abc import Set

from airflow_provider_capillary.core.row_state import RowState

IN_A_ROW = 5
#: Parts of a batch that was refused as a whole are refused one by one where bad rows stand side by side:
#: that is no reason to stop, unless it is all that ever happens.
PARTS_IN_A_ROW = 200
PARTS_WITHOUT_ANY_SUCCESS = 20


class EarlyStop:
    """Watches what became of each batch and names the reason to stop, if there is one. Not thread-safe."""

    def __init__(self) -> None:
        self._full_batches = 0
        self._accepted_any = False
        self._refused_in_a_row = 0
        self._refused_parts_in_a_row = 0
        self._unproven_in_a_row = 0

    def observe(
        self, states: Set[RowState], *, rows: int, canary: bool, proof_failed: bool, split: bool = False
    ) -> str | None:
        """Take in the states in which one batch's rows are, in order of completion; give a reason to stop or ``None``.

        ``planned`` stands for a row that will be tried again.
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
        """Whether so many batches in a row stayed without proof that sending more would only add to them."""
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
