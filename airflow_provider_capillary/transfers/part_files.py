"""Parquet files of one schema, one a partition, written side by side in bounded memory and without open files.

A thousand parts are a thousand Parquet writers, but neither a thousand open files, which many systems do not allow,
nor a thousand buffers: rows wait together, and each time that there are enough of them every part gets its share.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

_WAITING_ROWS = 65_536  # over all parts, so that many parts take hardly more memory than few
_WAITING_BYTES = 32 << 20
_LEAST_ROW_GROUP = 1_000


class PartFiles:
    """One file a partition in a new folder, all of one schema; the same batches give the same bytes."""

    def __init__(self, folder: Path, schema: pa.Schema, partitions: int) -> None:
        folder.mkdir()
        self.schema = schema
        self.paths = [folder / part_name(partition, partitions) for partition in range(partitions)]
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


def part_name(partition: int, partitions: int) -> str:
    """The file name of a part; it sorts in order."""
    return f"part-{partition:05d}-of-{partitions:05d}.parquet"


def _indices(rows: array[int]) -> pa.Array[Any]:
    return pa.Array.from_buffers(pa.int32(), len(rows), [None, pa.py_buffer(memoryview(rows))])
