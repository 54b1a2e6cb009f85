"""The account of a job at its end, and whether it is a success. Nothing is called one without proof."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, Summary, UnaccountedRowsError
from airflow_provider_capillary.exceptions import BudgetExceededError, CapillaryError, JobIsRunningError
from airflow_provider_capillary.importing.account import Account
from airflow_provider_capillary.importing.settings import ImportSettings


def summarised(
    account: Account, *, job_id: str, ledger: str, started: float, finished: float, dry_run: bool
) -> Summary:
    """The summary of all rows counted; refuses an account that does not add up. Times in epoch seconds."""
    tally = account.tally
    return Summary(
        job_id=job_id,
        rows_read=tally.total(),
        **{state.value: tally.rows[state] for state in FINAL_STATES},
        requests=account.requests,
        batches=account.batches,
        started_at=_iso(started),
        finished_at=_iso(finished),
        reasons=tally.reasons(),
        ledger=ledger,
        dry_run=dry_run,
    )


def count_unread(account: Account, left: int, in_ledger: Mapping[RowState, int]) -> None:
    """Count the rows that were not read because the job had to leave: as the ledger knows them, else as not sent."""
    for state in (RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN):
        known = min(left, max(0, in_ledger.get(state, 0) - account.tally.rows[state]))
        account.count(state, known)
        left -= known
    account.count(RowState.NOT_SENT, left)


def compare(summary: Summary, dataset_rows: int, in_ledger: Mapping[RowState, int]) -> None:
    """Refuse a summary that the dataset or the ledger contradicts."""
    if summary.rows_read != dataset_rows:
        raise UnaccountedRowsError(f"the dataset has {dataset_rows} rows, {summary.rows_read} are accounted for")
    for state in (RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN, RowState.INTENT):
        held, counted = in_ledger.get(state, 0), getattr(summary, state.value, 0)
        # rows of a badge that the organisation lacks are rejected without an identity in the ledger
        if held > counted or (held < counted and state is RowState.ACCEPTED):
            raise UnaccountedRowsError(f"the ledger holds {held} rows as {state.value}, {counted} were counted")


def shortfall(summary: Summary, settings: ImportSettings) -> CapillaryError | None:
    """Why the job is no success, or ``None``."""
    refused = summary.rejected + summary.invalid
    for name, rows, budget in (
        ("refused (rejected or invalid)", refused, settings.max_rejected),
        ("unknown", summary.unknown, settings.max_unknown),
    ):
        if budget.exceeded(rows, summary.rows_read):
            return BudgetExceededError(f"{rows} of {summary.rows_read} rows are {name}; allowed: {budget.text}")
    if summary.not_sent and not settings.dry_run:
        return JobIsRunningError(
            f"{summary.not_sent} rows were not sent: another job has them in hand, or has left them unknown; "
            "a retry sends them once that job has ended and its unknown rows are settled"
        )
    return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
