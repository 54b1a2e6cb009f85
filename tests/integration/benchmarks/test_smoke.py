"""The benchmark's code works: a few rows, one repeat, ours and the loop over ``HttpHook``. Its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(400)
def test_the_benchmark_measures_speed_and_faults_and_draws_what_it_found(tmp_path: Path) -> None:
    told, chart = tmp_path / "told.json", tmp_path / "chart.svg"
    few = ["--rows", "2000", "--repeats", "1", "--fault-rows", "4000", "--batch-size", "100"]
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        *few,
        "--only",
        "SQLite,HttpHook",
        "--json",
        str(told),
        "--chart",
        str(chart),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    found = json.loads(told.read_text("utf-8"))["contestants"]
    ours, loop = found["this package, SQLite ledger"], found["Airflow HttpHook loop"]
    assert [one["measured"][0]["green"] for one in (ours, loop)] == [2000, 2000]
    assert (ours["granted_twice"], ours["green_though_refused"]) == (0, 0)
    assert loop["granted_twice"] >= 2000, "half was sent before the kill, and all of it after"
    assert loop["green_though_refused"] == 40
    assert "this package, SQLite ledger" in done.stdout
    assert chart.read_text("utf-8").count("<rect") == 4
