"""A real ledger on a file, with a job that is recorded what became of its rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Issues, Job, JobPlan, JobScope, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.reports.error_report import write_error_report
from airflow_provider_capillary.reports.report_facts import ReportFacts

Recorded = Callable[..., Job]
MakeIssue = Callable[..., RowIssue]


class Written(msgspec.Struct, frozen=True):
    """A report, as it is read again."""

    facts: ReportFacts
    errors: list[dict[str, str]]
    summary: dict[str, Any]


Report = Callable[..., Written]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", clock=lambda: 1_736_942_400.0)) as ledger:
        yield ledger


@pytest.fixture
def recorded(ledger: Ledger) -> Recorded:
    """Opens a job, records issues, and ends it with a summary that adds up (unless ``summary`` says otherwise)."""

    def record(
        issues: Sequence[RowIssue],
        *,
        accepted: int = 0,
        map_index: int = -1,
        summary: dict[str, Any] | None = None,
        ended: bool = True,
    ) -> Job:
        counts = {
            state.value: sum(issue.state is state for issue in issues)
            for state in (RowState.REJECTED, RowState.INVALID, RowState.UNKNOWN, RowState.NOT_SENT)
        }
        rows = sum(counts.values()) + accepted
        job = ledger.open_job(
            JobScope("badges.daily", "import", "manual__2025-01-15T12:00:00+00:00", map_index),
            JobPlan("shop", "https://api", "f00d", rows, {}, ("file:///data/rows.csv",)),
        )
        if issues:
            ledger.record(job, [Issues(issues)])
        if ended:
            whole = {"rows_read": rows, "accepted": accepted, "already_accepted": 0, **counts}
            ledger.finish_job(job, "finished", summary or whole | {"requests": 2, "batches": 1})
        return job

    return record


@pytest.fixture
def issue() -> Callable[..., RowIssue]:
    """Makes an issue of a row; what is not said is ordinary."""

    def make(row_number: int, state: RowState, original: dict[str, Any] | None = None, **recorded: Any) -> RowIssue:
        ordinary: dict[str, Any] = {
            "stage": "send",
            "message": "refused",
            "source": "file:///data/rows.csv",
            "line": row_number,
        }
        row = {"customer_id": str(row_number)} if original is None else original
        return RowIssue(row_number=row_number, state=state, original=row, **(ordinary | recorded))

    return make


@pytest.fixture
def report(ledger: Ledger, tmp_path: Path) -> Report:
    """Writes the report of jobs into ``tmp_path``."""

    def write(*jobs: Job) -> Written:
        facts = write_error_report(ledger, [job.job_id for job in jobs], tmp_path).facts
        with (tmp_path / "errors.csv").open(encoding="utf-8", newline="") as text:
            errors = list(csv.DictReader(text, strict=True))
        return Written(facts, errors, msgspec.json.decode((tmp_path / "summary.json").read_bytes()))

    return write
