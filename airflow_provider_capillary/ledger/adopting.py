"""Rows that another job left without proof become this job's, within the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.changes import Change, LockedBatch, key_values
from airflow_provider_capillary.ledger.facts import IntentConflictError, Job
from airflow_provider_capillary.ledger.packing import Key
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Rows


class Adopted(NamedTuple):
    """A row by its identity, its number in the job that takes it over, and what was held of it when it was planned."""

    key: Key
    row_number: int
    held: Held


def adopt(connection: sa.Connection, tables: Rows, job: Job, rows: Sequence[Adopted]) -> None:
    """Take rows over, all or none. They stay unknown; their batches count as cut off.

    :raises IntentConflictError: a row is not as it was held any more.
    """
    of_batch: dict[int, list[Adopted]] = {}
    for row in rows:
        of_batch.setdefault(row.held.batch, []).append(row)
    for batch, some in sorted(of_batch.items()):
        connection.execute(QUERIES["batch_is_cut_off"], {"batch": batch})
        _adopt_of_batch(connection, LockedBatch(connection, tables, batch), job, some)


def _adopt_of_batch(connection: sa.Connection, batch: LockedBatch, job: Job, rows: Sequence[Adopted]) -> None:
    here = batch.present([row.key for row in rows])
    expires = dict(zip(batch.columns.keys(), batch.columns.expires, strict=True))
    for key, row_number, held in sorted(rows, key=lambda row: row.key):
        odd = batch.odd.get(key)
        owner = odd.job if odd else batch.job
        if key not in here or owner != held.job or batch.state_of(key) is not RowState.UNKNOWN:
            raise IntentConflictError("another job settled a row that was to be taken over")
        if odd:
            values = key_values(key) | {"job": job.key, "row_number": row_number}
            connection.execute(QUERIES["adopt_odd_row"], values)
        else:
            batch.add_odd(Change(key, row_number, expires[key], RowState.UNKNOWN), None, job=job.key)
