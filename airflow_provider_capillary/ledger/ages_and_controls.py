"""Finds what a read is believed by: how long ago batches were sent, and controls.

Controls are badges that are known to be there. Reading one shows whether reads show what was imported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.moments import Moment, least_seconds_between
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Age, Controls, Job
from airflow_provider_capillary.ledger.listing import badge_ids
from airflow_provider_capillary.ledger.packing import BatchColumns, unpack_ids, unpack_rows
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Found, Rows

MOST_CONTROLS = 3
_BATCHES = 40  # so many are searched, the newest first: enough to find the badge, and quick in any ledger
_ROWS_OF_EACH = 12


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


def find_controls(
    connection: sa.Connection, rows: Rows, job: Job, near: EarnedBadge, *, before: float, now: float
) -> Controls:
    """The best of the newest rows: those of the same badge first, all on the same side of their expiry as ``near``.

    :param before: epoch seconds; they were accepted no later than this.
    """
    names = badge_ids(connection, job.key)
    values = {"organisation": job.organisation_key, "before": before}
    same: list[EarnedBadge] = []
    others: list[EarnedBadge] = []
    for batch in connection.execute(QUERIES["replied_batches"], values | {"limit": _BATCHES}).all():
        for badge in _usable(connection, rows, batch, names, near, now):
            (same if badge.badge_meta_id == near.badge_meta_id else others).append(badge)
        if len(same) >= MOST_CONTROLS:
            break
    next_at = connection.execute(QUERIES["next_replied_batch"], values).scalar()
    return Controls(tuple([*same, *others][:MOST_CONTROLS]), next_at)


def _usable(
    connection: sa.Connection, rows: Rows, batch: sa.Row[Any], names: dict[int, str], near: EarnedBadge, now: float
) -> Iterator[EarnedBadge]:
    """Rows of a batch that can be controls, at most ``_ROWS_OF_EACH``, those of the same badge first."""
    columns = unpack_rows(batch.rows, batch.row_count)
    ids = unpack_ids(batch.ids, batch.row_count)
    is_expired = near.expires_at <= now
    fitting = [at for at in range(batch.row_count) if ids[at] and (columns.expires[at] <= now) == is_expired]
    fitting.sort(key=lambda at: names[columns.badges[at]] != near.badge_meta_id)
    chosen = fitting[:_ROWS_OF_EACH]
    keys = sorted({(columns.customers[at], columns.badges[at], 0) for at in chosen})
    held: dict[tuple[int, int], list[Found]] = {}
    for found in map(Found._make, rows.find(connection, keys, any_date=True)):
        held.setdefault((found.customer, found.badge), []).append(found)
    for at in chosen:
        if _is_latest(columns, at, batch.id, held.get((columns.customers[at], columns.badges[at]), ())):
            yield EarnedBadge(
                columns.numbers[at],
                names[columns.badges[at]],
                columns.customers[at],
                columns.earned[at],
                columns.expires[at],
                columns.occurrences[at],
            )


def _is_latest(columns: BatchColumns, at: int, batch: int, held: Sequence[Found]) -> bool:
    """Whether the row still has its batch's state, and no other row of its customer and badge is as late or later."""
    latest = [row for row in held if row.earned >= columns.earned[at]]
    if len(latest) != 1:
        return False
    (row,) = latest
    key = columns.customers[at], columns.badges[at], columns.earned[at], columns.occurrences[at]
    return row.key == key and row.batch == batch and row.state == RowState.ACCEPTED and not row.is_odd
