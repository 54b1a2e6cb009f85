"""The dataset as the bodies of its requests."""

from __future__ import annotations

import json

import pyarrow.parquet as pq


def encoded(dataset: str, batch_size: int) -> list[tuple[int, bytes]]:
    """Rows and body of each batch, all in memory."""
    batches = pq.ParquetFile(dataset).iter_batches(batch_size=batch_size)
    return [(batch.num_rows, json.dumps(batch.to_pylist()).encode()) for batch in batches]
