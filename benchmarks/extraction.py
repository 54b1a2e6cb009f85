"""From a warehouse's table to Parquet parts: speed and memory of ``SqlToBadgeDatasetOperator``."""

from __future__ import annotations

import argparse
import json
import sqlite3
from pathlib import Path
from typing import Any

from .dataset import BADGES, EARNED, FIRST_CUSTOMER
from .script import run
from .servers import connect, connection_of, fresh_state

_COLUMNS = "badge_meta_id, customer_id, earn_event_date, earn_expires_on"


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Two sizes from each database, in one part and in sixteen."""
    rows = [
        _one(database, size, parts, folder, postgres)
        for database in given.databases
        for size in given.extract_rows
        for parts in (1, 16)
    ]
    return {"measured": rows}


def _one(database: str, rows: int, parts: int, folder: Path, postgres: Path) -> dict[str, Any]:
    state = fresh_state(folder, postgres)
    connection = _MAKERS[database](rows, state, postgres)
    facts = run("extraction.py", state, connection, f"SELECT {_COLUMNS} FROM earned", f"file://{state}/extract", parts)
    assert facts.rows == rows
    return {
        "database": database,
        "rows": rows,
        "parts": parts,
        "rows_per_second": facts.rows_per_second,
        "cpu_seconds_per_million": facts.cpu_per_million,
        "memory_before_mib": facts.memory_before / 2**20,
        "memory_peak_mib": facts.memory_peak / 2**20,
    }


def _in_sqlite(rows: int, state: Path, postgres: Path) -> str:
    file = state / "warehouse.db"
    with sqlite3.connect(file) as warehouse:
        numbers = f"WITH RECURSIVE n(g) AS (SELECT 0 UNION ALL SELECT g + 1 FROM n WHERE g + 1 < {rows})"
        badge = f"'{BADGES[0][:-1]}' || g % 10"
        warehouse.execute(
            f"CREATE TABLE earned AS {numbers} SELECT {badge} AS badge_meta_id, {FIRST_CUSTOMER} + g AS customer_id, "
            f"{EARNED} + g % 86400 AS earn_event_date, {EARNED} + 31536000 AS earn_expires_on FROM n"
        )
    warehouse.close()
    return json.dumps({"conn_type": "sqlite", "host": str(file)})


def _in_duckdb(rows: int, state: Path, postgres: Path) -> str:
    import duckdb

    file = state / "warehouse.duckdb"
    with duckdb.connect(str(file)) as warehouse:
        warehouse.execute(f"CREATE TABLE earned AS SELECT {_EXPRESSIONS} FROM range({rows}) AS n(g)")
    return json.dumps({"conn_type": "duckdb", "host": str(file)})


def _in_postgres(rows: int, state: Path, postgres: Path) -> str:
    with connect(postgres) as warehouse:
        statement = f"CREATE TABLE earned AS SELECT {_EXPRESSIONS} FROM generate_series(0, {rows} - 1) AS n(g)"
        warehouse.execute(statement.encode())
    return connection_of(postgres)


#: Instants of a type of their own, as warehouses have them.
_EXPRESSIONS = (
    f"'{BADGES[0][:-1]}' || (g % 10)::varchar AS badge_meta_id, {FIRST_CUSTOMER} + g AS customer_id, "
    "TIMESTAMPTZ '2025-01-15 12:00:00Z' + g % 86400 * INTERVAL '1 second' AS earn_event_date, "
    "TIMESTAMPTZ '2026-01-15 12:00:00Z' AS earn_expires_on"
)
_MAKERS = {"SQLite": _in_sqlite, "DuckDB": _in_duckdb, "PostgreSQL": _in_postgres}


def table(facts: dict[str, Any]) -> str:
    """One line for each size and number of parts."""
    lines = [
        "Extraction to Parquet",
        f"{'database':12}{'rows':>12}{'parts':>7}{'rows/s':>10}{'CPU s/M':>9}{'MiB before':>12}{'MiB peak':>10}",
    ]
    lines += [
        f"{one['database']:12}{one['rows']:>12,}{one['parts']:>7}{one['rows_per_second']:>10,.0f}"
        f"{one['cpu_seconds_per_million']:>9.1f}{one['memory_before_mib']:>12.0f}{one['memory_peak_mib']:>10.0f}"
        for one in facts["measured"]
    ]
    return "\n".join(lines) + "\n"
