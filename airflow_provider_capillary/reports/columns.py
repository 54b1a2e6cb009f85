"""Decides the columns of ``errors.csv``: those of the dataset, then the report's own, from one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.reports.wording import without_password


class _Column(NamedTuple):
    """A column of the report's own."""

    cell: Callable[[RowIssue, str], Any]  #: of an issue, and of the id of its job
    label: str = ""  #: before the value, on the page in Airflow, which shows the others in its own way or not at all


#: In their order. A new one is a line here; a fact that is not kept yet is a field of ``RowIssue`` besides.
_COLUMNS: dict[str, _Column] = {
    "stage": _Column(lambda issue, _: issue.stage),
    "state": _Column(lambda issue, _: issue.state.value),
    "code": _Column(lambda issue, _: issue.code),
    "message": _Column(lambda issue, _: issue.message),
    "request_id": _Column(lambda issue, _: issue.request_id, "request"),
    "attempt": _Column(lambda issue, _: issue.attempt),
    "source": _Column(lambda issue, _: without_password(issue.source)),
    "line": _Column(lambda issue, _: issue.line, "line"),
    "row": _Column(lambda issue, _: issue.row_number),
    "job_id": _Column(lambda _, job_id: job_id),
}
REPORT_COLUMNS = tuple(_COLUMNS)
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
    return [column.cell(issue, job_id) for column in _COLUMNS.values()]


def labelled_values(issue: RowIssue) -> list[tuple[str, Any]]:
    """The columns that the page shows with a label, where there is a value: ``[("line", 3)]``."""
    values = [(column.label, column.cell(issue, "")) for column in _COLUMNS.values() if column.label]
    return [(label, value) for label, value in values if value]


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = _PREFIX + name
    return name
