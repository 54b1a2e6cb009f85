"""What one writes in Airflow without this package: ``HttpHook`` in a loop. No ledger, no proof; 2xx is success."""

from __future__ import annotations

import json
import os
import sys

import pyarrow.parquet as pq
from airflow.providers.http.hooks.http import HttpHook

from measuring import measured


def main(dataset: str, api: str, batch_size: int, _state: str) -> None:
    """Send the dataset."""
    os.environ["AIRFLOW_CONN_SINK"] = json.dumps({"conn_type": "http", "host": api, "login": "till", "password": "x"})

    def work() -> int:
        hook = HttpHook(method="PUT", http_conn_id="sink")
        green = 0
        for batch in pq.ParquetFile(dataset).iter_batches(batch_size=batch_size):
            rows = batch.to_pylist()
            headers = {"Content-Type": "application/json"}
            reply = hook.run("api_gateway/v1/badges/import/customerBadges", data=json.dumps(rows), headers=headers)
            reply.json()
            green += len(rows)
        return green

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
