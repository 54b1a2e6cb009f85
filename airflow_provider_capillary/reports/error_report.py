"""Jobs and their ledger -> the files of an error report, in two passes over the issues and in flat memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger.base import JobRecord, Ledger
from airflow_provider_capillary.reports.columns import ReportColumns, plan_columns
from airflow_provider_capillary.reports.errors_csv import write_errors_csv
from airflow_provider_capillary.reports.facts import (
    REPORTED_STATES,
    JobFacts,
    ProblemTally,
    ReportFacts,
    job_facts,
    total_of,
)

ERRORS_CSV = "errors.csv"
SUMMARY_JSON = "summary.json"


class ErrorReport(msgspec.Struct, frozen=True):
    """What was written, and what it says. Files stand in the order in which they should be published."""

    facts: ReportFacts
    files: tuple[Path, ...]


def write_error_report(ledger: Ledger, job_ids: Sequence[str], folder: Path) -> ErrorReport:
    """Write ``errors.csv`` and ``summary.json`` into a local folder. The same jobs give the same bytes.

    :raises ConfigurationError: the ledger does not know one of the jobs.
    :raises UnaccountedRowsError: a job's counts do not add up to the rows it read.
    :raises JobIsRunningError: a job went on while its report was written.
    """
    facts, columns = survey(ledger, job_ids)
    errors, summary = folder / ERRORS_CSV, folder / SUMMARY_JSON
    write_errors_csv(errors, ledger, job_ids, columns)
    summary.write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")
    return ErrorReport(facts, (errors, summary))


def survey(ledger: Ledger, job_ids: Sequence[str]) -> tuple[ReportFacts, ReportColumns]:
    """Read all issues once: what to tell of them, and which columns they have."""
    everything = ProblemTally()
    layouts: dict[tuple[str, ...], None] = {}
    jobs: list[JobFacts] = []
    for job_id in job_ids:
        record = _job(ledger, job_id)
        own = ProblemTally()
        for issue in ledger.issues(job_id):
            if issue.state in REPORTED_STATES:
                own.add(issue)
                everything.add(issue)
                layouts[tuple(issue.original)] = None  # the same for all rows of a job: a dataset knows its columns
        jobs.append(job_facts(record, own.problems()))
    total = total_of(jobs, everything.problems())
    return ReportFacts(total=total, jobs=tuple(jobs), ledger=ledger.description), plan_columns(layouts)


def _job(ledger: Ledger, job_id: str) -> JobRecord:
    try:
        return ledger.job(job_id)
    except LookupError as error:
        raise ConfigurationError(
            f"the ledger {ledger.description} holds no job {job_id!r}. Give the job that the import returned, "
            "and the same ledger_conn_id as to the import"
        ) from error
