"""Writes ``errors.csv``: the rows that were not accepted, which a person corrects and imports again as they are.

Rows that may be granted twice are written in the same way to a file of their own, because they must not be imported
again.

The form is RFC 4180: UTF-8, a header, commas, double quotes, CRLF. With a bare LF, Python's writer would leave a
carriage return within a value unquoted, and the file could not be read again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.reports.cells import original_cell, report_cell
from airflow_provider_capillary.reports.columns import ReportColumns, own_columns, report_values
from airflow_provider_capillary.reports.report_facts import is_problem

Chosen = Callable[[RowIssue], bool]


def write_errors_csv(
    path: Path, issues: Iterable[tuple[str, RowIssue]], columns: ReportColumns, chosen: Chosen = is_problem
) -> None:
    """Stream issues to a local file, in their order.

    :param issues: each with the id of its job.
    :param columns: those that ``survey`` found for these issues.
    :param chosen: whether an issue is written; default: those of rows that were not accepted.
    """
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([*map(original_cell, columns.dataset), *columns.report])
        writer.writerows(_rows(issues, columns, chosen))


def _rows(issues: Iterable[tuple[str, RowIssue]], columns: ReportColumns, chosen: Chosen) -> Iterator[list[str]]:
    for job_id, issue in issues:
        if chosen(issue):
            yield _row(issue, job_id, columns, frozenset(own_columns(tuple(issue.original))))


def _row(issue: RowIssue, job_id: str, columns: ReportColumns, own: frozenset[str]) -> list[str]:
    row = [original_cell(issue.original[name]) if name in own else "" for name in columns.dataset]
    return row + [report_cell(value) for value in report_values(issue, job_id)]
