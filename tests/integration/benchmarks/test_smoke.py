"""The benchmark's code works, with a few rows and one repeat. Its figures mean nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FEW = ["--rows", "2000", "--repeats", "1", "--fault-rows", "4000", "--batch-size", "100", "--latency-rows", "200"]
SMALL = [
    "--sizes",
    "300",
    "--ledger-rows",
    "2000",
    "--report-rows",
    "50",
    "--extract-rows",
    "1000",
    "--read-rows",
    "500",
]


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *FEW, *SMALL, *options]
    command += ["--results", str(folder), "--chart", str(folder / "chart.svg")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def found(folder: Path, part: str) -> Any:
    return json.loads((folder / f"{part}.json").read_text("utf-8"))


@pytest.mark.timeout(400)
def test_the_benchmark_measures_speed_and_faults(tmp_path: Path) -> None:
    shown = run(tmp_path, "--parts", "peers", "--only", "SQLite,HttpHook")
    reported = found(tmp_path, "peers")["contestants"]
    ours, loop = reported["this package, SQLite ledger"], reported["Airflow HttpHook loop"]
    assert [one["measured"][0]["green"] for one in (ours, loop)] == [2000, 2000]
    assert (ours["granted_twice"], ours["green_though_refused"]) == (0, 0)
    assert loop["granted_twice"] >= 2000, "half was sent before the kill, and all of it after"
    assert loop["green_though_refused"] == 40
    assert "this package, SQLite ledger" in shown
    assert (tmp_path / "peers.txt").read_text("utf-8") in shown
    assert (tmp_path / "chart.svg").read_text("utf-8").count("<rect") == 4


@pytest.mark.timeout(400)
def test_the_benchmark_measures_growth_and_reports(tmp_path: Path) -> None:
    run(tmp_path, "--parts", "growth,reporting,extraction,reading", "--ledgers", "SQLite", "--databases", "DuckDB")
    growth = found(tmp_path, "growth")["measured"]
    reported = [(one["ledger"], one["ledger_rows"], one["rows"]) for one in growth]
    assert reported == [("SQLite", 2000, 300)]
    assert all(one["rows_per_second"] > 0 for one in growth)
    assert [one["rows_reported"] for one in found(tmp_path, "reporting")["measured"]] == [50]
    extraction = found(tmp_path, "extraction")["measured"]
    assert [(one["database"], one["parts"]) for one in extraction] == [("DuckDB", 1), ("DuckDB", 16)]
    assert [(one["format"], one["rows"]) for one in found(tmp_path, "reading")["measured"]] == [
        ("csv", 500),
        ("jsonl", 500),
        ("parquet", 500),
    ]
