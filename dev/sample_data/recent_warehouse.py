"""The sample warehouse of a local stack: in PostgreSQL, and with purchases up to today.

Each day of the calendar has the purchases of one day of the data set, always of the same one. So a later stack only
adds the days since the last one, and what was granted stays what was earned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import psycopg

from dev.sample_data.corrections import corrections
from dev.sample_data.warehouse import (
    BADGES,
    CUSTOMERS,
    FIRST_DAY,
    LAST_DAY,
    SCHEMA,
    Purchase,
    Row,
    capillary_customer_id,
    purchase_instant,
    purchases,
)

DAYS = 30
# Numbers of purchases and days count from here; any day before the first stack does.
_DAY_ZERO = date(2020, 1, 1)
_MOST_PURCHASES_OF_A_DAY = 10_000

NumberedPurchase = tuple[int, int, str, int, int]


def load_recent_days(connection: psycopg.Connection[Any], today: date, days: int = DAYS) -> tuple[date, int]:
    """Fill the warehouse up to today; give its first day, and how many purchases it has.

    An empty one gets ``days`` days; one that was filled before gets the days that it lacks.
    """
    with connection.transaction():
        for table, columns in SCHEMA.items():
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})".encode())
        first, last = _only_row(connection, "SELECT min(day), max(day) FROM calendar")
        if first is None:
            begin = today - timedelta(days=days - 1)
            _fill_once(connection, begin)
        else:
            begin = date.fromisoformat(last) + timedelta(days=1)
        _add_days(connection, begin, today)
        first_day, count = _only_row(
            connection, "SELECT (SELECT min(day) FROM calendar), (SELECT count(*) FROM purchases)"
        )
    return date.fromisoformat(first_day), int(count)


def purchases_on(day: date, all_purchases: Mapping[date, Sequence[Purchase]]) -> list[NumberedPurchase]:
    """The purchases of a day of the calendar: those of the day of the data set that stands for it."""
    number = (day - _DAY_ZERO).days
    model = FIRST_DAY + timedelta(days=number % ((LAST_DAY - FIRST_DAY).days + 1))
    return [
        (
            number * _MOST_PURCHASES_OF_A_DAY + nth,
            purchase.customer_id,
            day.isoformat(),
            purchase.quantity,
            purchase.cents,
        )
        for nth, purchase in enumerate(all_purchases.get(model, ()), start=1)
    ]


def _fill_once(connection: psycopg.Connection[Any], first_day: date) -> None:
    _copy(connection, "customers", ((number, capillary_customer_id(number)) for number in range(1, CUSTOMERS + 1)))
    _copy(connection, "badges", BADGES.items())
    customer_of_the_shop = min(customer for _, customer, *_ in purchases_on(first_day, _by_day()))
    _copy(connection, "badge_corrections", _spread(first_day, customer_of_the_shop))


def _spread(first_day: date, customer_id: int) -> Iterator[Row]:
    """The bad rows, one every other day, so that most runs have one to report."""
    earned_at = purchase_instant(first_day)
    rows = corrections(BADGES["first_purchase"], customer_id=capillary_customer_id(customer_id), earned_at=earned_at)
    for nth, (_, *values) in enumerate(rows):
        yield (first_day + timedelta(days=nth * (DAYS - 1) // (len(rows) - 1))).isoformat(), *values


def _add_days(connection: psycopg.Connection[Any], begin: date, end: date) -> None:
    new_days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
    if new_days:
        all_purchases = _by_day()
        _copy(connection, "calendar", map(_calendar_row, new_days))
        _copy(connection, "purchases", (row for day in new_days for row in purchases_on(day, all_purchases)))


def _calendar_row(day: date) -> Row:
    try:
        year_later = day.replace(year=day.year + 1)
    except ValueError:  # 29 February
        year_later = date(day.year + 1, 3, 1)
    return day.isoformat(), (day - _DAY_ZERO).days, year_later.isoformat()


def _by_day() -> dict[date, list[Purchase]]:
    found: dict[date, list[Purchase]] = {}
    for purchase in purchases():
        found.setdefault(date.fromisoformat(purchase.purchased_on), []).append(purchase)
    return found


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterable[Row]) -> None:
    with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _only_row(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)
