"""Dataset columns -> fields of the earned badge, and the check of one row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from itertools import starmap
from operator import lt
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import (
    EARLIEST_INSTANT,
    LATEST_INSTANT,
    EarnedBadge,
    InvalidRow,
)
from airflow_provider_capillary.core.timestamps import NotAnInstantError, epoch_seconds
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

LARGEST_CUSTOMER_ID = 2**63 - 1
LONGEST_TEXT = 64
_LONG_INTEGER_BITS = 4_000
_LARGEST_EXACT_FLOAT = 2**53
_BADGE_ID = re.compile(r"[0-9a-fA-F]{24}")
_CUSTOMER_ID = re.compile(r"[1-9][0-9]*")

#: API name of a field -> the column names looked for when the mapping does not say.
FIELD_COLUMNS: dict[str, tuple[str, ...]] = {
    "badgeMetaId": ("badgeMetaId", "badge_meta_id"),
    "customerId": ("customerId", "customer_id"),
    "earnEventDate": ("earnEventDate", "earn_event_date", "earnEventDateISO", "earn_event_date_iso"),
    "earnExpiresOn": ("earnExpiresOn", "earn_expires_on", "earnExpiresOnISO", "earn_expires_on_iso"),
}


class Columns(msgspec.Struct, frozen=True):
    """The dataset's column for each field."""

    badge_meta_id: str
    customer_id: str
    earned_at: str
    expires_at: str


def column_choices(field_mapping: Mapping[str, str] | None) -> list[tuple[str, ...]]:
    """Give the acceptable column names of each field, in field order; refuse a mapping with unknown fields."""
    mapping = dict(field_mapping or {})
    by_name = {alias: field for field, aliases in FIELD_COLUMNS.items() for alias in aliases}
    unknown = sorted(set(mapping) - set(by_name))
    if unknown:
        raise ConfigurationError(
            f"field_mapping has unknown field(s) {', '.join(unknown)}; known: {', '.join(FIELD_COLUMNS)}"
        )
    twice = sorted({field for field in FIELD_COLUMNS if sum(by_name[name] == field for name in mapping) > 1})
    if twice:
        raise ConfigurationError(f"field_mapping names a column for {', '.join(twice)} twice; give one")
    chosen = {by_name[name]: column for name, column in mapping.items()}
    return [(chosen[field],) if field in chosen else aliases for field, aliases in FIELD_COLUMNS.items()]


def resolve_columns(choices: Sequence[tuple[str, ...]], found: Sequence[str]) -> Columns:
    """Pick the column of each field among those found; the error names what is missing and what there is."""
    if not found:
        return Columns(*(names[0] for names in choices))  # a dataset without rows may have no columns either
    picked = [next((name for name in names if name in found), None) for names in choices]
    missing = [" or ".join(names) for names, column in zip(choices, picked, strict=True) if column is None]
    if missing:
        raise DatasetError(
            f"the dataset lacks column(s) {'; '.join(missing)}. Found: {', '.join(found) or 'none'}. "
            "Rename the columns or set field_mapping="
        )
    return Columns(*(column for column in picked if column is not None))


