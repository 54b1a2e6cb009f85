"""The columns of ``errors.csv``: those of the dataset, then the report's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

REPORT_COLUMNS = ("stage", "state", "code", "message", "request_id", "attempt", "source", "line", "row", "job_id")
_PREFIX = "import_"
#: A dataset that has all of these is an error report that somebody has mended.
_SIGNATURE = frozenset({"stage", "code", "message", "request_id", "attempt"})
_REPORT_NAME = re.compile(rf"(?:{_PREFIX})*({'|'.join(REPORT_COLUMNS)})")


class ReportColumns(msgspec.Struct, frozen=True):
    """Column names in the file's order: ``dataset``, then ``report`` (one for each of ``REPORT_COLUMNS``)."""

    dataset: tuple[str, ...]
    report: tuple[str, ...]


@lru_cache(maxsize=256)
def own_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are the dataset's own.

    All of them, unless the dataset is an error report: then without those that the report had added, so that they
    are replaced. A dataset that merely has a column ``state`` or ``source`` keeps it.
    """
    added = {match[1]: name for name in columns if (match := _REPORT_NAME.fullmatch(name))}
    if not _SIGNATURE.issubset(added):
        return columns
    # of `state` and `import_state` the last one is the report's, for its columns follow the dataset's
    return tuple(name for name in columns if name not in added.values())


def plan_columns(layouts: Iterable[Sequence[str]]) -> ReportColumns:
    """The union of the columns of all rows, in the order in which they were first seen, and the report's own.

    A name that the dataset needs for itself is prefixed for the report: ``import_state``.
    """
    dataset = tuple(dict.fromkeys(name for layout in layouts for name in own_columns(tuple(layout))))
    return ReportColumns(dataset, tuple(_free_name(name, dataset) for name in REPORT_COLUMNS))


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = _PREFIX + name
    return name
