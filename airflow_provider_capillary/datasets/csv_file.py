"""One CSV file, plain or compressed: a header, one delimiter, double quotes; every value stays the text that it is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_capillary.core.column_choice import fitting_columns
from airflow_provider_capillary.datasets.formats import DELIMITERS, ReadOptions
from airflow_provider_capillary.datasets.inspection import MOST_TEXTS, DistinctTexts, Problems, refuse_twice
from airflow_provider_capillary.datasets.text_files import LinesPassed, TextBytes, lines_of, not_utf8, open_bytes
from airflow_provider_capillary.exceptions import DatasetError

if TYPE_CHECKING:
    from _csv import Reader

#: Characters in a value. The csv module's own limit is 128 KiB; without any, an unclosed quote would swallow the rest
#: of a file into memory. The limit is one for the whole process, so it is only ever raised.
LONGEST_VALUE = 8 << 20
csv.field_size_limit(max(LONGEST_VALUE, csv.field_size_limit()))
_ANNOUNCED = re.compile(r'"?sep=(?P<mark>[^"\r\n])"?[\r\n]', re.IGNORECASE)
_HEAD_BYTES = 1 << 16
_DEFAULTS = ReadOptions()


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
        without_row: Collection[int] | None = (),
    ) -> None:
        self._length = len(rows)
        self._rows = rows
        self._without_row = without_row
        self._values = dict(zip(header, zip(*rows, strict=True), strict=True))
        self._columns = columns
        self.source = source
        self.first_row_number = first_row_number
        self._first_line = first_line

    def __len__(self) -> int:
        return self._length

    def column(self, name: str) -> Sequence[Any]:
        """All values of one column, as they stand in the file."""
        if name not in self._values and name in self._columns:
            return [None] * len(self)  # only other files of the dataset have it
        return self._values[name]

    def arrow(self, name: str) -> None:
        """No column is kept as an Arrow array."""

    def is_in_seconds(self, name: str) -> bool:
        """Whether its numbers are epoch seconds: no, they are as they were written."""
        return False

    def original(self, index: int) -> dict[str, Any]:
        """One row, every column of the dataset in order."""
        return {name: self._values[name][index] if name in self._values else None for name in self._columns}

    def line(self, index: int) -> int:
        """The line on which the row begins, as an editor counts, with the header and all others."""
        if self._without_row is None:
            return self._first_line + index
        return lines_of(self._rows, self._first_line, self._without_row)[index]


class CsvFile:
    """Streams one CSV file. Quoting is strict: a value that could be read in two ways is a ``DatasetError``.

    :param required: for each column that must be there, the names under which it is accepted. They decide which
        delimiter it is, and whether a last line without an end may have lost part of a value that matters.
    """

    fixed_columns = True  #: the header decides

    def __init__(
        self, uri: str, path: Path, options: ReadOptions = _DEFAULTS, required: Sequence[Sequence[str]] = ()
    ) -> None:
        self._uri = uri
        self._path = path
        self._options = options
        self._required = required
        self.delimiter = options.delimiter  #: known after the scan

    def scan(self, problems: Problems, texts: DistinctTexts) -> tuple[int, tuple[str, ...]]:
        """Read everything once; return the number of rows and the header, which a file without content lacks."""
        rows = self._rows(problems)
        header = tuple(next(rows, ()))
        gathered = texts.column_among(header)
        place = header.index(gathered) if gathered else None
        count = 0
        found: set[str] = set()
        for row in rows:
            count += 1
            if place is not None:
                found.add(row[place])
                if len(found) > MOST_TEXTS:
                    place = None
        texts.add(found)
        return count, header

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[CsvWindow]:
        """Stream the file in windows; ``rows_before`` rows of the dataset came from earlier files."""
        passed = LinesPassed()
        stream = self._rows(None, passed)
        header = next(stream, [])
        gathered: list[list[str]] = []
        done = 0
        for row in stream:
            gathered.append(row)
            if len(gathered) == rows:
                yield self._window(gathered, header, columns, rows_before + done + 1, passed)
                done += rows
                gathered = []
        if gathered:
            yield self._window(gathered, header, columns, rows_before + done + 1, passed)

    def _window(
        self, rows: list[list[str]], header: list[str], columns: tuple[str, ...], first_row: int, passed: LinesPassed
    ) -> CsvWindow:
        last = passed.last
        first, without_row = passed.next_window(last)
        plain = last - first + 1 == len(rows)  # each row on a line of its own
        return CsvWindow(rows, header, columns, self._uri, first_row, first, None if plain else without_row)

    def _rows(self, problems: Problems | None, passed: LinesPassed | None = None) -> Iterator[list[str]]:
        """The header, then every row; a ragged one goes to ``problems``, or is raised where none is given.

        :param passed: gets the lines without a row.
        """
        with open_bytes(self._path) as stream:
            start = _start_of(stream)
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            reader: Reader | None = None
            try:
                skipped = self._dialect(start)
                if skipped:
                    text.readline()
                reader = csv.reader(text, strict=True, delimiter=self.delimiter or ",")
                header, width = self._header(reader)
                if passed is not None:
                    passed.reader, passed.before = reader, skipped
                    passed.first = passed.last + 1
                if header:
                    yield header
                    found = yield from self._values(reader, header, width, skipped, problems, passed)
                    if problems is not None and found <= len(header):
                        self._must_have_an_end(stream, header, problems)
            except csv.Error as error:
                line = reader.line_num if reader else 1
                raise DatasetError(
                    f"{self._uri}, line {line}: broken quoting ({error}). "
                    'Close every quote, and write a quote within a quoted value as "".'
                ) from error
            except UnicodeDecodeError as error:
                raise not_utf8(self._uri, self._path) from error

    def _values(
        self,
        reader: Reader,
        header: list[str],
        width: int,
        skipped: int,
        problems: Problems | None,
        passed: LinesPassed | None,
    ) -> Generator[list[str], None, int]:
        """Every row, cut to the named columns; return how many values the last one had."""
        named, row = len(header), [""] * width
        for row in reader:
            if len(row) == named and (row[0] or any(row)):
                yield row
            elif len(row) > named and any(row) and not any(row[named:]):
                yield row[:named]
            elif any(row):
                self._ragged(reader.line_num + skipped, named, len(row), problems)
            elif passed is not None:  # a blank line, or nothing but delimiters, as spreadsheets leave behind
                passed.without_row.append(reader.line_num + skipped)
        return len(row)

    def _must_have_an_end(self, stream: BinaryIO, header: list[str], problems: Problems) -> None:
        last = cast(TextBytes, cast(io.BufferedReader, stream).raw).last
        is_sent = any(header[-1] in fitting_columns(names, header) for names in self._required)
        if last not in b"\r\n" and is_sent and not self._options.allow_cut_end:
            problems.add(
                f"{self._uri}: the last line has no line end, so the file may have been cut within its last value, of "
                f"column {header[-1]!r}. Write or transfer the file again, or set allow_cut_end=True if it is whole."
            )

    def _dialect(self, start: str) -> int:
        """Settle the delimiter; return how many lines before the header say what it is, as Excel's ``sep=;`` does."""
        announced = _ANNOUNCED.match(start)
        if self.delimiter is None:
            self.delimiter = announced["mark"] if announced else self._detected(start)
        return 1 if announced else 0

    def _detected(self, start: str) -> str:
        headers = {mark: _first_row(start, mark) for mark in DELIMITERS}
        marks = [mark for mark, header in headers.items() if len(header) > 1]
        if len(marks) < 2:
            return marks[0] if marks else ","
        fitting = [mark for mark in marks if all(fitting_columns(names, headers[mark]) for names in self._required)]
        if len(fitting) > 1 and self._required:
            raise DatasetError(
                f"{self._uri}: the header can be divided by {' and by '.join(map(repr, fitting))}. "
                "Say which it is: csv_delimiter=';', for one."
            )
        return next(iter(fitting or marks))

    def _header(self, reader: Reader) -> tuple[list[str], int]:
        """The named columns, and how many there are with those at the end that have no name."""
        header = next((row for row in reader if any(row)), [])
        width = len(header)
        while header and not header[-1].strip():
            header.pop()
        refuse_twice(f"{self._uri}, line 1", header)
        return header, width

    def _ragged(self, line: int, width: int, found: int, problems: Problems | None) -> None:
        message = (
            f"{self._uri}, line {line}: {found} values where the header has {width} columns. "
            "Quote values that hold delimiters or line ends, and give every row all its values."
        )
        if problems is None:
            raise DatasetError(message)
        problems.add(message)


def _first_row(start: str, delimiter: str) -> list[str]:
    with suppress(csv.Error):
        return next((row for row in csv.reader(io.StringIO(start, newline=""), delimiter=delimiter) if any(row)), [])
    return []


def _start_of(stream: BinaryIO) -> str:
    return bytes(cast(io.BufferedReader, stream).peek(1)[:_HEAD_BYTES]).decode(errors="replace")
