"""A small warehouse in PostgreSQL, and the comparison that counts: what was earned there, and what was granted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from dev.demo.accounts import SeenGrant
from dev.sample_data.warehouse import BADGES
from dev.simulator_process import SimulatorAccount

ROWS_OF_A_DAY = 50
_TABLE = """
    CREATE TABLE earned_badges (
        earned_on date NOT NULL,
        badge_meta_id text NOT NULL,
        customer_id bigint NOT NULL,
        earn_event_date timestamptz NOT NULL,
        earn_expires_on timestamptz NOT NULL
    )
"""


class Shop:
    """Its customers earn badges every day; no others are in this simulator."""

    def __init__(self, warehouse: psycopg.Connection[Any], simulator: SimulatorAccount) -> None:
        self._warehouse = warehouse
        self._simulator = simulator
        warehouse.execute(_TABLE)

    def open_on(self, days: Iterable[date]) -> None:
        """Let customers earn badges."""
        for day in days:
            for nth in range(ROWS_OF_A_DAY):
                self.earn(day, nth)

    def earn(self, day: date, nth: int) -> None:
        """Let one customer earn one badge."""
        instant = datetime(day.year, day.month, day.day, 9, tzinfo=UTC) + timedelta(seconds=nth)
        badge = list(BADGES.values())[nth % len(BADGES)]
        self._warehouse.execute(
            "INSERT INTO earned_badges VALUES (%s, %s, %s, %s, %s)",
            [day, badge, customer_of(day, nth), instant, instant + timedelta(days=10_000)],
        )

    def earned_on(self, days: Iterable[date]) -> Counter[SeenGrant]:
        """What the warehouse has of these days."""
        rows = self._warehouse.execute(
            "SELECT customer_id, badge_meta_id, extract(epoch FROM earn_event_date)::bigint FROM earned_badges"
            " WHERE earned_on = ANY(%s)",
            [list(days)],
        )
        return Counter(SeenGrant(*row) for row in rows)

    def granted(self) -> Counter[SeenGrant]:
        """What the simulator has granted since it started."""
        return Counter(self._simulator.grants())


def customer_of(day: date, nth: int) -> int:
    """Of each day others: a customer who buys twice would prove less."""
    return day.toordinal() * 1_000 + nth
