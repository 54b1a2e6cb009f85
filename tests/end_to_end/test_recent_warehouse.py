"""The sample warehouse in PostgreSQL reaches up to today, and what it once said of a day it always says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from dev.airflow_home import dags_folder
from dev.sample_data.corrections import DELETED_BADGE
from dev.sample_data.recent_warehouse import load_recent_days
from dev.sample_data.warehouse import BADGES, CUSTOMERS
from dev.stack.local_stack import LocalStack

TODAY = date(2028, 3, 10)  # there is a 29 February among the last 30 days
SQL = (dags_folder() / "sql" / "earned_badges.sql").read_text("utf-8")


class Row(NamedTuple):
    badge_meta_id: str | None
    customer_id: str | None
    earn_event_date: str | None
    earn_expires_on: str | None
    note: str


@pytest.fixture
def warehouse(stack: LocalStack) -> Iterator[psycopg.Connection[Any]]:
    """An empty one."""
    with stack.postgres.connect("warehouse") as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute("SET search_path = shop")
        yield connection
        connection.execute("DROP SCHEMA shop CASCADE")


def earned(warehouse: psycopg.Connection[Any], first: date, last: date) -> list[Row]:
    text = SQL.replace(":date_from", "%(date_from)s").replace(":date_to", "%(date_to)s")
    range_ = {"date_from": str(first), "date_to": str(last + timedelta(days=1))}
    return [Row(*row) for row in warehouse.execute(text.encode(), range_)]


def test_thirty_days_up_to_today_have_badges(
    warehouse: psycopg.Connection[Any],
) -> None:
    first, purchases = load_recent_days(warehouse, TODAY)
    assert first == TODAY - timedelta(days=29)
    assert warehouse.execute("SELECT count(*) FROM purchases").fetchone() == (purchases,)
    assert warehouse.execute("SELECT count(*) FROM customers").fetchone() == (CUSTOMERS,)
    for number in range(30):
        day = first + timedelta(days=number)
        rows = earned(warehouse, day, day)
        good = [row for row in rows if row.note in BADGES]
        assert 20 < len(good) < 400
        assert {(row.earn_event_date or "")[:10] for row in good} == {str(day)}
        assert len(rows) - len(good) <= 1, "more bad rows would fail the run: the budget is 5%"


def test_the_last_week_has_refused_and_invalid_rows(warehouse: psycopg.Connection[Any]) -> None:
    load_recent_days(warehouse, TODAY)
    bad = [row for row in earned(warehouse, TODAY - timedelta(days=7), TODAY) if row.note not in BADGES]
    assert DELETED_BADGE in {row.badge_meta_id for row in bad}
    assert {row.badge_meta_id for row in bad} != {DELETED_BADGE}


def test_a_later_stack_only_adds_days(
    warehouse: psycopg.Connection[Any],
) -> None:
    first, purchases = load_recent_days(warehouse, TODAY)
    said = earned(warehouse, first, TODAY)
    assert load_recent_days(warehouse, TODAY) == (first, purchases)
    later = TODAY + timedelta(days=40)
    first_again, more = load_recent_days(warehouse, later)
    assert first_again == first
    assert more > purchases
    assert earned(warehouse, first, TODAY) == said
    assert earned(warehouse, later, later)


def test_a_clock_that_goes_back_breaks_nothing(warehouse: psycopg.Connection[Any]) -> None:
    loaded = load_recent_days(warehouse, TODAY)
    assert load_recent_days(warehouse, TODAY - timedelta(days=3)) == loaded


def test_the_29th_of_february_expires_on_a_real_day(warehouse: psycopg.Connection[Any]) -> None:
    load_recent_days(warehouse, TODAY)
    [row] = warehouse.execute("SELECT year_later FROM calendar WHERE day = '2028-02-29'").fetchall()
    assert row == ("2029-03-01",)
