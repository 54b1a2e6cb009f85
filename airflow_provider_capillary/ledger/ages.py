"""When batches were sent, by the clocks that the ledger keeps, and how long ago that is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.moments import Moment, least_seconds_between
from airflow_provider_capillary.ledger.facts import Age
from airflow_provider_capillary.ledger.queries import QUERIES


def moment_values(now: Moment) -> dict[str, Any]:
    """A moment as columns of a batch."""
    return {"now": now.at, "server": now.server, "boot_id": now.boot_id, "boot_time": now.boot_seconds}


def ages_of(connection: sa.Connection, batches: Collection[int], now: Moment) -> dict[int, Age]:
    """How long ago the exchanges of batches were over, or their intents noted where no end was."""
    found = connection.execute(QUERIES["moments_of_batches"], {"batches": sorted(batches)})
    return {
        row.id: Age(
            least_seconds_between(Moment(row.at, row.server, row.boot_id, row.boot_seconds), now), bool(row.is_cut_off)
        )
        for row in found
    }
