"""A PostgreSQL ledger of a year, whole and divided by month: what a night's import costs, and how rows are found."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import psycopg

from .dataset import write_dataset
from .filled_ledger import CUSTOMERS, fill_postgres
from .script import run
from .servers import connect, connection_of, fresh_state
from .sink_process import running_sink

DIVIDE = Path(__file__).parents[1] / "docs" / "partition_ledger.sql"
_YEAR = 365  # days
#: As the ledger looks for the rows of a batch: each key alone.
_FIND = """
    EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF)
    SELECT t.batch_id
    FROM (SELECT customer_id, badge_id, earned_at FROM capillary_earned_badge LIMIT 500) AS k
    CROSS JOIN LATERAL (SELECT * FROM capillary_earned_badge e
        WHERE e.customer_id = k.customer_id AND e.badge_id = k.badge_id AND e.earned_at = k.earned_at OFFSET 0) t
"""


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """The same night's import before and after."""
    state = fresh_state(folder, postgres)
    held = max(given.ledger_rows)
    night = given.sizes[min(2, len(given.sizes) - 1)]
    nights = [write_dataset(folder / f"{day}.parquet", night, day=day) for day in (1, 2, 3, 4)]
    found: dict[str, Any] = {"ledger_rows": held, "rows": night, "measured": []}
    with running_sink() as sink, connect(postgres) as ledger:

        def night_s_import(dataset: Path, form: str) -> None:
            facts = run(
                "ours.py", state, dataset, sink.url, given.batch_size, state, connection_of(postgres), 4, dataset.stem
            )
            found["measured"].append(
                {
                    "ledger": form,
                    "rows_per_second": facts.rows_per_second,
                    "cpu_seconds_per_million": facts.cpu_per_million,
                }
            )

        seed = write_dataset(folder / "seed.parquet", 1)
        run("ours.py", state, seed, sink.url, given.batch_size, state, connection_of(postgres), 4, "seed")
        fill_postgres(postgres, held, days_apart=_YEAR // max(1, held // CUSTOMERS))
        found["bytes"] = _number(ledger, "SELECT pg_total_relation_size('capillary_earned_badge')")
        for dataset in nights[:2]:
            night_s_import(dataset, "whole")
        began = time.monotonic()
        with ledger.transaction():
            ledger.execute(DIVIDE.read_bytes())
        found["seconds_to_divide"] = time.monotonic() - began
        found["partitions"] = _number(
            ledger, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'capillary_earned_badge'::regclass"
        )
        for dataset in nights[2:]:
            night_s_import(dataset, "by month")
        plan = [str(line) for (line,) in ledger.execute(_FIND.encode())]
    found["plan"] = _shortened(plan)
    return found


def _number(ledger: psycopg.Connection, statement: str) -> int:
    found = ledger.execute(statement.encode()).fetchone()
    assert found is not None
    return int(found[0])


def _shortened(plan: list[str]) -> list[str]:
    """Without the partitions that were never looked at."""
    kept: list[str] = []
    never = 0
    skipping = False
    for line in plan:
        if "->" in line or not line.startswith(" "):
            skipping = "(never executed)" in line
            never += skipping
        if not skipping:
            kept.append(line)
    return [*kept, f"({never} partitions never executed)"] if never else kept


def table(facts: dict[str, Any]) -> str:
    """The imports, the division, and the plan."""
    lines = [
        f"A PostgreSQL ledger of {facts['ledger_rows']:,} rows of a year, {facts['bytes'] / 1e9:.1f} GB; "
        f"divided into {facts['partitions']} partitions in {facts['seconds_to_divide']:.0f} s",
        f"{'ledger':12}{'import':>12}{'rows/s':>10}{'CPU s/M':>9}",
    ]
    lines += [
        f"{one['ledger']:12}{facts['rows']:>12,}{one['rows_per_second']:>10,.0f}{one['cpu_seconds_per_million']:>9.1f}"
        for one in facts["measured"]
    ]
    return "\n".join([*lines, "How 500 rows are found there:", *facts["plan"]]) + "\n"
