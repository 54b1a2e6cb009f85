"""Records rows as granted outside this ledger, within the caller's transaction.

A seeded row is accepted with the proof ``seed``. Its batch was never sent. The schema requires that every batch begins
as an intent, so it does, and is accepted in the same transaction. No other process ever sees the intent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.seeding import SeedPlan, plan_seed
from airflow_provider_capillary.exceptions import JobIsRunningError
from airflow_provider_capillary.ledger import settling
from airflow_provider_capillary.ledger.changes import Transaction, take_out
from airflow_provider_capillary.ledger.facts import Proof, Settled, UnprovenRow
from airflow_provider_capillary.ledger.given_ids import WholeRow, whole_row
from airflow_provider_capillary.ledger.packing import (
    Key,
    KeyColumns,
    NewRows,
    columns_of,
    pack_ids,
    pack_rows,
    storable_all,
)
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.recording import add_batches
from airflow_provider_capillary.ledger.rows import Found

BATCH_ROWS = 1_000  #: rows of one batch; few, because a later look at one row unpacks all rows of its batch
SEEDED = "granted outside this ledger, as {} says"


class Seed(msgspec.Struct, frozen=True):
    """Rows to record, the id of each if it is known, and who says that they were granted."""

    badges: EarnedBadges
    ids: Sequence[str | None]
    by: str


class Seeding:
    """The seeding of one transaction, which has numbered the badges of all rows.

    :param is_living: whether a job, by its number, runs.
    """

    def __init__(self, transaction: Transaction, is_living: Callable[[int], bool]) -> None:
        self._in = transaction
        self._now = transaction.now.at
        self._is_living = is_living

    def seed(self, given: Seed) -> Counter[SeedPlan]:
        """Note the rows; give how many ended in which way.

        :raises IntentConflictError: an import took some of them meanwhile; nothing was noted.
        """
        rows = given.badges
        badges = map(self._in.badge_keys.__getitem__, rows.badge_meta_ids)
        occurrences = rows.occurrences or repeat(1)
        keys: list[Key] = list(zip(rows.customer_ids, badges, rows.earned_at, occurrences, strict=False))
        self._in.rows.lock(self._in.connection, sorted(keys))
        every = map(Found._make, self._in.rows.find(self._in.connection, sorted(keys), any_date=False))
        held = {row.key: row for row in every}
        if not held:
            self._note(rows, given.ids, keys, held, given.by)
            return Counter({SeedPlan.NOTE: len(rows)})
        plans = [self._plan(held.get(key)) for key in keys]
        chosen = [plan is SeedPlan.NOTE for plan in plans]
        ids = [one for one, is_chosen in zip(given.ids, chosen, strict=True) if is_chosen]
        new = [key for key, is_chosen in zip(keys, chosen, strict=True) if is_chosen]
        self._note(rows.where(chosen), ids, new, held, given.by)
        counts = Counter(plans)
        unproven = {
            key: earned_badge_id
            for key, earned_badge_id, plan in zip(keys, given.ids, plans, strict=True)
            if plan is SeedPlan.SETTLE
        }
        settled = self._settle(unproven, given.by) if unproven else 0
        counts[SeedPlan.SETTLE] = settled
        counts[SeedPlan.IN_FLIGHT] += len(unproven) - settled
        return counts

    def _plan(self, found: Found | None) -> SeedPlan:
        if found is None:
            return SeedPlan.NOTE
        alive = found.state in (RowState.INTENT, RowState.UNKNOWN) and self._is_living(found.job)
        return plan_seed(RowState(found.state), job_is_alive=alive)

    def _note(
        self, rows: EarnedBadges, ids: Sequence[str | None], keys: Sequence[Key], held: Mapping[Key, Found], by: str
    ) -> None:
        """Note rows that the ledger does not hold, and take those that are free into the same batches."""
        parts = [slice(start, start + BATCH_ROWS) for start in range(0, len(rows), BATCH_ROWS)]
        values = [self._batch_values(rows[part], by) for part in parts]
        batches = add_batches(self._in.connection, self._in.job, Moment(self._now), values)
        new: list[NewRows] = []
        for batch, part in zip(batches, parts, strict=True):
            of_part = sorted(keys[part])
            new.append(NewRows(batch, KeyColumns.of([key for key in of_part if key not in held])))
            if free := [held[key] for key in of_part if key in held]:
                take_out(self._in.connection, self._in.rows, free, batch)
        self._in.rows.insert(self._in.connection, new)
        for batch, part in zip(batches, parts, strict=True):
            packed = pack_ids(storable_all(ids[part]))
            self._in.connection.execute(
                QUERIES["accept_seeded_batch"], {"batch": batch, "ids": packed, "now": self._now}
            )

    def _batch_values(self, rows: EarnedBadges, by: str) -> dict[str, Any]:
        return {
            "attempt": 0,
            "row_count": len(rows),
            "fingerprint": "",
            "request_id": f"seeded by {by}",
            "rows": pack_rows(columns_of(rows, self._in.badge_keys)),
        }

    # -- rows that an earlier import left without proof --------------------------------------------------------------

    def _settle(self, unproven: Mapping[Key, str | None], by: str) -> int:
        """Accept rows that dead or finished jobs left without proof, in those jobs' own accounts; give how many."""
        of_job: dict[int, list[WholeRow]] = {}
        for key in sorted(unproven):
            if (row := whole_row(self._in.connection, key)) is not None:
                of_job.setdefault(row.job, []).append(row)
        return sum(self._settle_job(job, rows, unproven, by) for job, rows in sorted(of_job.items()))

    def _settle_job(self, key: int, rows: Sequence[WholeRow], ids: Mapping[Key, str | None], by: str) -> int:
        job_id = str(self._in.connection.execute(QUERIES["job_id_of_key"], {"job": key}).scalar_one())
        try:
            job = settling.take_stock(self._in.connection, job_id, self._now)
        except JobIsRunningError:  # it began again since it was looked at
            return 0
        names = {number: name for name, number in self._in.badge_keys.items()}
        settled = [
            Settled(_unproven(row, names), RowState.ACCEPTED, SEEDED.format(by), ids[row.key] or row.earned_badge_id)
            for row in rows
        ]
        return len(
            settling.settle(self._in.connection, self._in.rows, job, settled, proof=Proof.SEED, by=by, now=self._now)
        )


def _unproven(row: WholeRow, names: Mapping[int, str]) -> UnprovenRow:
    customer, badge_key, earned_at, occurrence = row.key
    badge = EarnedBadge(row.row_number, names[badge_key], customer, earned_at, row.expires_at, occurrence)
    return UnprovenRow(badge, badge_key, row.batch, RowState.UNKNOWN, 0, "", None, row.earned_badge_id)
