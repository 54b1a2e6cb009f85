"""What a server's latency costs: rows a second against the most that so many requests in flight can give.

Shares are given of the whole import, and of the middle three fifths of its answers, without beginning and end.
"""

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
    speeds, cpu, steady, rest = [], [], [], []
    with running_sink(latency) as sink:
        for _ in range(given.repeats):
            state = fresh_state(folder, postgres)
            sink.reset()
            facts = run("ours.py", state, dataset, sink.url, given.batch_size, state, connection, concurrency)
            speeds.append(facts.rows_per_second)
            cpu.append(facts.cpu_per_million)
            moments = sink.answered()
            steady.append(_middle(moments, given.batch_size))
            rest.append(facts.seconds - (moments[-1] - moments[0]))
    return {
        "ledger": ledger,
        "latency_ms": latency,
        "concurrency": concurrency,
        "rows": rows,
        "most_rows_per_second": given.batch_size * concurrency / latency * 1000 if latency else None,
        "rows_per_second": speeds,
        "cpu_seconds_per_million": cpu,
        "steady_rows_per_second": steady,
        "seconds_before_the_first_and_after_the_last_answer": rest,
    }


def _middle(moments: list[float], batch_size: int) -> float:
    """Rows a second between the first and the last fifth of the answers: without beginning and end."""
    fifth = len(moments) // 5
    middle = sorted(moments)[fifth : len(moments) - fifth]
    return (len(middle) - 1) * batch_size / (middle[-1] - middle[0]) if len(middle) > 1 else 0.0


def table(facts: dict[str, Any]) -> str:
    """Medians, their share of batch size x concurrency / latency, and that of the steady middle three fifths."""
    lines = [
        f"Latency of the server; batches of {facts['batch_size']:,}; share: of batch x concurrency / latency",
        f"{'ledger':12}{'latency ms':>11}{'concurrency':>13}{'rows':>11}{'rows/s':>10}{'share':>8}{'steady':>8}"
        f"{'ends s':>8}{'CPU s/M':>9}",
    ]
    for one in facts["measured"]:
        speed, most = statistics.median(one["rows_per_second"]), one["most_rows_per_second"]
        share = f"{speed / most:.0%}" if most else ""
        steady = f"{statistics.median(one['steady_rows_per_second']) / most:.1%}" if most else ""
        ends = statistics.median(one["seconds_before_the_first_and_after_the_last_answer"])
        cpu = statistics.median(one["cpu_seconds_per_million"])
        lines.append(
            f"{one['ledger']:12}{one['latency_ms']:>11}{one['concurrency']:>13}{one['rows']:>11,}{speed:>10,.0f}"
            f"{share:>8}{steady:>8}{ends:>8.2f}{cpu:>9.1f}"
        )
    return "\n".join(lines) + "\n"
