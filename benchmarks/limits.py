"""What is promised in numbers: the cost of random order, of a small import, of the database server, of wide rows.

Each line is a limit that an import keeps. ``--rows`` sets the size; the ledger of the first line holds five times that.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .dataset import write_dataset, write_wide_dataset
from .filled_ledger import fill_sqlite
from .growth import bytes_in_postgres
from .script import Measured, run
from .servers import connection_of, fresh_state, processor_seconds
from .sink_process import running_sink

_SMALL = 10_000


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """All limits, as medians of ``--repeats``."""
    measured: list[dict[str, Any]] = []
    rounds = [_round(given, folder, postgres) for _ in range(given.repeats)]
    for name, (unit, most) in _LIMITS.items():
        values = [one[name] for one in rounds]
        measured.append({"name": name, "unit": unit, "most": most, "values": values})
    return {"rows": given.rows, "batch_size": given.batch_size, "repeats": given.repeats, "measured": measured}


_LIMITS: dict[str, tuple[str, float]] = {
    "random order / customer order, seconds": ("times", 2.5),
    "random order / customer order, CPU": ("times", 2.5),
    "10,000 rows, ledger there": ("s", 0.3),
    "CPU, SQLite ledger": ("s/M", 8.0),
    "CPU, PostgreSQL ledger": ("s/M", 8.0),
    "CPU of the PostgreSQL server": ("s/M", 6.0),
    "disk, SQLite ledger": ("MB/M", 65.0),
    "disk, PostgreSQL ledger": ("MB/M", 160.0),
    "memory of wide rows that are all refused": ("MiB", 150.0),
}


def _round(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, float]:
    with running_sink() as sink:

        def start(state: Path, dataset: Path, run_id: str, connection: str = "") -> Measured:
            return run("ours.py", state, dataset, sink.url, given.batch_size, state, connection, 4, run_id)

        found = _in_a_full_ledger(start, given.rows, folder, postgres)
        found |= _in_an_empty_ledger(start, given.rows, folder, postgres)
    with running_sink(refuse_every=1) as refusing:
        state = fresh_state(folder, postgres)
        wide = write_wide_dataset(folder / "wide.parquet", given.rows)
        facts = run("refused.py", state, wide, refusing.url, given.batch_size, state)
        found["memory of wide rows that are all refused"] = (facts.memory_peak - facts.memory_before) / 2**20
    return found


_Start = Callable[..., Measured]


def _in_a_full_ledger(start: _Start, rows: int, folder: Path, postgres: Path) -> dict[str, float]:
    """The same customers held the same badges on earlier days."""
    state = fresh_state(folder, postgres)
    start(state, write_dataset(folder / "one.parquet", 1), "seed")
    full = folder / "full.db"
    fill_sqlite(state / "ledger.db", 5 * rows)
    shutil.copy(state / "ledger.db", full)
    costs: dict[str, Measured] = {}
    for name, seed in (("sorted", None), ("random", 1)):
        shutil.copy(full, state / "ledger.db")
        dataset = write_dataset(folder / f"{name}.parquet", rows, day=1, shuffled=seed)
        start(state, write_dataset(folder / f"small-{name}.parquet", _SMALL, day=2), "small")
        costs[name] = start(state, dataset, name)
    small = start(state, write_dataset(folder / "small.parquet", _SMALL, day=3), "another small one")
    return {
        "random order / customer order, seconds": costs["random"].seconds / costs["sorted"].seconds,
        "random order / customer order, CPU": costs["random"].cpu / costs["sorted"].cpu,
        "10,000 rows, ledger there": small.seconds,
    }


def _in_an_empty_ledger(start: _Start, rows: int, folder: Path, postgres: Path) -> dict[str, float]:
    state = fresh_state(folder, postgres)
    dataset = write_dataset(folder / "rows.parquet", rows)
    on_sqlite = start(state, dataset, "1")
    before = processor_seconds(postgres)
    on_postgres = start(state, dataset, "1", connection_of(postgres))
    return {
        "CPU, SQLite ledger": on_sqlite.cpu_per_million,
        "CPU, PostgreSQL ledger": on_postgres.cpu_per_million,
        "CPU of the PostgreSQL server": (processor_seconds(postgres) - before) / rows * 1e6,
        "disk, SQLite ledger": (state / "ledger.db").stat().st_size / rows,
        "disk, PostgreSQL ledger": bytes_in_postgres(postgres)() / rows,
    }


def table(facts: dict[str, Any]) -> str:
    """One line for each limit."""
    lines = [
        f"Limits; {facts['rows']:,} rows, batches of {facts['batch_size']:,}, medians of {facts['repeats']}",
        f"{'':42}{'measured':>10}{'at most':>10}",
    ]
    lines += [
        f"{one['name']:42}{statistics.median(one['values']):>10.2f}{one['most']:>10.2f} {one['unit']}"
        for one in facts["measured"]
    ]
    return "\n".join(lines) + "\n"