class RowReader:
    """Checks rows, column by column, into earned badges or invalid rows, in order."""

    def __init__(self, columns: Columns, zone: tzinfo | None) -> None:
        self._columns = columns
        self._zone = zone
        self._badge_ids: dict[Any, str] = {}

    def read(
        self,
        first_row_number: int,
        badge_ids: Sequence[Any],
        customer_ids: Sequence[Any],
        earned: Sequence[Any],
        expires: Sequence[Any],
    ) -> Iterator[EarnedBadge | InvalidRow]:
        """Give one result for each row. Where all are of plain, good values, no row is looked at by itself."""
        numbers = range(first_row_number, first_row_number + len(badge_ids))
        if self._all_good(badge_ids, customer_ids, earned, expires):
            known = map(self._badge_ids.__getitem__, badge_ids)
            return map(EarnedBadge, numbers, known, customer_ids, earned, expires)
        return starmap(self._row, zip(numbers, badge_ids, customer_ids, earned, expires, strict=True))

    def _all_good(
        self, badge_ids: Sequence[Any], customer_ids: Sequence[Any], earned: Sequence[Any], expires: Sequence[Any]
    ) -> bool:
        """Whether a row by row check would find nothing; the badge ids must have been seen before."""
        lengths = set(map(len, (badge_ids, customer_ids, earned, expires)))
        return (
            lengths == {len(badge_ids)} != {0}
            and set(map(type, customer_ids)) == set(map(type, earned)) == set(map(type, expires)) == {int}
            and set(map(type, badge_ids)) == {str}
            and self._badge_ids.keys() >= set(badge_ids)
            and 0 < min(customer_ids) <= max(customer_ids) <= LARGEST_CUSTOMER_ID
            and min(earned) >= EARLIEST_INSTANT
            and max(expires) < LATEST_INSTANT
            and all(map(lt, earned, expires))
        )

    def _row(
        self, row_number: int, badge_id: Any, customer_id: Any, earned: Any, expires: Any
    ) -> EarnedBadge | InvalidRow:
        """Check one row; one of plain, good values takes a short way through."""
        if (
            type(customer_id) is type(earned) is type(expires) is int
            and type(badge_id) is str
            and badge_id in self._badge_ids
            and 0 < customer_id <= LARGEST_CUSTOMER_ID
            and EARLIEST_INSTANT <= earned < expires < LATEST_INSTANT
        ):
            return EarnedBadge(row_number, self._badge_ids[badge_id], customer_id, earned, expires)
        return self._checked(row_number, badge_id, customer_id, earned, expires)

    def _checked(
        self, row_number: int, badge_id: Any, customer_id: Any, earned: Any, expires: Any
    ) -> EarnedBadge | InvalidRow:
        names = self._columns
        column, value = names.badge_meta_id, badge_id
        try:
            good_badge = _badge_id(badge_id)
            column, value = names.customer_id, customer_id
            good_customer = _customer_id(customer_id)
            column, value = names.earned_at, earned
            earned_at = _instant(earned, self._zone)
            column, value = names.expires_at, expires
            expires_at = _instant(expires, self._zone)
            if expires_at <= earned_at:
                raise _BadValueError("expires not after it was earned; give a later instant")
        except (_BadValueError, NotAnInstantError) as problem:
            return InvalidRow(row_number, column, shortened(value), str(problem))
        if len(self._badge_ids) < 100_000:
            self._badge_ids[badge_id] = good_badge
        return EarnedBadge(row_number, good_badge, good_customer, earned_at, expires_at)


class _BadValueError(ValueError):
    pass


def shortened(value: Any) -> str:
    """Give a value as short printable text, control characters escaped."""
    if isinstance(value, int) and value.bit_length() > _LONG_INTEGER_BITS:
        return f"a whole number of {value.bit_length()} bits"  # Python refuses to write it out
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _text_problem(text: str) -> str | None:
    if len(text) > LONGEST_TEXT:
        return f"is over-long ({len(text)} characters)"
    if not text.isprintable():
        return "holds control characters"
    return None


def _present(value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise _BadValueError("is missing")
    if isinstance(value, (float, Decimal)) and (value.is_nan() if isinstance(value, Decimal) else math.isnan(value)):
        raise _BadValueError("is NaN (not a number)")
    if isinstance(value, str) and (problem := _text_problem(value)):
        raise _BadValueError(problem)
    return value


def _badge_id(value: Any) -> str:
    text = _present(value)
    if not isinstance(text, str):
        raise _BadValueError(f"is of type {type(value).__name__}; give text of 24 hexadecimal digits")
    if not _BADGE_ID.fullmatch(text):
        raise _BadValueError("is not 24 hexadecimal digits, as a badgeMetaId is")
    return text.lower()


def _customer_id(value: Any) -> int:
    number = _present(value)
    if isinstance(number, str):
        if not _CUSTOMER_ID.fullmatch(number):
            raise _BadValueError("is not a positive whole number, as Capillary's own customerId is")
        number = int(number)
    elif isinstance(number, (float, Decimal)):
        number = _exact_integer(number)
    elif isinstance(number, bool) or not isinstance(number, int):
        raise _BadValueError(f"is of type {type(value).__name__}; give a positive whole number")
    if not 0 < number <= LARGEST_CUSTOMER_ID:
        raise _BadValueError("is not a positive 64-bit whole number")
    return number


def _exact_integer(number: float | Decimal) -> int:
    """Warehouses hand out whole numbers as decimals, and as floats where a column has gaps."""
    exact = math.isfinite(number) and number == int(number)
    if not exact or (isinstance(number, float) and abs(number) > _LARGEST_EXACT_FLOAT):
        raise _BadValueError("is not a whole number that can be read without loss")
    return int(number)


def _instant(value: Any, zone: tzinfo | None) -> int:
    return epoch_seconds(_present(value), zone)
