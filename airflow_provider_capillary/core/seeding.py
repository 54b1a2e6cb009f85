"""Reads rows that were granted outside the ledger, and decides what each means for the ledger. Pure.

Only a row's identity (badge, customer, earn instant) and its id, if there is one, count. The expiry is not read. An
export may lack it, and a granted row stays granted whatever its expiry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from enum import StrEnum
from typing import Any

import msgspec

from airflow_provider_capillary.core.column_choice import (
    Columns,
    column_choices,
    fitting_columns,
    pick_columns,
    too_many_columns,
)
from airflow_provider_capillary.core.earned_badge import LATEST_INSTANT, EarnedBadge, InvalidRow, RowFault
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.field_values import is_absent, shortened
from airflow_provider_capillary.core.plain_values import BLANKS, plain
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.timestamps import UNITS

#: Names under which exports and the API give the id of an earned badge.
ID_COLUMNS = ("earnedBadgeId", "earned_badge_id", "earnId", "earn_id")
LONGEST_ID = 100
UNKNOWN_EXPIRY = 0  #: of a seeded row, epoch seconds
_FIELDS: tuple[str, ...] = ("badgeMetaId", "customerId", "earnEventDate")
_ID_FIELD = "earnedBadgeId"


class SeedPlan(StrEnum):
    """What to do with a row that a person says was granted."""

    NOTE = "noted as accepted"
    SETTLE = "accepted now: it was sent before, and nothing proved what became of it"
    HELD = "held already: accepted, or accepted once and revoked since"
    IN_FLIGHT = "left alone: a running import has just sent it, and settles it"


def plan_seed(state: RowState | None, *, job_is_alive: bool) -> SeedPlan:
    """Decide on one row.

    Example: the API refused a row last night (rejected), and an export lists it as granted. Another tool granted it
    since, so it is recorded as accepted, and no import sends it again. A row that waits to be sent (planned) is
    recorded even while its job runs: the intent of that job then finds it taken.

    :param state: the row's state in the ledger, ``None`` if the ledger does not hold it.
    :param job_is_alive: whether the job of an unproven row runs.
    """
    if state in (None, RowState.PLANNED, RowState.REJECTED):
        return SeedPlan.NOTE
    if state in (RowState.INTENT, RowState.UNKNOWN):
        return SeedPlan.IN_FLIGHT if job_is_alive else SeedPlan.SETTLE
    return SeedPlan.HELD


class SeedColumns(msgspec.Struct, frozen=True):
    """The dataset's columns; the last two are ``None`` if there are none such."""

    badge_meta_id: str
    customer_id: str
    earned_at: str
    earned_at_iso: str | None = None  #: the same instant in a second form
    earned_badge_id: str | None = None

    def as_dict(self) -> dict[str, str]:
        """The columns by field, for the account."""
        earned = " and ".join(filter(None, (self.earned_at, self.earned_at_iso)))
        chosen = dict(zip(_FIELDS, (self.badge_meta_id, self.customer_id, earned), strict=True))
        return chosen | ({_ID_FIELD: self.earned_badge_id} if self.earned_badge_id else {})


class SeedChoices(msgspec.Struct, frozen=True):
    """Column names that are accepted: for each field that must be there, and for the id."""

    required: tuple[tuple[str, ...], ...]
    ids: tuple[str, ...]
    id_is_required: bool  #: the caller named its column

    def resolve(self, found: Sequence[str]) -> SeedColumns:
        """Pick the column of each field among those found.

        :raises DatasetError: a field has no column, or two; the message names them and what to do.
        """
        if not found:
            return SeedColumns(*(names[0] for names in self.required))  # a dataset without rows may have no columns
        fields, choices = _FIELDS, self.required
        if self.id_is_required:
            fields, choices = (*fields, _ID_FIELD), (*choices, self.ids)
        badge, customer, earned, *_ = pick_columns(fields, choices, found)
        ids = fitting_columns(self.ids, found)
        if len(ids) > 1:
            raise too_many_columns(_ID_FIELD, ids)
        return SeedColumns(
            badge[0], customer[0], earned[0], earned[1] if len(earned) > 1 else None, ids[0] if ids else None
        )


