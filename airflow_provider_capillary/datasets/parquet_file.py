"""One Parquet file, decoded page by page: a row group of any size takes no more memory than a few windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_capillary.datasets.arrow_values import (
    epoch_seconds,
    original_value,
    python_values,
    texts_of,
    value_type,
)
from airflow_provider_capillary.datasets.inspection import DistinctTexts, Problems, refuse_twice
from airflow_provider_capillary.exceptions import DatasetError

_SCAN_ROWS = 4_096
_BUFFER_BYTES = 1 << 18
_MOST_SECONDS = 2**63 // 10**6 - 86_400  #: that microseconds can count


class ArrowWindow:
    """Some consecutive rows of a Parquet or Arrow file; values become Python objects only where they are asked for."""

    def __init__(
        self, batch: pa.RecordBatch, columns: tuple[str, ...], source: str, first_row_number: int, first_line: int
    ) -> None:
        self._batch = batch
        self._columns = columns
        self.source = source
        self.first_row_number = first_row_number
        self._first_line = first_line

    def __len__(self) -> int:
        return self._batch.num_rows

    def column(self, name: str) -> list[Any]:
        """All values of one column; instants with a zone as whole epoch seconds."""
        if self._lacks(name):
            return [None] * len(self)
        return python_values(self._batch.column(name))

    def arrow(self, name: str) -> pa.Array[Any] | None:
        """The same values as 64-bit integers or as text, where the column's type says that they are such."""
        if self._lacks(name):
            return None
        array = self._batch.column(name)
        kind = array.type
        if pa.types.is_signed_integer(kind):
            return array.cast(pa.int64())
        if pa.types.is_timestamp(kind) and kind.tz:
            return epoch_seconds(array)
        return array if pa.types.is_string(kind) else None

    def is_in_seconds(self, name: str) -> bool:
        """Whether its numbers are epoch seconds: of timestamps with a zone."""
        if self._lacks(name):
            return False
        kind = value_type(self._batch.schema.field(name).type)
        return pa.types.is_timestamp(kind) and kind.tz is not None

    def original(self, index: int) -> dict[str, Any]:
        """One row, JSON-ready, every column of the dataset in order."""
        return {
            name: None if self._lacks(name) else original_value(self._batch.column(name), index)
            for name in self._columns
        }

    def line(self, index: int) -> int:
        """The row's place in its file, from 1."""
        return self._first_line + index

    def _lacks(self, name: str) -> bool:
        """Whether only other files of the dataset have the column."""
        return name in self._columns and name not in self._batch.schema.names


class ParquetFile:
    """Streams one Parquet file. Page checksums are verified where the writer left any."""

    fixed_columns = True  #: the schema decides

    def __init__(self, uri: str, path: Path) -> None:
        self._uri = uri
        self._path = path
        self._unit = "us"  #: of timestamps of 96 bits; in nanoseconds, years beyond 2262 would wrap around

    def scan(self, problems: Problems, texts: DistinctTexts) -> tuple[int, tuple[str, ...]]:
        """Decode and validate every value as Arrow, with no Python object made; return the rows and the columns."""
        rows = 0
        self._unit = "s"
        within_microseconds = True
        with self._opened() as file:
            with self._broken("its schema"):
                wide, names = _wide_timestamps(file), file.schema_arrow.names
            refuse_twice(self._uri, names)
            gathered = texts.column_among(names)
            for batch in self._batches(file, _SCAN_ROWS):
                validate_columns(batch, self._uri, rows, _validate)
                if gathered:
                    texts.add(distinct_values(batch.column(gathered)))
                within_microseconds &= all(_fit_microseconds(batch.column(name)) for name in wide)
                rows += batch.num_rows
        self._unit = "us" if within_microseconds else "s"  # which loses fractions, but no value wraps around
        return rows, tuple(names)

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[ArrowWindow]:
        """Stream the file in windows; ``rows_before`` rows of the dataset came from earlier files."""
        done = 0
        with self._opened() as file:
            for batch in self._batches(file, rows):
                if batch.num_rows:
                    yield ArrowWindow(batch, columns, self._uri, rows_before + done + 1, done + 1)
                    done += batch.num_rows

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with self._broken("its footer"):
            # With pre_buffer, or without a buffer size, Arrow holds whole column chunks in memory.
            file = pq.ParquetFile(
                self._path,
                memory_map=False,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                page_checksum_verification=True,
                coerce_int96_timestamp_unit=self._unit,
            )
        with file:
            yield file

    def _batches(self, file: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
        done = 0
        with self._broken("its footer"):
            batches = iter(file.iter_batches(batch_size=rows, use_threads=False))
        while True:
            with self._broken(f"the data after row {done}"):
                batch = next(batches, None)
            if batch is None:
                return
            done += batch.num_rows
            yield batch

    def _broken(self, what: str) -> AbstractContextManager[None]:
        return decoding(self._uri, f"broken Parquet, {what}", "Write or transfer the file again.")


@contextmanager
def decoding(uri: str, what: str, advice: str) -> Iterator[None]:
    """Turn what Arrow raises while it decodes ``what`` into a ``DatasetError``."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system speaks, not the decoder
        raise DatasetError(f"{uri}: {what} cannot be decoded ({error}). {advice}") from error


def validate_columns(
    batch: pa.RecordBatch, uri: str, rows_before: int, validate: Callable[[pa.Array[Any]], None]
) -> None:
    """Call ``validate`` with each column, and name the column and the rows where it raises.

    :param rows_before: rows of the file before this batch.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            validate(column)
        except (pa.ArrowException, ValueError) as error:
            raise DatasetError(
                f"{uri}, column {name!r}, rows {rows_before + 1} to {rows_before + batch.num_rows}: "
                f"invalid values: {error}. A text that is not UTF-8 is one, too. Write the file again."
            ) from error


def distinct_values(column: pa.Array[Any]) -> Iterable[Any]:
    """The different values of a column; all its values where Arrow cannot compare those of its type."""
    with suppress(pa.ArrowException):  # of nested values, and of run-end encoded ones, which may be texts
        column = pc.unique(column)
    return python_values(column)


def _validate(column: pa.Array[Any]) -> None:
    if not _is_valid(column):
        for text in texts_of(column):
            text.validate(full=True)


def _is_valid(column: pa.Array[Any]) -> bool:
    try:
        column.validate(full=True)
    except (pa.ArrowException, ValueError):
        return False
    return True


def _wide_timestamps(file: pq.ParquetFile) -> list[str]:
    """The columns of timestamps of 96 bits, which go on for millions of years."""
    columns = [file.schema.column(number) for number in range(len(file.schema))]
    return [column.path for column in columns if column.physical_type == "INT96" and "." not in column.path]


def _fit_microseconds(seconds: pa.Array[Any]) -> bool:
    bounds = pc.min_max(seconds.view(pa.int64()))
    lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
    return lowest is None or -_MOST_SECONDS < lowest <= highest < _MOST_SECONDS
