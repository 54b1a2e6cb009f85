"""Writes the last lines of an import's log, and the message with which its task fails."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_capillary.core import reasons
from airflow_provider_capillary.core.reason_table import STATES
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, Reason, Summary
from airflow_provider_capillary.jobs.import_job import ImportResult

MOST_REASONS = 5


def end_block(result: ImportResult) -> Iterator[str]:
    """The last lines of the log of an import that has counted all of its rows."""
    summary = result.summary
    yield f"Job {summary.job_id}"
    yield f"Dry run, nothing was sent. {counts_line(summary)}" if summary.dry_run else counts_line(summary)
    if not summary.rows_read:
        yield "The dataset has no rows. If that is not right, look at the task that made it; on_empty='fail' or 'skip'"
        yield "  lets this task say so by its state."
    for reason in summary.reasons[:MOST_REASONS]:
        yield f"  {reason_line(reason)} [{reasons.names(reason.stage, reason.code, reason.message)}]"
    refused = summary.rejected + summary.invalid
    left = refused + summary.unknown + (0 if summary.dry_run else summary.not_sent)
    if not left:
        return
    if result.error is None:
        rows = "1 row is" if left == 1 else f"{left:,} rows are"
        yield f"The task succeeds within its budgets, but {rows} to be looked at."
    if refused:
        yield f"What to do: {STATES[RowState.REJECTED].in_log}"
    if summary.unknown:
        yield f"What to do: {STATES[RowState.UNKNOWN].in_log.format(job=summary.job_id)}"
    if summary.not_sent and not summary.dry_run:
        yield f"What to do: {STATES[RowState.NOT_SENT].in_log}"
    yield "Where to look: the tab Badge import of this task (also Browse > Badge imports): rows, errors.csv, report;"
    yield f"  by command: airflow capillary errors {summary.job_id} --output errors.csv"
    if summary.reasons:
        names = reasons.names(summary.reasons[0].stage, summary.reasons[0].code, summary.reasons[0].message)
        yield f"What a name in brackets means, and what to do: airflow capillary explain {names.replace(',', '')}"


def failure_text(result: ImportResult) -> str:
    """Why the task fails, in one line: counts, the first reasons, where to look."""
    summary = result.summary
    top = "; ".join(map(reason_line, summary.reasons[:3]))
    return (
        f"{result.error}. {counts_line(summary)}. Top reasons: {top or 'none'}. "
        "Every row that was not accepted, with its reason: report and errors.csv in the tab Badge import of this task, "
        f"job {summary.job_id}"
    )


def counts_line(summary: Summary) -> str:
    """How many rows ended in which state."""
    counts = ", ".join(f"{getattr(summary, state.value):,} {state.value.replace('_', ' ')}" for state in FINAL_STATES)
    return f"{summary.rows_read:,} rows read: {counts}; {summary.requests:,} requests"


def reason_line(reason: Reason) -> str:
    """One reason with its count."""
    code = f" {reason.code}" if reason.code is not None else ""
    return f"{reason.rows:,} x {reason.stage}{code}: {reason.message}"
