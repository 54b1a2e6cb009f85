"""Measures what a row costs as imports and the ledger grow."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .dataset import write_dataset
from .filled_ledger import fill_postgres, fill_sqlite
from .script import run
from .servers import connect, connection_of, fresh_state
from .sink_process import running_sink

_BYTES = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname ~ '^capillary_' AND relkind = 'r'"


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Every size of an import on every size of ledger, once: long runs are their own repetition."""
    datasets = {size: folder / f"night-{size}.parquet" for size in given.sizes}
    # A night of its own for each size: none finds its rows accepted already.
    for day, (size, file) in enumerate(datasets.items(), start=1):
        write_dataset(file, size, day=day)
    seed = write_dataset(folder / "seed.parquet", 1)
    rows = [
        one
        for ledger in given.ledgers
        for held in given.ledger_rows
        for one in _on_one_ledger(ledger, held, datasets, seed, given, folder, postgres)
    ]
    return {"batch_size": given.batch_size, "measured": rows}


def _on_one_ledger(
    ledger: str,
    held: int,
    datasets: dict[int, Path],
    seed: Path,
    given: argparse.Namespace,
    folder: Path,
    postgres: Path,
) -> list[dict[str, Any]]:
    state = fresh_state(folder, postgres)
    connection = connection_of(postgres) if ledger == "PostgreSQL" else ""
    rows = []
    with running_sink() as sink:

        def start(dataset: Path, run_id: str) -> Any:
            return run("ours.py", state, dataset, sink.url, given.batch_size, state, connection, 4, run_id)

        start(seed, "seed")
        if held:
            fill_postgres(postgres, held) if connection else fill_sqlite(state / "ledger.db", held)
        size_of = bytes_in_postgres(postgres) if connection else (state / "ledger.db").stat
        for size, dataset in datasets.items():
            facts = start(dataset, str(size))
            rows.append(
                {
                    "ledger": ledger,
                    "ledger_rows": held,
                    "rows": size,
                    "seconds": facts.seconds,
                    "rows_per_second": facts.rows_per_second,
                    "cpu_seconds_per_million": facts.cpu_per_million,
                    "memory_peak_mib": facts.memory_peak / 2**20,
                    "ledger_bytes": _bytes(size_of),
                }
            )
    return rows


def bytes_in_postgres(postgres: Path) -> Callable[[], int]:
    """Ask what the ledger's tables and indexes take on disk."""

    def size() -> int:
        with connect(postgres) as connection:
            found = connection.execute(_BYTES).fetchone()
        assert found is not None
        return int(found[0])

    return size


def _bytes(size_of: Callable[[], Any]) -> int:
    size = size_of()
    return size if isinstance(size, int) else int(size.st_size)


def table(facts: dict[str, Any]) -> str:
    """One line for each size on each ledger."""
    lines = [
        f"Growth; batches of {facts['batch_size']:,}, no latency; the ledger holds rows of the same customers",
        f"{'ledger':12}{'it holds':>12}{'import':>12}{'s':>8}{'rows/s':>10}{'CPU s/M':>9}{'MiB':>7}{'ledger MB':>11}",
    ]
    lines += [
        f"{one['ledger']:12}{one['ledger_rows']:>12,}{one['rows']:>12,}{one['seconds']:>8,.1f}"
        f"{one['rows_per_second']:>10,.0f}{one['cpu_seconds_per_million']:>9.1f}{one['memory_peak_mib']:>7.0f}"
        f"{one['ledger_bytes'] / 1e6:>11,.0f}"
        for one in facts["measured"]
    ]
    return "\n".join(lines) + "\n"
