"""Notes and settles whole batches, those of one transaction together: on PostgreSQL each statement is a trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.queries import QUERIES

_NEW = ("attempt", "row_count", "fingerprint", "request_id", "rows")
_SETTLED = ("batch", "row_count", "state", "proof", "status", "verdict", "ids")


def add_batches(connection: sa.Connection, job: Job, now: Moment, batches: Sequence[dict[str, Any]]) -> list[int]:
    """Note the intents to send batches; give the key of each."""
    values = {"job": job.key, "fence": job.fence, **moment_values(now)}
    if connection.dialect.name == "sqlite":
        return [int(connection.execute(QUERIES["add_batch"], values | batch).scalar_one()) for batch in batches]
    keys = connection.execute(QUERIES["add_batches"], values | _columns(_NEW, batches)).scalars()
    return sorted(keys)  # numbered in the order that was given


def settle_untouched(connection: sa.Connection, now: Moment, batches: Sequence[dict[str, Any]]) -> set[int]:
    """Give all rows of a batch one state; give the batches of which no row had left it or its state before."""
    values = moment_values(now)
    if connection.dialect.name == "sqlite":
        statement = QUERIES["settle_untouched_batch"]
        return {one["batch"] for one in batches if connection.execute(statement, values | one).rowcount == 1}
    if not batches:
        return set()
    found = connection.execute(QUERIES["settle_untouched_batches"], values | _columns(_SETTLED, batches))
    return set(found.scalars())


def moment_values(now: Moment) -> dict[str, Any]:
    """A moment as columns of a batch."""
    return {
        "now": now.at,
        "server": now.server,
        "boot_id": now.boot_id,
        "boot_time": now.boot_seconds,
        "time_of_day": now.time_of_day,
    }


def _columns(names: Sequence[str], batches: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {f"{name}_column": [batch[name] for batch in batches] for name in names}
