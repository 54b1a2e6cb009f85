"""The sample warehouse holds what its description says, each time it is loaded."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from dev.sample_data.corrections import DELETED_BADGE
from dev.sample_data.warehouse import BADGES, capillary_customer_id, load_warehouse

SQL = (Path(__file__).parents[3] / "dags" / "sql" / "earned_badges.sql").read_text("utf-8")
EVERYTHING = {"date_from": "2025-01-01", "date_to": "2026-07-01"}


class Row(NamedTuple):
    badge_meta_id: str | None
    customer_id: str | None
    earn_event_date: str | None
    earn_expires_on: str | None
    note: str


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("warehouse") / "shop.db"
    load_warehouse(path)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


@pytest.fixture(scope="module")
def everything(warehouse: sqlite3.Connection) -> list[Row]:
    return earned(warehouse, **EVERYTHING)


def earned(warehouse: sqlite3.Connection, date_from: str, date_to: str) -> list[Row]:
    return [Row(*row) for row in warehouse.execute(SQL, {"date_from": date_from, "date_to": date_to})]


def test_all_purchases_of_all_customers_are_there(warehouse: sqlite3.Connection) -> None:
    query = "select count(*), count(distinct customer_id), min(purchased_on), max(purchased_on) from purchases"
    assert warehouse.execute(query).fetchone() == (69_659, 23_570, "2025-01-01", "2026-06-30")


def test_purchases_earn_51410_different_badges(everything: list[Row]) -> None:
    from_purchases = [row for row in everything if row.note in BADGES]
    assert Counter(row.note for row in from_purchases) == {
        "first_purchase": 23_570,
        "third_purchase": 7_583,
        "tenth_purchase": 1_154,
        "big_basket": 7_676,
        "century": 6_234,
        "comeback": 5_193,
    }
    assert len({row[:3] for row in from_purchases}) == 51_410


def test_every_earned_badge_can_be_sent(everything: list[Row]) -> None:
    for row in everything:
        if row.note in BADGES:
            assert row.badge_meta_id == BADGES[row.note]
            assert 90_000_000 < int(row.customer_id or 0) < 2**31
            begins = datetime.fromisoformat(row.earn_event_date or "")
            assert begins.utcoffset() is not None
            assert 365 <= (datetime.fromisoformat(row.earn_expires_on or "") - begins).days <= 366


def test_days_add_up_to_the_range(warehouse: sqlite3.Connection) -> None:
    days = ["2025-01-07", "2025-01-08", "2025-01-09", "2025-01-10"]
    singly = [row for day, next_day in pairwise(days) for row in earned(warehouse, day, next_day)]
    assert len(singly) > 500
    assert sorted(singly, key=str) == sorted(earned(warehouse, days[0], days[-1]), key=str)


def test_a_query_repeats_its_rows_and_order(warehouse: sqlite3.Connection) -> None:
    assert earned(warehouse, "2025-01-01", "2025-02-01") == earned(warehouse, "2025-01-01", "2025-02-01")


def test_loading_again_gives_the_same_file_content(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        load_warehouse(tmp_path / "shop.db")
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            contents.append(hash("\n".join(connection.iterdump())))
    assert contents[0] == contents[1]
    assert [path.name for path in tmp_path.iterdir()] == ["shop.db"]


def test_no_two_customers_share_a_capillary_id() -> None:
    assert len({capillary_customer_id(number) for number in range(1, 23_571)}) == 23_570


def _number(text: str | None) -> bool:
    return bool(re.fullmatch(r"-?[0-9]+", text or ""))


BAD_IN_WHICH_WAY: dict[str, Callable[[Row], bool]] = {
    "missing field": lambda row: row.customer_id is None,
    "badgeMetaId not 24 hex": lambda row: not re.fullmatch("[0-9a-f]{24}", row.badge_meta_id or ""),
    "customerId not positive": lambda row: _number(row.customer_id) and int(row.customer_id or 0) <= 0,
    "customerId beyond 64 bits": lambda row: _number(row.customer_id) and int(row.customer_id or 0) >= 2**63,
    "unparsable timestamp": lambda row: "/" in (row.earn_event_date or ""),
    "naive timestamp": lambda row: bool(re.fullmatch(r"[0-9-]+T[0-9:]+", row.earn_event_date or "")),
    "milliseconds": lambda row: bool(re.fullmatch("[0-9]{13}", row.earn_event_date or "")),
    "expiry not after earn date": lambda row: row.earn_expires_on == row.earn_event_date,
    "wrong type": lambda row: row.customer_id == "true",
    "NaN": lambda row: row.customer_id == "NaN",
    "over-long text": lambda row: len(row.badge_meta_id or "") > 255,
    "control characters": lambda row: not (row.customer_id or "").isprintable(),
    "does not have this badge": lambda row: row.badge_meta_id == DELETED_BADGE,
    "duplicate": lambda row: row.note.startswith("duplicate"),
}


@pytest.mark.parametrize("way", BAD_IN_WHICH_WAY)
def test_the_first_quarter_has_each_bad_row(everything: list[Row], way: str) -> None:
    assert [row for row in everything if way in row.note and BAD_IN_WHICH_WAY[way](row)]


def test_corrections_fall_into_the_demos_quarter(warehouse: sqlite3.Connection, everything: list[Row]) -> None:
    query = "select count(*) from badge_corrections where recorded_on between '2025-01-01' and '2025-03-31'"
    assert warehouse.execute(query).fetchone() == (16,)
    assert len([row for row in everything if row.note not in BADGES]) == 16


def test_the_duplicate_repeats_a_badge_that_purchases_earned(everything: list[Row]) -> None:
    [duplicate] = [row for row in everything if row.note.startswith("duplicate")]
    assert [row.note for row in everything if row[:4] == duplicate[:4] and row is not duplicate] == ["first_purchase"]


def test_the_deleted_badge_is_not_listed() -> None:
    assert re.fullmatch("[0-9a-f]{24}", DELETED_BADGE)
    assert DELETED_BADGE not in BADGES.values()
