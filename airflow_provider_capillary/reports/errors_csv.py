"""Writes ``errors.csv``: the rows that were not accepted, which a person corrects and imports again as they are.

Rows that may be granted twice are written in the same way to a file of their own, because they must not be imported
again.

The form is RFC 4180: UTF-8, a header, commas, double quotes, CRLF. With a bare LF, Python's writer would leave a
carriage return within a value unquoted, and the file could not be read again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.reports.report_facts import is_problem
from airflow_provider_capillary.reports.wording import without_password


class _Column(NamedTuple):
    """One of the report's own columns."""

    cell: Callable[[RowIssue, str], Any]  #: the value for an issue and its job's id
    label: str = ""  #: before the value on the page in Airflow, which shows columns without one elsewhere or not at all


#: In their order. To add a column, add a line here. A fact that is not kept yet is also a new field of ``RowIssue``.
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

#: Longer text is cut, because readers of CSV (Python's is one) stop at 131,072 characters in a value.
LONGEST_TEXT = 100_000
_EXACT_FLOAT = 2**53
# Line ends and tabs stay in values: CSV can hold them, and they are common in good text.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that would break the line, or reverse its direction and so show another text.
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Most values, ISO timestamps included, match this and need no further look.
_PLAIN_TEXT = re.compile(r"[0-9A-Za-z][^;|\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*")
# A cell may also begin after a semicolon (spreadsheets of countries with decimal commas split there), a tab or a line
# end (pasted text). The match includes the run of blanks and quotes, because the search would else be quadratic.
_CELL_START = re.compile(r"(?:^|[;|\t\r\n])[\s\"]*")
_TRIGGERS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # Japanese spreadsheets run the full-width forms too
# A number, a phone number or an offset such as +05:30 is harmless: without letters and brackets it calls nothing.
_PLAIN_NUMBER = re.compile(r"[+-]\d[\d .,:]*(?:[eE][+-]?\d+)?(?=[;|\t\r\n]|\Z)", re.ASCII)

Chosen = Callable[[RowIssue], bool]


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


def report_values(issue: RowIssue, job_id: str) -> list[Any]:
    """The value for each of ``REPORT_COLUMNS``."""
    return [column.cell(issue, job_id) for column in _COLUMNS.values()]


def labelled_values(issue: RowIssue) -> list[tuple[str, Any]]:
    """The columns that the page shows with a label, if they have a value: ``[("line", 3)]``."""
    values = [(column.label, column.cell(issue, "")) for column in _COLUMNS.values() if column.label]
    return [(label, value) for label, value in values if value]


def original_cell(value: Any) -> str:
    r"""A JSON-ready value of the dataset as text that, imported again, means the same.

    Whole floats lose their ``.0``, because the import accepts it in a float but not in text. Text stays exact with
    three exceptions: control characters are escaped (``\x07``), an apostrophe is put before what a spreadsheet would
    run, and text is cut at ``LONGEST_TEXT``. None of the three changes a value that the import accepts for a field.
    """
    if isinstance(value, str):
        return _harmless(value, _UNWRITABLE)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return str(int(value))
    return _harmless(msgspec.json.encode(value).decode(), _UNWRITABLE)


@lru_cache(maxsize=128)  # one source, one job and a few messages stand in all rows
def report_cell(value: str | int | None) -> str:
    """A value of the report itself: text, which may be the API's, on one line and harmless."""
    if isinstance(value, str):
        return _harmless(value, _NOT_IN_A_LINE)
    return "" if value is None else str(value)


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = _PREFIX + name
    return name


def _harmless(text: str, unwanted: re.Pattern[str]) -> str:
    if _PLAIN_TEXT.fullmatch(text):
        return text[:LONGEST_TEXT]
    clean = unwanted.sub(_escaped, text[:LONGEST_TEXT])
    return _CELL_START.sub(_defused, clean)[:LONGEST_TEXT]


def _defused(start: re.Match[str]) -> str:
    found, text, end = start.group(), start.string, start.end()
    at_the_front = "'" if start.start() == 0 and found[:1] in ("\t", "\r", "\n") else ""
    runs = text[end : end + 1] in _TRIGGERS and not _PLAIN_NUMBER.match(text, end)
    return f"{at_the_front}{found}'" if runs else f"{at_the_front}{found}"


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")
