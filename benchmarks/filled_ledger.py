"""A ledger that holds many rows already: one import's row, multiplied by the database itself.

The rows are those of the same customers on earlier days, so that a new night's rows land between them. They all stand
with the one batch of that import.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .dataset import FIRST_CUSTOMER
from .servers import connect

CUSTOMERS = 10_000_000
_TABLE = "capillary_earned_badge"
_AT_ONCE = 1_000_000


def fill_sqlite(file: Path, rows: int, *, days_apart: int = 1) -> None:
    """Add the rows, without the triggers, whose question is answered once for all of them here."""
    with sqlite3.connect(file, isolation_level=None) as ledger:
        triggers = ledger.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        columns = [name for _, name, *_ in ledger.execute(f"PRAGMA table_info({_TABLE})")]
        numbers = "WITH RECURSIVE n(g) AS (SELECT ? UNION ALL SELECT g + 1 FROM n WHERE g + 1 < ?)"
        ledger.execute("PRAGMA synchronous = OFF")
        for name, _ in triggers:
            ledger.execute(f"DROP TRIGGER {name}")
        one = f"(SELECT * FROM {_TABLE} LIMIT 1) t"
        statement = f"{numbers} {_multiplied(columns, days_apart)} FROM n CROSS JOIN {one} WHERE true"
        for first in range(0, rows, _AT_ONCE):
            ledger.execute(f"INSERT INTO {_TABLE} {statement}", [first, min(rows, first + _AT_ONCE)])
        for _, text in triggers:
            ledger.execute(text)
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()


def fill_postgres(postgres: Path, rows: int, *, days_apart: int = 1) -> None:
    """The same there; its statistics are brought up to date, as its own service does after a while."""
    with connect(postgres) as ledger:
        found = ledger.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum",
            [_TABLE],
        )
        columns = [str(name) for (name,) in found]
        ledger.execute("SET session_replication_role = replica")
        for first in range(0, rows, _AT_ONCE):
            last = min(rows, first + _AT_ONCE) - 1
            statement = f"{_multiplied(columns, days_apart)} FROM generate_series({first}, {last}) AS n(g)"
            one = f"(SELECT * FROM {_TABLE} LIMIT 1) t"
            ledger.execute(f"INSERT INTO {_TABLE} {statement} CROSS JOIN {one}".encode())
        ledger.execute(f"VACUUM ANALYZE {_TABLE}".encode())
        ledger.execute("CHECKPOINT")


def _multiplied(columns: list[str], days_apart: int) -> str:
    instead = {
        "customer_id": f"{FIRST_CUSTOMER} + g % {CUSTOMERS}",
        "earned_at": f"t.earned_at - {86_400 * days_apart} * (1 + g / {CUSTOMERS})",
    }
    return f"SELECT {', '.join(instead.get(name, f't.{name}') for name in columns)}"
