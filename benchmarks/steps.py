"""Measures the steps of an import one by one, alone and beside a busy process."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from .contestants import SCRIPTS, environment
from .dataset import write_dataset

#: Works until its input ends, as a server beside an import does.
_BUSY = (
    "import sys, threading; threading.Thread(target=lambda: (sys.stdin.read(), __import__('os')._exit(0))).start()\n"
)


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Medians of the steps, alone and beside another busy process."""
    dataset = write_dataset(folder / "rows.parquet", given.rows)
    alone, beside = [], []
    for number in range(given.repeats):
        alone.append(_steps(dataset, given, folder / f"alone-{number}"))
        other = subprocess.Popen([sys.executable, "-c", f"{_BUSY}while True: pass"], stdin=subprocess.PIPE)
        try:
            beside.append(_steps(dataset, given, folder / f"beside-{number}"))
        finally:
            assert other.stdin is not None
            other.stdin.close()
            other.wait()
    per_million = {"alone": _medians(alone, given.rows), "beside": _medians(beside, given.rows)}
    return {"rows": given.rows, "batch_size": given.batch_size, "repeats": given.repeats, "steps": per_million}


def _steps(dataset: Path, given: argparse.Namespace, state: Path) -> dict[str, float]:
    state.mkdir()
    command = [sys.executable, str(SCRIPTS / "steps.py"), str(dataset), str(given.batch_size), str(state)]
    done = subprocess.run(command, env=environment(state), capture_output=True, text=True, check=True)
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return spent


def _medians(measured: list[dict[str, float]], rows: int) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in measured) / rows * 1e6 for name in measured[0]}


def table(facts: dict[str, Any]) -> str:
    """The steps and their sum, those of the loop and their sum, and the floors."""
    alone, beside = facts["steps"]["alone"], facts["steps"]["beside"]
    groups = {kind: [name for name in alone if name.startswith(kind)] for kind in ("loop: ", "floor: ")}
    ours = [name for name in alone if name not in groups["loop: "] + groups["floor: "]]

    def lines(names: list[str], total: str = "") -> list[str]:
        found = [f"{name:34}{alone[name]:>8.2f}{beside[name]:>24.2f}" for name in names]
        sums = [sum(measured[name] for name in names) for measured in (alone, beside)]
        return [*found, f"{total:34}{sums[0]:>8.2f}{sums[1]:>24.2f}"] if total else found

    text = [
        f"CPU seconds per million rows, one thread, {facts['rows']:,} rows in batches of {facts['batch_size']:,}, "
        f"medians of {facts['repeats']}; SQLite, no Airflow, no threads",
        f"{'':34}{'alone':>8}{'beside a busy process':>24}",
        *lines(ours, "sum"),
        *lines(groups["loop: "], "sum of the loop, without HttpHook"),
        *lines(groups["floor: "]),
    ]
    return "\n".join(text) + "\n"
