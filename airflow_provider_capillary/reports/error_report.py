"""Writes the files of an error report for jobs of a ledger. Issues are read once; memory does not grow with them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import JobRecord, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.reports.errors_csv import ReportColumns, plan_columns, write_errors_csv
from airflow_provider_capillary.reports.html_report import write_html_report
from airflow_provider_capillary.reports.report_facts import (
    MOST_KEPT_APART,
    MOST_KEPT_APART_OF_MANY,
    IssueTally,
    JobFacts,
    ReportFacts,
    is_problem,
    job_facts,
    may_be_twice,
    total_of,
)

ERRORS_CSV = "errors.csv"
SUMMARY_JSON = "summary.json"
REPORT_HTML = "report.html"
MAY_BE_TWICE_CSV = "may_be_granted_twice.csv"
IN_DOUBT = "the import died before it recorded what became of this row; it may be granted"
_DECODER = msgspec.json.Decoder(tuple[str, RowIssue])


class ErrorReport(msgspec.Struct, frozen=True):
    """What was written, and what it says. ``files`` are in the order in which to publish them."""

    facts: ReportFacts
    files: tuple[Path, ...]


class Survey(msgspec.Struct, frozen=True):
    """What to report, and the columns of the rows that are listed one by one."""

    facts: ReportFacts
    errors: ReportColumns
    may_be_twice: ReportColumns


def write_error_report(ledger: Ledger, job_ids: Sequence[str], folder: Path) -> ErrorReport:
    """Write ``errors.csv``, ``summary.json`` and ``report.html`` into a local folder.

    If rows may be granted twice, it writes ``may_be_granted_twice.csv`` too. The same jobs give the same bytes.

    :raises ConfigurationError: the ledger does not know one of the jobs.
    :raises UnaccountedRowsError: a job's counts do not add up to the rows it read.
    """
    errors, summary, page, twice = (folder / name for name in (ERRORS_CSV, SUMMARY_JSON, REPORT_HTML, MAY_BE_TWICE_CSV))
    files = [errors, summary, page]
    with KeptIssues(folder) as issues:
        found = survey(ledger, job_ids, issues.add)
        write_errors_csv(errors, issues, found.errors)
        if found.facts.total.notes.may_be_granted_twice:
            write_errors_csv(twice, issues, found.may_be_twice, may_be_twice)
            files.insert(0, twice)  # before the page that links to it
    summary.write_bytes(msgspec.json.format(msgspec.json.encode(found.facts), indent=2) + b"\n")
    write_html_report(page, found.facts)
    return ErrorReport(found.facts, tuple(files))


def survey(
    ledger: Ledger, job_ids: Sequence[str], keep: Callable[[str, RowIssue], object] = lambda job_id, issue: None
) -> Survey:
    """Read all issues once: what to report of them, and which columns they have.

    :param keep: gets each issue that is reported row by row, with the id of its job.
    """
    everything = IssueTally()
    # All rows of a dataset have the same columns, so these hold as few entries as there are datasets.
    errors: dict[tuple[str, ...], None] = {}
    twice: dict[tuple[str, ...], None] = {}
    jobs: list[JobFacts] = []
    most_badges = MOST_KEPT_APART if len(job_ids) == 1 else MOST_KEPT_APART_OF_MANY
    for job_id in job_ids:
        record = ledger.job(job_id)
        own = IssueTally(most_badges)
        for issue in _issues(ledger, record):
            own.add(issue)
            everything.add(issue)
            if is_problem(issue):
                errors[tuple(issue.original)] = None
                keep(job_id, issue)
            elif may_be_twice(issue):
                twice[tuple(issue.original)] = None
                keep(job_id, issue)
        standing = None if record.has_account or record.state == "open" else ledger.standing(job_id)
        jobs.append(job_facts(record, own, standing))
    total = total_of(jobs, everything)
    badges = [one.badge_meta_id for one in total.problems.by_badge if one.badge_meta_id is not None]
    facts = ReportFacts(total, tuple(jobs), ledger.description, ledger.badge_names(badges))
    return Survey(facts, plan_columns(errors), plan_columns(twice))


def _issues(ledger: Ledger, job: JobRecord) -> Iterator[RowIssue]:
    """The issues of a job, and one for each row that a process left in doubt when it died."""
    yield from ledger.issues(job.job_id)
    if job.has_account or job.state == "open":
        return
    for page in ledger.settlements.unproven(job.job_id):
        for row in page:
            if row.message is None:  # else the job wrote an issue before it died
                badge = row.badge
                yield RowIssue(
                    badge.row_number,
                    RowState.UNKNOWN,
                    "send",
                    IN_DOUBT,
                    source="",
                    line=0,
                    original=badge.as_columns(),
                    request_id=row.request_id,
                    attempt=1,
                    badge_meta_id=badge.badge_meta_id,
                )


class KeptIssues:
    """Issues in a file, one line of JSON each: written once, then read as often as needed.

    A second query of the ledger could give other rows, because another process settles some, or a job goes on.

    :param folder: a folder on a disk with room. The file has no name there and is gone at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> KeptIssues:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, job_id: str, issue: RowIssue) -> None:
        """Keep one issue of a job."""
        self._file.write(msgspec.json.encode((job_id, issue)) + b"\n")

    def __iter__(self) -> Iterator[tuple[str, RowIssue]]:
        """All issues with the id of their job, in the order in which they were kept."""
        self._file.seek(0)
        return map(_DECODER.decode, self._file)
