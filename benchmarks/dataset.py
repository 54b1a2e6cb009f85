"""Writes the rows that every tool imports."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

EARNED = 1_736_942_400
FIRST_CUSTOMER = 10_000_000
BADGES = [f"65f1c0de{number:016x}" for number in range(10)]
_PIECE = 50_000


def write_dataset(path: Path, rows: int, *, day: int = 0, shuffled: int | None = None) -> Path:
    """Sorted customers, one badge each, as a night's extract has them; written a piece at a time.

    :param shuffled: the seed of the order, where the customers are to be in none.
    """
    order = list(range(rows)) if shuffled is not None else range(rows)
    if shuffled is not None:
        random.Random(shuffled).shuffle(order)  # type: ignore[arg-type]  # a list by now
    types: dict[str, pa.DataType] = {"badgeMetaId": pa.string(), "customerId": pa.int64()}
    schema = pa.schema(types | {"earnEventDate": pa.int64(), "earnExpiresOn": pa.int64()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _PIECE):
            numbers = order[start : start + _PIECE]
            earned = [EARNED + 86_400 * day + number % 86_400 for number in numbers]
            columns = [
                pa.array([BADGES[number % len(BADGES)] for number in numbers]),
                pa.array([FIRST_CUSTOMER + number for number in numbers]),
                pa.array(earned),
                pa.array([instant + 31_536_000 for instant in earned]),
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return path


def write_wide_dataset(path: Path, rows: int) -> Path:
    """The same with eight columns of 100 characters, all in one row group."""
    numbers = range(rows)
    columns: dict[str, pa.Array[Any]] = {
        "badgeMetaId": pa.array([BADGES[number % len(BADGES)] for number in numbers]),
        "customerId": pa.array([FIRST_CUSTOMER + number for number in numbers], pa.int64()),
        "earnEventDate": pa.array([EARNED] * rows, pa.int64()),
        "earnExpiresOn": pa.array([EARNED + 31_536_000] * rows, pa.int64()),
    }
    for name in "abcdefgh":
        columns[f"note_{name}"] = pa.array([f"{name}{number:099}" for number in numbers])
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path
