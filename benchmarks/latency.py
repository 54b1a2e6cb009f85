"""What a server's latency costs: rows a second against the most that so many requests in flight can give."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from .dataset import write_dataset
from .script import run
from .servers import connection_of, fresh_state
from .sink_process import running_sink

LATENCIES_MS = (0, 20, 100)
CONCURRENCIES = (1, 4, 16)


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Every latency with every concurrency, on both ledgers, as medians."""
    rows = [
        _one(ledger, latency, concurrency, given, folder, postgres)
        for ledger in given.ledgers
        for latency in LATENCIES_MS
        for concurrency in CONCURRENCIES
    ]
    return {"rows_per_concurrency": given.latency_rows, "batch_size": given.batch_size, "measured": rows}


def _one(
    ledger: str, latency: int, concurrency: int, given: argparse.Namespace, folder: Path, postgres: Path
) -> dict[str, Any]:
    rows = min(given.latency_rows * concurrency, given.rows)
    dataset = folder / f"{rows}.parquet"
    if not dataset.exists():
        write_dataset(dataset, rows)
    connection = connection_of(postgres) if ledger == "PostgreSQL" else ""
    speeds, cpu = [], []
    with running_sink(latency) as sink:
        for _ in range(given.repeats):
            state = fresh_state(folder, postgres)
            told = run("ours.py", state, dataset, sink.url, given.batch_size, state, connection, concurrency)
            speeds.append(told.rows_per_second)
            cpu.append(told.cpu_per_million)
    return {
        "ledger": ledger,
        "latency_ms": latency,
        "concurrency": concurrency,
        "rows": rows,
        "most_rows_per_second": given.batch_size * concurrency / latency * 1000 if latency else None,
        "rows_per_second": speeds,
        "cpu_seconds_per_million": cpu,
    }


def table(told: dict[str, Any]) -> str:
    """Medians, and their share of batch size x concurrency / latency."""
    lines = [
        f"Latency of the server; batches of {told['batch_size']:,}; share: of batch x concurrency / latency",
        f"{'ledger':12}{'latency ms':>11}{'concurrency':>13}{'rows':>11}{'rows/s':>10}{'share':>8}{'CPU s/M':>9}",
    ]
    for one in told["measured"]:
        speed, most = statistics.median(one["rows_per_second"]), one["most_rows_per_second"]
        share = f"{speed / most:.0%}" if most else ""
        cpu = statistics.median(one["cpu_seconds_per_million"])
        lines.append(
            f"{one['ledger']:12}{one['latency_ms']:>11}{one['concurrency']:>13}{one['rows']:>11,}{speed:>10,.0f}"
            f"{share:>8}{cpu:>9.1f}"
        )
    return "\n".join(lines) + "\n"
