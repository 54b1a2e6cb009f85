"""Rows of a result, streamed into a fixed number of Parquet parts whose types suit the whole of the result.

The types are known for sure only at the end. So the rows go to parts with the types seen so far; where a later row
needs a wider one, a new layer of parts is begun, and at the end the layers are rewritten as one. Most results need
one layer only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_capillary.transfers.column_types import Column, Values, columns_of
from airflow_provider_capillary.transfers.part_files import PartFiles
from airflow_provider_capillary.transfers.partitions import partitions_of

_COPIED_ROWS = 10_000


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
        self._layers: list[PartFiles] = []

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

    def _layer(self) -> PartFiles:
        schema = pa.schema([(column.name, column.type) for column in self._typed])
        if not self._layers or self._layers[-1].schema != schema:
            if self._layers:
                self._layers[-1].close()
            self._layers.append(PartFiles(self._folder / f"layer-{len(self._layers)}", schema, self._partitions))
        return self._layers[-1]

    def _rewritten(self) -> list[Path]:
        whole = PartFiles(self._folder / "whole", self._layers[-1].schema, self._partitions)
        for partition in range(self._partitions):
            for layer in self._layers:
                self._copy(layer.paths[partition], partition, whole)
                layer.paths[partition].unlink()
        whole.close()
        return whole.paths

    def _copy(self, source: Path, partition: int, whole: PartFiles) -> None:
        with pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 18) as part:
            for batch in part.iter_batches(batch_size=_COPIED_ROWS, use_threads=False):
                arrays = [column.cast(array) for column, array in zip(self._typed, batch.columns, strict=True)]
                copied = pa.record_batch(arrays, schema=whole.schema)
                whole.write(copied, None if self._partitions == 1 else repeat(partition, batch.num_rows))
