"""Decides the columns of ``errors.csv``: those of the dataset, then the report's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.reports.shown_text import without_password

#: The report's own columns in their order -> the value for an issue and its job's id. To add a column, add a line here.
_CELLS: dict[str, Callable[[RowIssue, str], Any]] = {
    "stage": lambda issue, _: issue.stage,
    "state": lambda issue, _: issue.state.value,
    "code": lambda issue, _: issue.code,
    "message": lambda issue, _: issue.message,
    "request_id": lambda issue, _: issue.request_id,
    "attempt": lambda issue, _: issue.attempt,
    "source": lambda issue, _: without_password(issue.source),
    "line": lambda issue, _: issue.line,
    "row": lambda issue, _: issue.row_number,
    "job_id": lambda _, job_id: job_id,
}
REPORT_COLUMNS = tuple(_CELLS)
_PREFIX = "import_"
#: A dataset that has all of these is an error report that was corrected.
_SIGNATURE = frozenset({"stage", "code", "message", "request_id", "attempt"})
_REPORT_NAME = re.compile(rf"(?:{_PREFIX})*({'|'.join(REPORT_COLUMNS)})")


class ReportColumns(msgspec.Struct, frozen=True):
    """Column names in the file's order: ``dataset``, then ``report`` (one for each of ``REPORT_COLUMNS``)."""

    dataset: tuple[str, ...]
    report: tuple[str, ...]


@lru_cache(maxsize=256)
def own_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are the dataset's own.

    These are all columns, unless the dataset is an error report. Then the columns that the report had added are left
    out, so that they are replaced. A dataset that only has a column ``state`` or ``source`` keeps it.
    """
    added = {match[1]: name for name in columns if (match := _REPORT_NAME.fullmatch(name))}
    if not _SIGNATURE.issubset(added):
        return columns
    # If there are `state` and `import_state`, the last one is the report's, because its columns follow the dataset's.
    return tuple(name for name in columns if name not in added.values())


def plan_columns(layouts: Iterable[Sequence[str]]) -> ReportColumns:
    """The union of the columns of all rows, in the order in which they were first seen, and the report's own.

    If the dataset has a column of the same name, the report's is prefixed: ``import_state``.
    """
    dataset = tuple(dict.fromkeys(name for layout in layouts for name in own_columns(tuple(layout))))
    return ReportColumns(dataset, tuple(_free_name(name, dataset) for name in REPORT_COLUMNS))


def report_values(issue: RowIssue, job_id: str) -> list[Any]:
    """The value for each of ``REPORT_COLUMNS``."""
    return [cell(issue, job_id) for cell in _CELLS.values()]


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = _PREFIX + name
    return name
