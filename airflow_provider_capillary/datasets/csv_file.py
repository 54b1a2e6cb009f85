"""One CSV file, plain or gzip: a header, commas, double quotes; every value stays the text that it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.datasets.problems import Problems, listed
from airflow_provider_capillary.datasets.text_files import not_utf8, open_bytes, reading
from airflow_provider_capillary.exceptions import DatasetError

if TYPE_CHECKING:
    from _csv import Reader


class CsvWindow:
    """Some consecutive rows of a CSV file, column by column, all ``str``."""

    def __init__(
        self,
        rows: Sequence[Sequence[str]],
        header: Sequence[str],
        columns: Sequence[str],
        source: str,
        first_row_number: int,
        first_line: int,
    ) -> None:
        self._length = len(rows)
        self._values = dict(zip(header, zip(*rows, strict=True), strict=True))
        self._columns = columns
        self.source = source
        self.first_row_number = first_row_number
        self._first_line = first_line

    def __len__(self) -> int:
        return self._length

    def column(self, name: str) -> Sequence[Any]:
        """All values of one column, as they stand in the file."""
        return self._values[name]

    def is_in_seconds(self, name: str) -> bool:
        """Whether its numbers are epoch seconds: no, they are as they were written."""
        return False

    def original(self, index: int) -> dict[str, Any]:
        """One row, every column of the dataset in order."""
        return {name: self._values[name][index] for name in self._columns}

    def line(self, index: int) -> int:
        """The row's place in its file, from 1; the header and blank lines are not counted."""
        return self._first_line + index


class CsvFile:
    """Streams one CSV file. Quoting is strict: a value that could be read in two ways is a ``DatasetError``."""

    fixed_columns = True  #: the header decides, and every part must have the same one

    def __init__(self, uri: str, path: Path) -> None:
        self._uri = uri
        self._path = path

    def scan(self, problems: Problems) -> tuple[int, tuple[str, ...]]:
        """Read everything once; return the number of rows and the header."""
        rows = self._rows(problems)
        header = tuple(next(rows))
        return sum(1 for _ in rows), header

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[CsvWindow]:
        """Stream the file in windows; ``rows_before`` rows of the dataset came from earlier files."""
        stream = self._rows(None)
        header = next(stream)
        gathered: list[list[str]] = []
        done = 0
        for row in stream:
            gathered.append(row)
            if len(gathered) == rows:
                yield CsvWindow(gathered, header, columns, self._uri, rows_before + done + 1, done + 1)
                done += rows
                gathered = []
        if gathered:
            yield CsvWindow(gathered, header, columns, self._uri, rows_before + done + 1, done + 1)

    def _rows(self, problems: Problems | None) -> Iterator[list[str]]:
        """The header, then every row; a ragged one goes to ``problems``, or is raised where none is given."""
        with reading(self._uri), io.TextIOWrapper(open_bytes(self._path), encoding="utf-8", newline="") as text:
            # The csv module's own limit on a value (128 KiB) is left in force: it keeps an unclosed quote from
            # swallowing the rest of the file into memory.
            reader = csv.reader(text, strict=True)
            try:
                header = self._header(reader)
                yield header
                width = len(header)
                for row in reader:
                    if len(row) == width:
                        yield row
                    elif row:
                        self._ragged(reader.line_num, width, len(row), problems)
            except csv.Error as error:
                raise DatasetError(
                    f"{self._uri}, line {reader.line_num}: broken quoting ({error}). "
                    'Close every quote, and write a quote within a quoted value as "".'
                ) from error
            except UnicodeDecodeError as error:
                raise not_utf8(self._uri, self._path) from error

    def _header(self, reader: Reader) -> list[str]:
        header = next((row for row in reader if row), None)
        if header is None:
            raise DatasetError(f"{self._uri}: the file is empty, without even a header line. Write the column names.")
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise DatasetError(f"{self._uri}, line 1: columns named twice: {listed(twice)}. Give each its own name.")
        return header

    def _ragged(self, line: int, width: int, found: int, problems: Problems | None) -> None:
        message = (
            f"{self._uri}, line {line}: {found} values where the header has {width} columns. "
            "Quote values that hold commas or line ends, and give every row all its values."
        )
        if problems is None:
            raise DatasetError(message)
        problems.add(message)
