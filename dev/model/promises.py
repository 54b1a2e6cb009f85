"""The promises: what must hold in every state, and what must hold once nothing more can happen."""

from __future__ import annotations

from airflow_provider_capillary.core.row_state import RowState

from .state import Account, State

_FREE = (RowState.PLANNED, RowState.REJECTED)


def broken(state: State) -> str | None:
    """The promise that the state breaks, in words; ``None`` where it keeps all."""
    for row, grants in enumerate(state.grants):
        if len(grants) > 1:
            return f"row {row + 1} is granted twice"
        held = state.ledger[row]
        if held is not None and held.state is RowState.ACCEPTED and not grants:
            return f"row {row + 1} is accepted in the ledger, and not granted"
    for number, job in enumerate(state.jobs):
        if job.report is not None and (fault := _wrong_account(state, number, job.report)):
            return f"{fault} by job {number + 1}"
    return None


def broken_at_end(state: State) -> str | None:
    """The same where nothing more can happen: what the ledger would let a later import send must not be granted."""
    for row, grants in enumerate(state.grants):
        held = state.ledger[row]
        if grants and (held is None or held.state in _FREE):
            return f"row {row + 1} is granted, and the ledger lets the next import send it again"
    for number, job in enumerate(state.jobs):
        if job.begun and job.report is None:
            return f"job {number + 1} ends without an account of its rows"
    return None


def _wrong_account(state: State, job: int, report: Account) -> str | None:
    """What is wrong with the report of a job. Unknown is never wrong: it promises nothing."""
    for row, end in enumerate(report):
        grants = state.grants[row]
        if end is None:
            return f"row {row + 1} is in no account"
        if end is RowState.ACCEPTED and not grants:
            return f"row {row + 1} is reported as accepted and is not granted"
        if end in (RowState.REJECTED, RowState.NOT_SENT) and job in grants:
            return f"row {row + 1} is reported as {end.value} and was granted"
    return None
