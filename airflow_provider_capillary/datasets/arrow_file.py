"""One Arrow IPC file, which Feather 2 is too: one record batch in memory at a time, given in windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_provider_capillary.datasets.inspection import DistinctTexts, Problems, refuse_twice
from airflow_provider_capillary.datasets.parquet_file import ArrowWindow, decoding, distinct_values, validate_columns


class ArrowFile:
    """Streams one file. Its writer has decided how many rows a record batch has, and so how much memory it takes."""

    fixed_columns = True  #: the schema decides

    def __init__(self, uri: str, path: Path) -> None:
        self._uri = uri
        self._path = path

    def scan(self, problems: Problems, texts: DistinctTexts) -> tuple[int, tuple[str, ...]]:
        """Decode and validate every value as Arrow, with no Python object made; return the rows and the columns."""
        rows = 0
        with self._opened() as file:
            with self._broken("its schema"):
                names = file.schema.names
            refuse_twice(self._uri, names)
            gathered = texts.column_among(names)
            for batch in self._batches(file):
                validate_columns(batch, self._uri, rows, _validate)
                if gathered:
                    texts.add(distinct_values(batch.column(gathered)))
                rows += batch.num_rows
        return rows, tuple(names)

    def windows(self, rows: int, columns: tuple[str, ...], rows_before: int) -> Iterator[ArrowWindow]:
        """Stream the file in windows; ``rows_before`` rows of the dataset came from earlier files."""
        done = 0
        with self._opened() as file:
            for batch in self._batches(file):
                for start in range(0, batch.num_rows, rows):
                    part = batch.slice(start, rows)
                    yield ArrowWindow(part, columns, self._uri, rows_before + done + 1, done + 1)
                    done += len(part)

    @contextmanager
    def _opened(self) -> Iterator[pa.RecordBatchFileReader]:
        # Not mapped into memory: where a mapped file is cut meanwhile, the process dies instead of an error.
        with pa.OSFile(str(self._path), "rb") as opened:
            with self._broken("its footer"):
                file = pa.ipc.open_file(opened)
            yield file

    def _batches(self, file: pa.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
        for number in range(file.num_record_batches):
            with self._broken(f"record batch {number + 1} of {file.num_record_batches}"):
                batch = file.get_batch(number)
            yield batch

    def _broken(self, what: str) -> AbstractContextManager[None]:
        return decoding(
            self._uri,
            f"broken Arrow, {what}",
            "Write or transfer the file again, as an Arrow IPC file or Feather 2. A stream, or Feather 1, is not read.",
        )


def _validate(column: pa.Array[Any]) -> None:
    """Refuse what is no Arrow: buffers come as they lie in the file, and wrong offsets would end the process.

    A number, date or time out of its range is a matter of its row.
    """
    column.validate(full=not (pa.types.is_primitive(column.type) or pa.types.is_decimal(column.type)))
