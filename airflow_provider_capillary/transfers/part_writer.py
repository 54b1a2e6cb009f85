"""Rows of a result, streamed into a fixed number of Parquet parts whose types suit the whole of the result.

The types are known for sure only at the end. So the rows go to parts with the types seen so far; where a later row
needs a wider one, a new layer of parts is begun, and at the end the layers are rewritten as one. Most results need
one layer only.

A thousand parts are a thousand Parquet writers, but neither a thousand open files, which many systems do not allow,
nor a thousand buffers: rows wait together, and each time that there are enough of them every part gets its share.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_capillary.transfers.column_types import Column, Values, columns_of

_COPIED_ROWS = 10_000
_WAITING_ROWS = 65_536  # over all parts, so that many parts take hardly more memory than few
_WAITING_BYTES = 32 << 20
_LEAST_ROW_GROUP = 1_000
_ZEROS_BEHIND_A_POINT = re.compile(r"(?<=\d)\.0+\Z", re.ASCII)


class PartWriter:
    """Writes ``partitions`` parts into ``folder``; every part is written, even without rows.

    Rows of one customer land in the same part, in the order in which they came; the same rows give the same bytes.
    """

    def __init__(self, folder: Path, columns: Sequence[str], partitions: int, partition_by: str | None) -> None:
        self.rows = 0
        self._folder = folder
        self.columns = tuple(columns)
        self._partitions = partitions
        self._customer = None if partition_by is None or partitions == 1 else self.columns.index(partition_by)
        self._typed = [Column(name) for name in self.columns]
        self._layers: list[_PartFiles] = []

    def write(self, rows: Sequence[Any] | pa.RecordBatch) -> None:
        """Add rows, each a sequence of values in the order of the columns or a mapping by their names, or as Arrow."""
        if not len(rows):
            return
        values = self._values(rows)
        for column, given in zip(self._typed, values, strict=True):
            column.widen(given, self.rows)
        layer = self._layer()
        arrays = [column.array(given, self.rows) for column, given in zip(self._typed, values, strict=True)]
        batch = pa.record_batch(arrays, schema=layer.schema)
        layer.write(batch, None if self._customer is None else self._parts_of(values[self._customer]))
        self.rows += len(rows)

    def _values(self, rows: Sequence[Any] | pa.RecordBatch) -> list[Values]:
        if isinstance(rows, pa.RecordBatch):
            return columns_of(rows)
        keys: Sequence[Any] = self.columns if isinstance(rows[0], Mapping) else range(len(self.columns))
        return [[row[key] for row in rows] for key in keys]

    def _parts_of(self, customers: Values) -> list[int]:
        values = customers.to_pylist() if isinstance(customers, pa.Array) else customers
        return partitions_of(values, self._partitions)

    def finish(self) -> list[Path]:
        """Close everything and return the parts in order."""
        self._layer()
        self._layers[-1].close()
        return self._layers[0].paths if len(self._layers) == 1 else self._rewritten()

    def _layer(self) -> _PartFiles:
        schema = pa.schema([(column.name, column.type) for column in self._typed])
        if not self._layers or self._layers[-1].schema != schema:
            if self._layers:
                self._layers[-1].close()
            self._layers.append(_PartFiles(self._folder / f"layer-{len(self._layers)}", schema, self._partitions))
        return self._layers[-1]

    def _rewritten(self) -> list[Path]:
        whole = _PartFiles(self._folder / "whole", self._layers[-1].schema, self._partitions)
        for partition in range(self._partitions):
            for layer in self._layers:
                self._copy(layer.paths[partition], partition, whole)
                layer.paths[partition].unlink()
        whole.close()
        return whole.paths

    def _copy(self, source: Path, partition: int, whole: _PartFiles) -> None:
        with pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 18) as part:
            for batch in part.iter_batches(batch_size=_COPIED_ROWS, use_threads=False):
                arrays = [column.cast(array) for column, array in zip(self._typed, batch.columns, strict=True)]
                copied = pa.record_batch(arrays, schema=whole.schema)
                whole.write(copied, None if self._partitions == 1 else repeat(partition, batch.num_rows))


class _PartFiles:
    """One file a partition in a new folder, all of one schema; the same batches give the same bytes."""

    def __init__(self, folder: Path, schema: pa.Schema, partitions: int) -> None:
        folder.mkdir()
        self.schema = schema
        self.paths = [folder / _part_name(partition, partitions) for partition in range(partitions)]
        self._files = [_ClosedFile(path) for path in self.paths]
        self._writers = [
            pq.ParquetWriter(cast(IO[Any], file), schema, write_page_checksum=True) for file in self._files
        ]
        self._most_rows = max(_WAITING_ROWS, _LEAST_ROW_GROUP * partitions)
        self._begin()

    def _begin(self) -> None:
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0
        self._shares = [array("i") for _ in self.paths]

    def write(self, batch: pa.RecordBatch, partitions: Iterable[int] | None) -> None:
        """Add a batch, with the partition of each of its rows (``None``: there is one partition only)."""
        if partitions is not None:
            take = [share.append for share in self._shares]
            for row, partition in enumerate(partitions, self._rows):
                take[partition](row)
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= self._most_rows or self._bytes >= _WAITING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits; each part gets it as one row group."""
        if not self._rows:
            return
        rows, shares = pa.Table.from_batches(self._waiting, self.schema), self._shares
        self._begin()
        if len(shares) > 1:
            rows = rows.combine_chunks()  # or each share taken would copy everything first
        for file, writer, share in zip(self._files, self._writers, shares, strict=True):
            if share or len(shares) == 1:
                writer.write_table(rows.take(_indices(share)) if len(shares) > 1 else rows)
                file.spill()

    def close(self) -> None:
        """Finish every file; without this none of them can be read."""
        self.flush()
        for file, writer in zip(self._files, self._writers, strict=True):
            if writer.is_open:
                writer.close()
                file.spill()


