"""Rows of a result, streamed into a fixed number of Parquet parts whose types suit the whole of the result.

The types are known for sure only at the end. So the rows go to parts with the types seen so far; where a later row
needs a wider one, a new layer of parts is begun, and at the end the layers are rewritten as one. Most results need
one layer only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_capillary.exceptions import DatasetError
from airflow_provider_capillary.transfers.column_kinds import (
    NOTHING,
    Kind,
    UnfitValuesError,
    Values,
    arrow_type,
    as_array,
    columns_of,
    kind_of,
    widened,
)
from airflow_provider_capillary.transfers.part_files import PartFiles
from airflow_provider_capillary.transfers.partitions import partitions_of

_COPIED_ROWS = 10_000

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


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
        self._layers: list[PartFiles] = []

    def write(self, rows: Sequence[Any] | pa.RecordBatch) -> None:
        """Add rows, each a sequence of values in the order of the columns or a mapping by their names, or as Arrow."""
        if not len(rows):
            return
        values = self._values(rows)
        self._widen([self._fitting(index, kind_of, column) for index, column in enumerate(values)])
        kinds = enumerate(zip(values, self._kinds, strict=True))
        arrays = [self._fitting(index, as_array, column, kind) for index, (column, kind) in kinds]
        batch = pa.record_batch(arrays, schema=self._layers[-1].schema)
        self._layers[-1].write(batch, None if self._customer is None else self._parts_of(values[self._customer]))
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
        self._widen([NOTHING for _ in self.columns])
        self._layers[-1].close()
        return self._layers[0].paths if len(self._layers) == 1 else self._rewritten()

    def _fitting(
        self, index: int, make: Callable[_Given, _Made], *arguments: _Given.args, **named: _Given.kwargs
    ) -> _Made:
        try:
            return make(*arguments, **named)
        except UnfitValuesError as error:
            raise DatasetError(
                f"Column {self.columns[index]!r} of the result {error}. Cast it to one type, or to text, in the SQL."
            ) from error

    def _widen(self, kinds: list[Kind]) -> None:
        pairs = zip(self._kinds, kinds, strict=True)
        self._kinds = [self._fitting(index, widened, old, new) for index, (old, new) in enumerate(pairs)]
        schema = pa.schema([(name, arrow_type(kind)) for name, kind in zip(self.columns, self._kinds, strict=True)])
        if not self._layers or self._layers[-1].schema != schema:
            if self._layers:
                self._layers[-1].close()
            self._layers.append(PartFiles(self._folder / f"layer-{len(self._layers)}", schema, self._partitions))

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
                arrays = [
                    # Through Python, so that a number becomes the same text here as where it came with text at once.
                    column if column.type == field.type else as_array(column.to_pylist(), kind)
                    for column, field, kind in zip(batch.columns, whole.schema, self._kinds, strict=True)
                ]
                copied = pa.record_batch(arrays, schema=whole.schema)
                whole.write(copied, None if self._partitions == 1 else repeat(partition, batch.num_rows))
