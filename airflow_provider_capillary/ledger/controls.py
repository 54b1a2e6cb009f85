"""Finds controls: badges that are known to be there. Reading one shows whether reads show what was imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Controls, Job
from airflow_provider_capillary.ledger.packing import BatchColumns, unpack_ids, unpack_rows
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Found, Rows

MOST = 3
_BATCHES = 40  # so many are searched, the newest first: enough to find the badge, and quick in any ledger
_ROWS_OF_EACH = 12


def find_controls(
    connection: sa.Connection, rows: Rows, job: Job, near: EarnedBadge, *, before: float, now: float
) -> Controls:
    """The best of the newest rows: those of the same badge first, all on the same side of their expiry as ``near``.

    :param before: epoch seconds; they were accepted no later than this.
    """
    names = {row.id: row.badge_meta_id for row in connection.execute(QUERIES["badge_names"], {"job": job.key})}
    values = {"organisation": job.organisation_key, "before": before}
    same: list[EarnedBadge] = []
    others: list[EarnedBadge] = []
    for batch in connection.execute(QUERIES["replied_batches"], values | {"limit": _BATCHES}).all():
        for badge in _usable(connection, rows, batch, names, near, now):
            (same if badge.badge_meta_id == near.badge_meta_id else others).append(badge)
        if len(same) >= MOST:
            break
    next_at = connection.execute(QUERIES["next_replied_batch"], values).scalar()
    return Controls(tuple([*same, *others][:MOST]), next_at)


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
