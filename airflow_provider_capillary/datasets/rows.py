"""Rows that are Python dicts already: a window of them, and a short list of them as a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import msgspec

from airflow_provider_capillary.core.plain_values import PLAIN, plain
from airflow_provider_capillary.datasets.base import DatasetFacts
from airflow_provider_capillary.datasets.inspection import DistinctTexts, Problems, missing_columns
from airflow_provider_capillary.datasets.json_ready import json_ready
from airflow_provider_capillary.datasets.text_files import lines_of
from airflow_provider_capillary.exceptions import DatasetError

MOST_ROWS = 10_000  #: more would travel through XCom and the metadata database


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


class RowsDataset:
    """Rows that are in memory already. At most ``MOST_ROWS``."""

    def __init__(self, rows: Sequence[Any], required_columns: tuple[tuple[str, ...], ...]) -> None:
        if len(rows) > MOST_ROWS:
            raise DatasetError(
                f"The dataset is a list of {len(rows)} rows; at most {MOST_ROWS} are taken that way. Write them to a "
                "Parquet, CSV or JSON Lines file on object storage (SqlToBadgeDatasetOperator does) and give its URI."
            )
        self._rows = list(rows)
        self._required = required_columns
        self._facts: DatasetFacts | None = None

    def inspect(self) -> DatasetFacts:
        """Check every row once; a row that is no dict with text keys is a ``DatasetError``."""
        if self._facts is None:
            self._facts = self._inspect()
        return self._facts

    def windows(self, rows: int) -> Iterator[RowWindow]:
        """Stream the rows in order, at most ``rows`` a window."""
        columns = self.inspect().columns
        for start in range(0, len(self._rows), rows):
            yield RowWindow(self._rows[start : start + rows], columns, "rows", start + 1, start + 1)

    def close(self) -> None:
        """Nothing to remove."""

    def _inspect(self) -> DatasetFacts:
        problems = Problems()
        digest = hashlib.blake2b(digest_size=32)
        columns: dict[str, None] = {}
        texts = DistinctTexts(self._required[0] if self._required else ())
        for number, row in enumerate(self._rows, start=1):
            if not isinstance(row, Mapping) or not all(isinstance(key, str) for key in row):
                problems.add(f"rows, row {number}: not a dict of column names to values. Give one dict per row.")
                continue
            columns.update(dict.fromkeys(row))
            digest.update(msgspec.json.encode({name: json_ready(value) for name, value in row.items()}) + b"\n")
        missing = missing_columns(self._required, tuple(columns)) if self._rows else None
        if missing:
            problems.add(f"rows: {missing}")
        problems.raise_if_any()
        if gathered := texts.column_among(tuple(columns)):
            texts.add(plain(row.get(gathered)) for row in self._rows)
        return DatasetFacts(len(self._rows), tuple(columns), digest.hexdigest(), ("rows",), distinct=texts.by_column())
