"""Whatever the size of the result, the extract needs the same memory: measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .test_failed_tries import ALONE
from .warehouses import postgres_connection

ALLOWED_GROWTH = 40 * 2**20
FEW, MANY = 70_000, 400_000  # few: every buffer was full once
ROWS = {
    "postgres": "SELECT n::bigint AS customer_id, repeat(md5(n::text), 8) AS text FROM generate_series(1, {}) AS n",
    "duckdb": "SELECT n::BIGINT AS customer_id, repeat(md5(n::VARCHAR), 8) AS text FROM range({}) AS r(n)",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
    "SELECT i AS customer_id, printf('%0256d', i) AS text FROM n",
}
WAYS: dict[str, dict[str, Any]] = {
    "SQLite": {"conn_id": "sqlite"},
    "DuckDB, 16 parts": {"conn_id": "duckdb", "partitions": 16},
    "psycopg 3": {"conn_id": "postgres", "driver": 3},
    "psycopg 2, 16 parts": {"conn_id": "postgres", "driver": 2, "partitions": 16},
}
WITHOUT_CURSOR = {"conn_id": "postgres", "driver": 3, "server_side_cursor": False}


def extracting(rows: int, folder: Path, way: dict[str, Any]) -> dict[str, Any]:
    return {"sql": ROWS[way["conn_id"]].format(rows), "dataset_path": str(folder / "out"), **way}


@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_result(
    tmp_path: Path, postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", postgres_connection(postgres_uri))
    for kind in ("sqlite", "duckdb"):
        fields = {"conn_type": kind, "host": str(tmp_path / f"warehouse.{kind}")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{kind.upper()}", json.dumps(fields))
    extracts = [extracting(rows, tmp_path, way) for rows in (FEW, MANY) for way in WAYS.values()]
    extracts.append(extracting(MANY, tmp_path, WITHOUT_CURSOR))
    done = subprocess.run(
        [sys.executable, str(ALONE), json.dumps([0, *extracts])],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    expected = [FEW] * len(WAYS) + [MANY] * (len(WAYS) + 1)
    assert [one.get("rows") for one in reported] == expected, (reported, done.stderr[-2_000:])
    peaks = [one["peak"] for one in reported]
    print([round(peak / 2**20) for peak in peaks])  # noqa: T201
    base, without_cursor = peaks[len(WAYS) - 1], peaks[-1]
    for way, peak in zip(WAYS, peaks[len(WAYS) : -1], strict=True):
        assert peak - base < ALLOWED_GROWTH, way
    # The cursor left out, to see that this test can fail: the driver then holds the whole result.
    assert without_cursor - base > 2 * ALLOWED_GROWTH
