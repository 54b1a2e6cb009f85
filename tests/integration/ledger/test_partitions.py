"""The ledger's table divided by month, as docs/partition_ledger.sql does it: everything holds as before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.summary import Summary
from airflow_provider_capillary.simulator.server import RunningSimulator

from .backends import PostgresBackend
from .office import Office

DIVIDE = Path(__file__).parents[3] / "docs" / "partition_ledger.sql"
JANUARY, MAY = 1_736_942_400, 1_747_310_400
ONE_STATEMENT = "SELECT count(*) FROM capillary_earned_badge"


def rows(first: int, earned: int) -> list[dict[str, Any]]:
    badge = {"badgeMetaId": "654e08f2041fd452b3ef5b2e", "earnEventDate": earned, "earnExpiresOn": earned + 31_536_000}
    return [badge | {"customerId": 9_000_000 + number} for number in range(first, first + 40)]


class Shop(Office):
    """Its ledger can be divided."""

    def divide(self) -> None:
        engine = sa.create_engine(self.backend.url)
        with engine.begin() as connection:
            # as psql sends it: several statements, no parameters
            connection.connection.cursor().execute(DIVIDE.read_text("utf-8"))
        engine.dispose()

    def imported(self, run_id: str, rows: list[dict[str, Any]], **settings: Any) -> Summary:
        return self.run(run_id, rows=rows, batch_size=10, **settings).summary

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self.backend.look() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]


@pytest.fixture
def shop(postgres_backend: PostgresBackend, start_capillary_simulator: Callable[..., RunningSimulator]) -> Shop:
    return Shop(postgres_backend, start_capillary_simulator())


def test_a_partitioned_ledger_grants_nothing_twice(shop: Shop) -> None:
    both = rows(0, JANUARY) + rows(0, MAY)
    assert shop.imported("before", both).accepted == 80
    shop.divide()
    assert shop.ask(ONE_STATEMENT) == [(80,)]
    assert shop.ask("SELECT count(*) FROM capillary_earned_badge_2025_01") == [(40,)]

    again = shop.imported("again", both)
    assert (again.already_accepted, again.accepted) == (80, 0)
    shop.simulator.use_faults([{"kind": "drop", "at": "after_applying", "every": 2}])
    reported = shop.imported("more", both + rows(100, MAY + 86_400), max_unknown="100%")
    shop.simulator.use_faults(None)
    assert (reported.already_accepted, reported.accepted) == (80, 40)
    granted = Counter((grant.customer_id, grant.earned_at) for grant in shop.simulator.store.grants())
    assert set(granted.values()) == {1}
    assert len(granted) == 120


def test_a_partitioned_ledger_has_all_indexes(shop: Shop) -> None:
    what = "SELECT split_part(indexdef, ' USING ', 2) FROM pg_indexes WHERE tablename = 'capillary_earned_badge'"
    whole = sorted(shop.ask(what))
    shop.divide()
    assert len(whole) == 1
    assert sorted(shop.ask(what)) == whole


def test_rows_far_from_today_have_a_place_too(shop: Shop) -> None:
    shop.divide()
    assert shop.imported("old", rows(0, 1_500_000_000)).accepted == 40
    assert shop.ask("SELECT count(*) FROM capillary_earned_badge_other") == [(40,)]


def test_no_row_leaves_its_batch_in_any_partition(shop: Shop) -> None:
    shop.imported("before", rows(0, JANUARY))
    shop.divide()
    for table in ("capillary_earned_badge", "capillary_earned_badge_2025_01"):
        with shop.backend.look() as connection, pytest.raises(sa.exc.IntegrityError, match="leaves its batch only"):
            connection.execute(sa.text(f"UPDATE {table} SET batch_id = batch_id + 1"))


def test_the_view_gives_the_rows_of_every_partition(shop: Shop) -> None:
    shop.imported("before", rows(0, JANUARY) + rows(0, MAY))
    shop.divide()
    assert shop.ask("SELECT state, count(*) FROM capillary_row GROUP BY state") == [("accepted", 80)]
