"""Rows of a result, streamed into a fixed number of Parquet parts whose types suit the whole of the result.

The types are known for sure only at the end. So the rows go to parts with the types seen so far; where a later row
needs a wider one, a new layer of parts is begun, and at the end the layers are rewritten as one. Most results need
one layer only.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_capillary.datasets.column_kinds import (
    NOTHING,
    Kind,
    UnfitValuesError,
    arrow_type,
    as_array,
    kind_of,
    widened,
)
from airflow_provider_capillary.exceptions import DatasetError

_BUFFERED_ROWS = 65_536  # over all parts, so that many parts do not take more memory than few
_LEAST_ROW_GROUP = 1_000


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
        self._kinds = [NOTHING for _ in self.columns]
        self._layers: list[_Layer] = []

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows, each a sequence of values in the order of the columns."""
        if not rows:
            return
        values = list(zip(*rows, strict=True))
        self._widen([self._fitting(kind_of, index, column) for index, column in enumerate(values)])
        arrays = [self._fitting(as_array, index, column, self._kinds[index]) for index, column in enumerate(values)]
        batch = pa.record_batch(arrays, schema=self._layers[-1].schema)
        for partition, indices in self._shares(values):
            share = batch if indices is None else batch.take(pa.array(indices, pa.int32()))
            self._layers[-1].write(partition, share)
        self.rows += len(rows)

    def finish(self) -> list[Path]:
        """Close everything and return the parts in order."""
        self._widen([NOTHING for _ in self.columns])
        for layer in self._layers:
            layer.close()
        if len(self._layers) == 1:
            return self._layers[0].paths
        return self._rewritten()

    def _fitting(self, make: Any, index: int, *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except UnfitValuesError as error:
            raise DatasetError(
                f"Column {self.columns[index]!r} of the result {error}. Cast it to one type, or to text, in the SQL."
            ) from error

    def _widen(self, kinds: list[Kind]) -> None:
        pairs = zip(self._kinds, kinds, strict=True)
        self._kinds = [self._fitting(widened, index, old, new) for index, (old, new) in enumerate(pairs)]
        fields = [(name, arrow_type(kind)) for name, kind in zip(self.columns, self._kinds, strict=True)]
        schema = pa.schema(fields)
        if not self._layers or self._layers[-1].schema != schema:
            if self._layers:
                self._layers[-1].close()
            self._layers.append(_Layer(self._folder / f"layer-{len(self._layers)}", schema, self._partitions))

    def _shares(self, values: list[tuple[Any, ...]]) -> Iterable[tuple[int, list[int] | None]]:
        if self._customer is None:
            return [(0, None)]
        shares: dict[int, list[int]] = defaultdict(list)
        for index, customer in enumerate(values[self._customer]):
            shares[partition_of(customer, self._partitions)].append(index)
        return shares.items()

    def _rewritten(self) -> list[Path]:
        last = self._layers[-1].schema
        whole = _Layer(self._folder / "whole", last, self._partitions)
        for partition in range(self._partitions):
            for layer in self._layers:
                self._copy(layer, partition, whole)
                layer.paths[partition].unlink()
        whole.close()
        return whole.paths

    def _copy(self, layer: _Layer, partition: int, whole: _Layer) -> None:
        with pq.ParquetFile(layer.paths[partition], pre_buffer=False, buffer_size=1 << 18) as part:
            for batch in part.iter_batches(batch_size=_LEAST_ROW_GROUP * 10, use_threads=False):
                arrays = [
                    # Through Python, so that a number becomes the same text here as where it came with text at once.
                    column if column.type == field.type else as_array(column.to_pylist(), kind)
                    for column, field, kind in zip(batch.columns, whole.schema, self._kinds, strict=True)
                ]
                whole.write(partition, pa.record_batch(arrays, schema=whole.schema))


class _Layer:
    """One file a partition, all of one schema."""

    def __init__(self, folder: Path, schema: pa.Schema, partitions: int) -> None:
        folder.mkdir()
        self.schema = schema
        self.paths = [folder / part_name(partition, partitions) for partition in range(partitions)]
        self._writers = [pq.ParquetWriter(path, schema, write_page_checksum=True) for path in self.paths]
        self._waiting: list[list[pa.RecordBatch]] = [[] for _ in self.paths]
        self._counts = [0 for _ in self.paths]
        self._row_group = max(_LEAST_ROW_GROUP, _BUFFERED_ROWS // partitions)

    def write(self, partition: int, batch: pa.RecordBatch) -> None:
        self._waiting[partition].append(batch)
        self._counts[partition] += batch.num_rows
        if self._counts[partition] >= self._row_group:
            self._flush(partition)

    def close(self) -> None:
        for partition, writer in enumerate(self._writers):
            if writer.is_open:
                self._flush(partition)
                writer.close()

    def _flush(self, partition: int) -> None:
        if self._waiting[partition]:
            self._writers[partition].write_table(pa.Table.from_batches(self._waiting[partition], self.schema))
        self._waiting[partition] = []
        self._counts[partition] = 0


def part_name(partition: int, partitions: int) -> str:
    """The file name of a part; it sorts in order."""
    return f"part-{partition:05d}-of-{partitions:05d}.parquet"


def partition_of(customer: Any, partitions: int) -> int:
    """The part of a customer: the same for 7, ``"7"``, ``" 007 "`` and ``Decimal("7.0")``, today and in a year."""
    return zlib.crc32(_customer_text(customer).encode("utf-8", "surrogatepass")) % partitions


def _customer_text(customer: Any) -> str:
    if isinstance(customer, Decimal) and customer.is_finite() and customer == customer.to_integral_value():
        return str(int(customer))
    if isinstance(customer, float) and customer.is_integer():
        return str(int(customer))
    text = str(customer).strip().lstrip("+")
    return text.lstrip("0") or "0" if text.isdecimal() else text