def seed_choices(field_mapping: Mapping[str, str] | None) -> SeedChoices:
    """Give the acceptable column names of each field.

    :param field_mapping: may be that of the import, with ``earnedBadgeId`` added. No column for the expiry is needed.
    :raises ConfigurationError: it has a field that the API does not have, or one field twice.
    """
    mapping = dict(field_mapping or {})
    named = [mapping.pop(name) for name in ID_COLUMNS if name in mapping]
    required = column_choices(mapping)[: len(_FIELDS)]
    return SeedChoices(tuple(required), (named[0],) if named else ID_COLUMNS, bool(named))


class SeedReader:
    """Checks the rows of one window after the other.

    :param zone: for instants that have none; ``None``: such rows are invalid.
    :param unit: of instants that are numbers, ``s`` or ``ms``.
    """

    def __init__(self, columns: SeedColumns, zone: tzinfo | None, unit: str) -> None:
        names = Columns(columns.badge_meta_id, columns.customer_id, columns.earned_at, "", columns.earned_at_iso)
        self._reader = RowReader(names, zone, unit)
        self._late = (LATEST_INSTANT - 1) * UNITS[unit]  # so that no row fails for its expiry
        self._id_name = columns.earned_badge_id or ""

    def read(
        self,
        first_row_number: int,
        badge_ids: Sequence[Any],
        customer_ids: Sequence[Any],
        earned: Sequence[Any],
        earned_iso: Sequence[Any],
        ids: Sequence[Any],
    ) -> tuple[EarnedBadges, list[str | None], list[InvalidRow]]:
        """Give the good rows, the id of each, and the invalid rows.

        :param ids: empty if there is no such column.
        """
        expires = [self._late] * len(badge_ids)
        rows = self._reader.read(first_row_number, badge_ids, customer_ids, earned, expires, earned_iso)
        if isinstance(rows, EarnedBadges) and _all_plain(ids):
            return _without_expiry(rows), list(ids) or [None] * len(rows), []
        return self._one_by_one(rows, first_row_number, ids)

    def _one_by_one(
        self, rows: Iterable[EarnedBadge | InvalidRow], first: int, ids: Sequence[Any]
    ) -> tuple[EarnedBadges, list[str | None], list[InvalidRow]]:
        good: list[EarnedBadge] = []
        good_ids: list[str | None] = []
        invalid: list[InvalidRow] = []
        for row in rows:
            value = plain(ids[row.row_number - first]) if ids else None
            reason = _wrong_with_id(value)
            if reason is None and isinstance(row, EarnedBadge):
                good.append(row)
                good_ids.append(None if is_absent(value) else str(value).strip(BLANKS))
                continue
            faults = row.faults if isinstance(row, InvalidRow) else ()
            more = () if reason is None else (RowFault(self._id_name, shortened(value), reason),)
            invalid.append(InvalidRow(row.row_number, (*faults, *more)))
        return _without_expiry(EarnedBadges.of(good)), good_ids, invalid


def _all_plain(ids: Sequence[Any]) -> bool:
    if not ids:
        return True
    if set(map(type, ids)) != {str}:
        return False
    joined = "".join(ids)
    return joined.isalnum() and joined.isascii() and 0 < min(map(len, ids)) <= max(map(len, ids)) <= LONGEST_ID


def _wrong_with_id(value: Any) -> str | None:
    """Why the value is no id, or ``None``. A missing id is none of the row's faults: it is as good as granted."""
    if is_absent(value):
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return f"is of type {type(value).__name__}; give the id as text"
    text = str(value).strip(BLANKS)
    if len(text) > LONGEST_ID or not text.isprintable():
        return f"is no id: at most {LONGEST_ID} printable characters"
    return None


def _without_expiry(rows: EarnedBadges) -> EarnedBadges:
    expiries = [UNKNOWN_EXPIRY] * len(rows)
    return EarnedBadges(rows.row_numbers, rows.badge_meta_ids, rows.customer_ids, rows.earned_at, expiries)
