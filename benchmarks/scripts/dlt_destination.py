"""dlt with ``@dlt.destination``: ``arrow`` (Arrow in, Parquet between: the leanest way) or ``rows`` (dicts in)."""

from __future__ import annotations

import os
import sys
from typing import Any

import dlt
import pyarrow.parquet as pq
import requests

from measuring import measured


def main(dataset: str, api: str, batch_size: int, state: str, way: str) -> None:
    """Send the dataset; a pipeline that was broken off goes on with what it had pending."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["SCHEMA__NAMING"] = "direct"  # else badgeMetaId becomes badge_meta_id
    session = requests.Session()
    green = 0

    file_format = "parquet" if way == "arrow" else "typed-jsonl"

    @dlt.destination(
        batch_size=batch_size, loader_file_format=file_format, name="capillary", naming_convention="direct"
    )
    def capillary(items: Any, _table: Any) -> None:
        nonlocal green
        rows = items.to_pylist() if hasattr(items, "to_pylist") else items
        reply = session.put(f"{api}/api_gateway/v1/badges/import/customerBadges", json=rows, timeout=60)
        reply.raise_for_status()
        reply.json()
        green += len(rows)

    def work() -> int:
        pipeline = dlt.pipeline("badges", pipelines_dir=state, destination=capillary)
        if pipeline.has_pending_data:
            pipeline.load()
        else:
            batches = pq.ParquetFile(dataset).iter_batches(batch_size=50_000)
            pieces = batches if way == "arrow" else (batch.to_pylist() for batch in batches)
            pipeline.run(dlt.resource(pieces, name="badges")).raise_on_failed_jobs()
        return green

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
