"""A Singer target with ``BatchSink``. The messages of a tap are made beforehand and not measured."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import requests
from singer_sdk import Target
from singer_sdk import typing as th
from singer_sdk.sinks import BatchSink

from measuring import measured


class BadgeSink(BatchSink):
    """Sends what was collected in one request."""

    def process_batch(self, context: dict[str, Any]) -> None:
        """Send one batch."""
        rows = [{name: row[name] for name in COLUMNS} for row in context["records"]]
        reply = TargetBadges.session.put(TargetBadges.url, json=rows, timeout=60)
        reply.raise_for_status()
        reply.json()
        TargetBadges.green += len(rows)


class TargetBadges(Target):
    """The target as its SDK wants it."""

    name = "target-badges"
    config_jsonschema = th.PropertiesList(th.Property("batch_size_rows", th.IntegerType)).to_dict()
    default_sink_class = BadgeSink
    session = requests.Session()
    url = ""
    green = 0


COLUMNS = ("badgeMetaId", "customerId", "earnEventDate", "earnExpiresOn")


def messages(dataset: str, path: Path) -> Path:
    """What a tap would print, once for all measurements."""
    if not path.exists():
        properties = {name: {"type": "integer"} for name in COLUMNS} | {"badgeMetaId": {"type": "string"}}
        head = {"type": "SCHEMA", "stream": "badges", "key_properties": [], "schema": {"properties": properties}}
        unfinished = path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as lines:
            lines.write(json.dumps(head) + "\n")
            done = 0
            for batch in pq.ParquetFile(dataset).iter_batches(batch_size=10_000):
                rows = batch.to_pylist()
                lines.writelines(
                    json.dumps({"type": "RECORD", "stream": "badges", "record": row}) + "\n" for row in rows
                )
                done += len(rows)
                lines.write(json.dumps({"type": "STATE", "value": {"rows": done}}) + "\n")
        unfinished.replace(path)
    return path


def main(dataset: str, api: str, batch_size: int, _state: str) -> None:
    """Send the dataset."""
    TargetBadges.url = f"{api}/api_gateway/v1/badges/import/customerBadges"
    path = messages(dataset, Path(f"{dataset}.singer"))

    def work() -> int:
        target = TargetBadges(config={"batch_size_rows": batch_size})
        with path.open(encoding="utf-8") as lines:
            target.listen(io.TextIOWrapper(lines.buffer, encoding="utf-8"))
        return TargetBadges.green

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
