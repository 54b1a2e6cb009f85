"""Files that tests write, and what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.formats import ReadOptions
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError

REQUIRED = [("badgeMetaId", "badge_meta_id"), ("customerId", "customer_id")]
CSV = b"badge_meta_id,customer_id\nb1,1\nb2,2\n"


def opened(dataset: Any, options: ReadOptions = ReadOptions(), required: Any = REQUIRED) -> Dataset:  # noqa: B008 - frozen
    return open_dataset(dataset, required_columns=required, options=options)


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    try:
        return [window.original(index) for window in dataset.windows(3) for index in range(len(window))]
    finally:
        dataset.close()


def customers(dataset: Any, options: ReadOptions = ReadOptions()) -> list[int]:  # noqa: B008 - frozen
    return [int(row["customer_id"]) for row in rows_of(opened(dataset, options))]


def problem_of(dataset: Any, options: ReadOptions = ReadOptions()) -> str:  # noqa: B008 - frozen
    with pytest.raises(DatasetError) as caught:
        opened(dataset, options).inspect()
    return str(caught.value)


def written(path: Path, content: bytes = CSV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def parquet(path: Path, *numbers: int, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"badge_meta_id": ["b"] * len(numbers), "customer_id": list(numbers), **columns}
    pq.write_table(pa.table(table), path)
    return path


def arrow(path: Path, *numbers: int) -> Path:
    """An Arrow IPC file of these customers."""
    table = pa.table({"badge_meta_id": ["b"] * len(numbers), "customer_id": list(numbers)})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


JSONL = b'{"badge_meta_id": "b1", "customer_id": 1}\n{"badge_meta_id": "b2", "customer_id": 2}\n'