class _ClosedFile:
    """What a Parquet writer takes for a file; it is open only while ``spill`` adds to it what was written."""

    closed = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: list[bytes] = []
        path.touch()

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing to do: ``spill`` decides when."""

    def spill(self) -> None:
        written, self._written = self._written, []
        with self._path.open("ab") as file:
            file.writelines(written)


def _part_name(partition: int, partitions: int) -> str:
    """The file name of a part; it sorts in order."""
    return f"part-{partition:05d}-of-{partitions:05d}.parquet"


def _indices(rows: array[int]) -> pa.Array[Any]:
    return pa.Array.from_buffers(pa.int32(), len(rows), [None, pa.py_buffer(memoryview(rows))])


def partition_of(customer: Any, partitions: int) -> int:
    """The part of a customer: the same for 7, ``"7"``, ``" 007 "``, ``"7.0"`` and ``Decimal("7.0")``.

    Any value has a part, so that a row without a customer is read, and reported as invalid, by the import.
    """
    return zlib.crc32(_customer_text(customer).encode("utf-8", "surrogatepass")) % partitions


def partitions_of(customers: Sequence[Any], partitions: int) -> list[int]:
    """The part of each customer; a column of whole numbers, as most are, at three times the speed."""
    if set(map(type, customers)) == {int}:
        return [zlib.crc32(b"%d" % customer) % partitions for customer in customers]
    return [partition_of(customer, partitions) for customer in customers]


def _customer_text(customer: Any) -> str:
    if isinstance(customer, Decimal) and customer.is_finite() and customer == customer.to_integral_value():
        return str(int(customer))
    if isinstance(customer, float) and customer.is_integer():
        return str(int(customer))
    text = _ZEROS_BEHIND_A_POINT.sub("", str(customer).strip().lstrip("+"))
    return text.lstrip("0") or "0" if text.isdecimal() else text
