"""One JSON Lines file, plain or gzip: an object per line, its keys the columns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from airflow_provider_capillary.datasets.inspection import DistinctTexts, Problems
from airflow_provider_capillary.datasets.rows import RowWindow
from airflow_provider_capillary.datasets.text_files import LinesPassed, open_bytes
from airflow_provider_capillary.exceptions import DatasetError

LONGEST_LINE = 16 << 20  #: bytes; a longer one is a file without line ends, which would fill the memory

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class JsonLinesFile:
    """Streams the objects of one file. Integers of any size survive; blank lines are skipped and not counted."""

    fixed_columns = False  #: keys may differ from row to row, so columns are gathered over all rows

    def __init__(self, uri: str, path: Path) -> None:
        self._uri = uri
        self._path = path

    def scan(self, problems: Problems, texts: DistinctTexts) -> tuple[int, tuple[str, ...]]:
        """Read everything once; return the number of rows and the union of their keys, in order of appearance."""
        columns: dict[str, None] = {}
        gathered: str | None = None
        rows = 0
        for row in self._rows(problems):
            rows += 1
            if not row.keys() <= columns.keys():
                columns.update(dict.fromkeys(row))
                gathered = texts.column_among(tuple(columns))
            if gathered is not None:
                texts.add((row.get(gathered),))
        return rows, tuple(columns)

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[RowWindow]:
        """Stream the file in windows; ``rows_before`` rows of the dataset came from earlier files."""
        gathered: list[dict[str, Any]] = []
        passed = LinesPassed()
        done = 0
        for row in self._rows(None, passed):
            gathered.append(row)
            if len(gathered) == rows:
                yield self._window(gathered, columns, rows_before + done + 1, passed)
                done += rows
                gathered = []
        if gathered:
            yield self._window(gathered, columns, rows_before + done + 1, passed)

    def _window(
        self, rows: list[dict[str, Any]], columns: tuple[str, ...], first_row: int, passed: LinesPassed
    ) -> RowWindow:
        first, without_row = passed.next_window(passed.first + len(rows) + len(passed.without_row) - 1)
        return RowWindow(rows, columns, self._uri, first_row, first, without_row)

    def _rows(self, problems: Problems | None, passed: LinesPassed | None = None) -> Iterator[dict[str, Any]]:
        """Every row; a line that is none goes to ``problems``, or is raised where none is given.

        :param passed: gets the lines without a row.
        """
        decode = _OBJECT.decode
        with open_bytes(self._path) as stream:
            if _first_mark(stream) == b"[":
                raise DatasetError(
                    f"{self._uri}: a JSON array, not JSON Lines: one object per line, without brackets around and "
                    "commas between. Convert it, as with jq -c '.[]', or let the tool that writes it write JSON Lines."
                )
            for number, line in enumerate(iter(partial(stream.readline, LONGEST_LINE), b""), start=1):
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    raise DatasetError(
                        f"{self._uri}, line {number}: longer than {LONGEST_LINE >> 20} MiB. "
                        "JSON Lines needs one object per line, not one array."
                    )
                try:
                    yield decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    self._note(number, line, error, problems)
                    if passed is not None:
                        passed.without_row.append(number)

    def _note(self, number: int, line: bytes, error: Exception, problems: Problems | None) -> None:
        if not line.strip():
            return
        if isinstance(error, UnicodeDecodeError):
            message = f"{self._uri}, line {number}: not UTF-8 ({error.reason}). Save the file as UTF-8."
        else:
            message = (
                f"{self._uri}, line {number}: not one JSON object ({error}). Every line must be a complete JSON object."
            )
        if problems is None:
            raise DatasetError(message)
        problems.add(message)


def _first_mark(stream: BinaryIO) -> bytes:
    return cast(io.BufferedReader, stream).peek(1)[:1_024].lstrip()[:1]
