"""When batches were sent, by the clocks that the ledger keeps, and how long ago that is."""

from __future__ import annotations

from collections.abc import Callable, Collection

import sqlalchemy as sa

from airflow_provider_capillary.core.moments import Moment, least_seconds_between
from airflow_provider_capillary.ledger.facts import Age
from airflow_provider_capillary.ledger.queries import QUERIES


class Ages:
    """How old batches are. Where no clock can say, they count from when this process first looked.

    After a failover no clock may be left that saw both moments. Every batch that was there at the first look at this
    server is at least as old as that look, so that one wait is enough for all of them.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._newest: int | None = None  #: the newest batch at the first look
        self._server: float | None = None  #: the server that was looked at
        self._looked_at = 0.0

    def of(self, connection: sa.Connection, batches: Collection[int], now: Moment) -> dict[int, Age]:
        """How long ago their exchanges were over, or their intents noted where no end was."""
        if self._newest is None or self._server != now.server:  # another server may give the same numbers anew
            self._newest = int(connection.execute(QUERIES["newest_batch"]).scalar() or 0)
            self._server, self._looked_at = now.server, self._steady()
        seen_for = self._steady() - self._looked_at
        ages: dict[int, Age] = {}
        for row in connection.execute(QUERIES["moments_of_batches"], {"batches": sorted(batches)}):
            then = Moment(row.at, row.server, row.boot_id, row.boot_seconds, row.time_of_day)
            least = least_seconds_between(then, now)
            # An end that this server recorded may have come since the look; one that another did came before it.
            if row.id <= self._newest and (row.is_cut_off or row.server != now.server):
                least = max(least, seen_for)
            ages[row.id] = Age(least, bool(row.is_cut_off))
        return ages
