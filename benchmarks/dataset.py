"""The rows that everybody imports."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

EARNED = 1_736_942_400
FIRST_CUSTOMER = 10_000_000
BADGES = [f"65f1c0de{number:016x}" for number in range(10)]
_PIECE = 50_000


def write_dataset(path: Path, rows: int, *, day: int = 0) -> Path:
    """Sorted customers, one badge each, as a night's extract has them; written a piece at a time."""
    types: dict[str, pa.DataType] = {"badgeMetaId": pa.string(), "customerId": pa.int64()}
    schema = pa.schema(types | {"earnEventDate": pa.int64(), "earnExpiresOn": pa.int64()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _PIECE):
            numbers = range(start, min(start + _PIECE, rows))
            earned = [EARNED + 86_400 * day + number % 86_400 for number in numbers]
            columns = [
                pa.array([BADGES[number % len(BADGES)] for number in numbers]),
                pa.array([FIRST_CUSTOMER + number for number in numbers]),
                pa.array(earned),
                pa.array([instant + 31_536_000 for instant in earned]),
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return path
