"""A window over rows that are Python dicts already: JSON Lines and lists of dicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import repeat
from typing import Any

from airflow_provider_capillary.core.plain_values import PLAIN, plain
from airflow_provider_capillary.datasets.json_ready import json_ready
from airflow_provider_capillary.datasets.text_lines import lines_of


class RowWindow:
    """Rows as dicts; a key that a row does not have is a ``None``, as the columns are the union over all rows."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[str],
        source: str,
        first_row_number: int,
        first_line: int,
        without_row: Collection[int] = (),
    ) -> None:
        self._rows = rows
        self._columns = columns
        self.source = source
        self.first_row_number = first_row_number
        self._first_line = first_line
        self._without_row = without_row

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> list[Any]:
        """All values of one column, each in one of Python's own classes where it has a form there."""
        values = [row.get(name) for row in self._rows]
        return values if PLAIN.issuperset(map(type, values)) else list(map(plain, values))

    def arrow(self, name: str) -> None:
        """No column is kept as an Arrow array."""

    def is_in_seconds(self, name: str) -> bool:
        """Whether its numbers are epoch seconds: no, they are as they were written."""
        return False

    def original(self, index: int) -> dict[str, Any]:
        """One row, JSON-ready, every column of the dataset in order."""
        row = self._rows[index]
        return {name: json_ready(row.get(name)) for name in self._columns}

    def line(self, index: int) -> int:
        """The row's line, as an editor counts; of a list of dicts, the row's place in it from 1."""
        if not self._without_row:
            return self._first_line + index
        return lines_of(repeat((), index + 1), self._first_line, self._without_row)[-1]
