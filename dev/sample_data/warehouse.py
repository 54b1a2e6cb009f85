"""The sample warehouse: real purchases, made-up badges, and the bad rows that every real warehouse has.

Five tables in one SQLite file, see ``SCHEMA``. Loading is repeatable: the same file content, whenever it is loaded.
"""

from __future__ import annotations

import csv
import gzip
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from airflow_provider_capillary.datasets.storage import whole_file
from dev.sample_data.corrections import corrections

PURCHASES_FILE = Path(__file__).parent / "data" / "purchases.csv.gz"

#: The badges of the sample organisation: name -> ``badgeMetaId``.
BADGES = {
    "first_purchase": "6774a1c0d3f5b2e8a9014c01",
    "third_purchase": "6774a1c0d3f5b2e8a9014c02",
    "tenth_purchase": "6774a1c0d3f5b2e8a9014c03",
    "big_basket": "6774a1c0d3f5b2e8a9014c04",
    "century": "6774a1c0d3f5b2e8a9014c05",
    "comeback": "6774a1c0d3f5b2e8a9014c06",
}
CUSTOMERS = 23_570
FIRST_DAY, LAST_DAY = date(2025, 1, 1), date(2026, 6, 30)

SCHEMA = {
    "purchases": "purchase_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, purchased_on TEXT NOT NULL,"
    " quantity INTEGER NOT NULL, amount_cents INTEGER NOT NULL",
    "customers": "customer_id INTEGER PRIMARY KEY, capillary_customer_id INTEGER NOT NULL UNIQUE",
    "badges": "name TEXT PRIMARY KEY, badge_meta_id TEXT NOT NULL UNIQUE",
    # Warehouses keep a calendar because date arithmetic differs from engine to engine.
    "calendar": "day TEXT PRIMARY KEY, day_number INTEGER NOT NULL UNIQUE, year_later TEXT NOT NULL",
    "badge_corrections": "recorded_on TEXT NOT NULL, badge_meta_id TEXT, customer_id TEXT, earn_event_date TEXT,"
    " earn_expires_on TEXT, note TEXT NOT NULL",
}

Row = tuple[object, ...]


class Purchase(NamedTuple):
    """A purchase of the data set."""

    customer_id: int
    purchased_on: str
    quantity: int
    cents: int


def load_warehouse(path: Path) -> dict[str, int]:
    """Write the sample warehouse to ``path`` and return the rows of each table.

    A warehouse that is already there is replaced in one step, so that a reader never sees half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished, closing(sqlite3.connect(unfinished)) as connection, connection:
        return {table: _fill(connection, table, rows) for table, rows in _tables().items()}


def capillary_customer_id(customer_id: int) -> int:
    """Capillary's id of a customer of the shop: stable, 8 or 9 digits, no two alike."""
    return 90_000_000 + customer_id * 7_919


def purchase_instant(day: date, nth_of_day: int = 1) -> datetime:
    """When a purchase counts: noon UTC, and a minute later for each further purchase of the customer's day.

    The data set knows no time of day. Without the minutes two big baskets of one day would be one badge.
    """
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return noon + timedelta(minutes=nth_of_day - 1)


def _tables() -> dict[str, Iterable[Row]]:
    return {
        "purchases": ((number, *purchase) for number, purchase in enumerate(purchases(), start=1)),
        "customers": ((number, capillary_customer_id(number)) for number in range(1, CUSTOMERS + 1)),
        "badges": BADGES.items(),
        "calendar": _calendar(),
        "badge_corrections": corrections(
            BADGES["first_purchase"],
            customer_id=capillary_customer_id(1),
            earned_at=purchase_instant(FIRST_DAY),
        ),
    }


def _fill(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> int:
    columns = SCHEMA[table]
    connection.execute(f"CREATE TABLE {table} ({columns})")
    places = ", ".join("?" for _ in columns.split(", "))
    return connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows).rowcount


def purchases() -> Iterator[Purchase]:
    """The purchases of the data set, in its order."""
    with gzip.open(PURCHASES_FILE, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            # Cents, because a running sum of floats may stop a hair short of 100 dollars.
            cents = round(float(row["amount"]) * 100)
            yield Purchase(int(row["customer_id"]), row["purchased_on"], int(row["quantity"]), cents)


def _calendar() -> Iterator[Row]:
    for number in range((LAST_DAY - FIRST_DAY).days + 1):
        day = FIRST_DAY + timedelta(days=number)
        yield day.isoformat(), number, day.replace(year=day.year + 1).isoformat()
