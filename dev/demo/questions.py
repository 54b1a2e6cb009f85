"""What the demo asks the sample warehouse itself, without Airflow, to have something to compare with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from dev.demo.accounts import SeenGrant
from dev.sample_data.warehouse import BADGES


def rows_of_the_range(warehouse: Path, sql: str, date_from: str, date_to: str) -> tuple[int, frozenset[SeenGrant]]:
    """Run the DAG's own query: how many rows it gives, and which badges the purchases among them earned.

    Corrections are left out of the second: all of them are bad rows, or repeat a badge that purchases earned.
    """
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute(sql, {"date_from": date_from, "date_to": date_to}).fetchall()
    earned = frozenset(
        SeenGrant(int(customer), badge, int(datetime.fromisoformat(earned_at).timestamp()))
        for badge, customer, earned_at, _expires, note in rows
        if note in BADGES
    )
    return len(rows), earned
