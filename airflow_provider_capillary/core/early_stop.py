"""When to stop sending because going on could only do harm."""

from __future__ import annotations

from airflow_provider_capillary.core.row_state import RowState

IN_A_ROW = 5


class EarlyStop:
    """Watches what became of each batch and names the reason to stop, if there is one."""

    def __init__(self) -> None:
        self._full_batches = 0
        self._refused_in_a_row = 0
        self._unproven_in_a_row = 0

    def observe(self, states: list[RowState], *, canary: bool, proof_failed: bool) -> str | None:
        """Take in one batch's outcomes, in order of completion; give a reason to stop or ``None``."""
        if proof_failed and canary:
            return "the reply to a canary batch does not prove what became of its rows"
        refused = all(state is RowState.REJECTED for state in states)
        unproven = all(state is RowState.UNKNOWN for state in states)
        self._refused_in_a_row = self._refused_in_a_row + 1 if refused else 0
        self._unproven_in_a_row = self._unproven_in_a_row + 1 if unproven else 0
        if not canary:
            self._full_batches += 1
            if self._full_batches == 1 and refused and len(states) > 1:
                return "every row of the first full batch was refused"
        if self._refused_in_a_row >= IN_A_ROW:
            return f"{IN_A_ROW} batches in a row were refused"
        return None

    @property
    def server_is_sick(self) -> bool:
        """Whether so many batches in a row stayed without proof that sending more would only add to them."""
        return self._unproven_in_a_row >= IN_A_ROW
