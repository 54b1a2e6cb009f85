"""What the ledger holds of given rows, with what a plan needs to know of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import UNPROVEN, RowState
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.packing import Key, unpack_rows
from airflow_provider_capillary.ledger.queries import QUERIES

_BATCHES_IN_MEMORY = 64  # a window's rows come from few batches of the try before
_STATES = {state.value: state for state in RowState}
_NOT_SETTLED = UNPROVEN | {RowState.PLANNED}  # of other rows it does not matter whether their job lives


class Lookup:
    """Finds rows by identity; keeps the numbers of badges, and the row numbers of the batches looked at last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.badge_keys: dict[int, dict[str, int]] = {}  #: name -> number, committed ones only, by organisation
        self._row_numbers: dict[int, dict[Key, int]] = {}

    def find(
        self, connection: sa.Connection, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held of these rows' identities (all occurrences), by ``(customer_id, badge_meta_id)``."""
        rows = EarnedBadges.of(badges)
        ids = self._known_badges(connection, job, set(rows.badge_meta_ids))
        dates = repeat(0) if any_date else rows.earned_at
        every = zip(rows.customer_ids, map(ids.get, rows.badge_meta_ids), dates, strict=False)
        keys = {(customer, badge, date) for customer, badge, date in every if badge is not None}
        names = {key: name for name, key in ids.items()}
        found = self._database.rows.find(connection, sorted(keys), any_date=any_date)
        return self._held(connection, job, found, names)

    def is_living(self, connection: sa.Connection, job: int) -> bool:
        """Whether a process may be at work on a job."""
        values = {"job": job, "now": self._database.now(connection)}
        return connection.execute(QUERIES["living_job"], values).first() is not None

    def _known_badges(self, connection: sa.Connection, job: Job, names: set[str]) -> dict[str, int]:
        """The numbers of those badges that the organisation ever had a row of."""
        known = self.badge_keys.setdefault(job.organisation_key, {})
        for name in names - known.keys():
            values = {"organisation": job.organisation_key, "name": name}
            key = connection.execute(QUERIES["find_badge"], values).scalar()
            if key is not None:
                known[name] = key
        return {name: known[name] for name in names if name in known}

    def _held(
        self, connection: sa.Connection, job: Job, rows: Iterable[tuple[Any, ...]], names: Mapping[int, str]
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held, by customer and badge. One loop and no names for a row's fields: there are many rows."""
        held: dict[tuple[int, str], list[Held]] = {}
        living: dict[int, bool] = {job.key: False}
        for customer, badge, earned, occurrence, batch, said, owner, number, doubt, _, attempt in rows:
            state = _STATES[said]
            alive = False
            if state in _NOT_SETTLED:
                if owner not in living:
                    living[owner] = self.is_living(connection, owner)
                alive = living[owner]
            if number is None and owner == job.key:
                number = self._own_row_numbers(connection, batch)[(customer, badge, earned, occurrence)]
            one = Held(owner, number, state, earned, occurrence, attempt, batch, alive, doubt)
            name = (customer, names[badge])
            if name in held:
                held[name].append(one)
            else:
                held[name] = [one]
        return held

    def _own_row_numbers(self, connection: sa.Connection, batch: int) -> dict[Key, int]:
        """The row numbers of a batch by key, for a retry that looks its own rows up."""
        numbers = self._row_numbers.get(batch)
        if numbers is None:
            found = connection.execute(QUERIES["batch_rows"], {"batch": batch}).one()
            columns = unpack_rows(found.rows, found.row_count)
            numbers = dict(zip(columns.keys(), columns.numbers, strict=True))
            while len(self._row_numbers) >= _BATCHES_IN_MEMORY:
                del self._row_numbers[next(iter(self._row_numbers))]
            self._row_numbers[batch] = numbers
        return numbers
