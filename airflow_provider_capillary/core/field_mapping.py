"""Dataset columns -> fields of the earned badge, and the check of one row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from itertools import chain, repeat, starmap
from operator import lt
from typing import Any, TypeVar

import msgspec

from airflow_provider_capillary.core.earned_badge import (
    EARLIEST_INSTANT,
    LATEST_INSTANT,
    EarnedBadge,
    Fault,
    InvalidRow,
)
from airflow_provider_capillary.core.plain_values import FLOAT_LIMITS, OddValue, plain, text_of_any
from airflow_provider_capillary.core.timestamps import UNITS, NotAnInstantError, epoch_seconds
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

T = TypeVar("T")

LARGEST_CUSTOMER_ID = 2**63 - 1
LONGEST_TEXT = 64
_LONG_INTEGER_BITS = 4_000
_FLOAT_LIMIT = FLOAT_LIMITS[8]
_BADGE_ID = re.compile(r"[0-9a-fA-F]{24}")
_CUSTOMER_ID = re.compile(r"([1-9][0-9]*)(\.0+)?")  # the zeros behind a point are pandas', of a column with gaps
_EXPONENT = re.compile(r"[0-9.,]+[eE]\+?[0-9]+")
_SEPARATED = re.compile(r"[0-9]{1,3}([., '_][0-9]{2,3})+")

#: API name of a field -> the column names looked for when the mapping does not say.
FIELD_COLUMNS: dict[str, tuple[str, ...]] = {
    "badgeMetaId": ("badgeMetaId", "badge_meta_id"),
    "customerId": ("customerId", "customer_id"),
    "earnEventDate": ("earnEventDate", "earn_event_date", "earnEventDateISO", "earn_event_date_iso"),
    "earnExpiresOn": ("earnExpiresOn", "earn_expires_on", "earnExpiresOnISO", "earn_expires_on_iso"),
}


class Columns(msgspec.Struct, frozen=True):
    """The dataset's column for each field, and a second one where the dataset gives an instant in two forms."""

    badge_meta_id: str
    customer_id: str
    earned_at: str
    expires_at: str
    earned_at_iso: str | None = None
    expires_at_iso: str | None = None


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


def fitting_columns(names: Sequence[str], found: Sequence[str]) -> list[str]:
    """Give the columns found that have one of these names, apart from case, blanks and underscores.

    A single name that is there to the letter is that column alone.
    """
    if len(names) == 1 and names[0] in found:
        return [names[0]]
    wanted = dict.fromkeys(map(_folded, names))
    return [column for name in wanted for column in found if _folded(column) == name]


def resolve_columns(choices: Sequence[tuple[str, ...]], found: Sequence[str]) -> Columns:
    """Pick the column of each field among those found.

    An instant may be there as epoch and as ISO text: then both are picked, to be compared row by row.

    :raises DatasetError: a field has no column, or two; the message names them and what to do.
    """
    if not found:
        return Columns(*(names[0] for names in choices))  # a dataset without rows may have no columns either
    picked = [fitting_columns(names, found) for names in choices]
    missing = [" or ".join(names) for names, columns in zip(choices, picked, strict=True) if not columns]
    if missing:
        raise DatasetError(
            f"the dataset lacks column(s) {'; '.join(missing)}. Found: {', '.join(found) or 'none'}. "
            "Rename the columns or set field_mapping="
        )
    for field, columns in zip(FIELD_COLUMNS, picked, strict=True):
        _refuse_two(field, columns)
    first = [columns[0] for columns in picked]
    return Columns(*first, *(columns[1] if len(columns) > 1 else None for columns in picked[2:]))


def _folded(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").split())


def _refuse_two(field: str, columns: Sequence[str]) -> None:
    forms = [_folded(column) for column in columns]
    if len(set(forms)) < len(forms):
        raise DatasetError(
            f"the dataset has {len(columns)} columns for {field}: {', '.join(map(repr, columns))}. Name the one to "
            f"use, as in field_mapping={{{field!r}: {columns[0]!r}}}, or leave the other out"
        )


class RowReader:
    """Checks rows, column by column, into earned badges or invalid rows, in order.

    :param zone: of instants without one; without it they are invalid.
    :param unit: of instants that are numbers, ``s`` or ``ms``.
    """

    def __init__(self, columns: Columns, zone: tzinfo | None, unit: str = "s") -> None:
        self._columns = columns
        self._zone = zone
        self._per_second = UNITS[unit]
        self._badge_ids: dict[Any, str] = {}

    def read(
        self,
        first_row_number: int,
        badge_ids: Sequence[Any],
        customer_ids: Sequence[Any],
        earned: Sequence[Any],
        expires: Sequence[Any],
        earned_iso: Sequence[Any] = (),
        expires_iso: Sequence[Any] = (),
    ) -> Iterator[EarnedBadge | InvalidRow]:
        """Give one result for each row. Where all are of plain, good values, no row is looked at alone.

        :param earned_iso: the same instants as ``earned``, where the dataset has them in a second form.
        :param expires_iso: likewise.
        """
        numbers = range(first_row_number, first_row_number + len(badge_ids))
        if not any(value is not None for value in chain(earned_iso, expires_iso)):
            earned_at, expires_at = self._in_seconds(earned), self._in_seconds(expires)
            if self._all_good(badge_ids, customer_ids, earned_at, expires_at):
                known = map(self._badge_ids.__getitem__, badge_ids)
                return map(EarnedBadge, numbers, known, customer_ids, earned_at, expires_at)
            check = self._row if self._per_second == 1 else self._checked
            return starmap(check, zip(numbers, badge_ids, customer_ids, earned, expires, strict=True))
        columns = (
            numbers, badge_ids, customer_ids, earned, expires,
            earned_iso or repeat(None, len(numbers)),
            expires_iso or repeat(None, len(numbers)),
        )  # fmt: skip
        return starmap(self._examined, zip(*columns, strict=True))

    def _in_seconds(self, instants: Sequence[Any]) -> Sequence[Any]:
        if self._per_second == 1 or set(map(type, instants)) != {int}:
            return instants
        return [instant // self._per_second for instant in instants]

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
        """Check one row whose values may be of any class; a good one takes the short way."""
        try:
            known = self._badge_ids.get(badge_id) if type(badge_id) is str else None
            good_badge = known or self._remembered(badge_id)
            good_customer = _customer_id(plain(customer_id))
            earned_at = _instant(plain(earned), self._zone, self._per_second)
            expires_at = _instant(plain(expires), self._zone, self._per_second)
        except (_BadValueError, NotAnInstantError):
            expires_at = earned_at = 0  # what is wrong, in this value and in others, is found below
        if expires_at > earned_at:
            return EarnedBadge(row_number, good_badge, good_customer, earned_at, expires_at)
        return self._examined(row_number, badge_id, customer_id, earned, expires, None, None)

    def _remembered(self, badge_id: Any) -> str:
        text = plain(badge_id)
        good = _badge_id(text)
        if len(self._badge_ids) < 100_000:
            self._badge_ids[text] = good
        return good

    def _examined(
        self,
        row_number: int,
        badge_id: Any,
        customer_id: Any,
        earned: Any,
        expires: Any,
        earned_iso: Any,
        expires_iso: Any,
    ) -> EarnedBadge | InvalidRow:
        """Check one row value by value, and name every fault of it."""
        names, faults = self._columns, _Faults()
        good_badge = faults.read(names.badge_meta_id, badge_id, self._remembered)
        good_customer = faults.read(names.customer_id, customer_id, _customer_id)
        earned_at = self._one_instant(faults, (names.earned_at, earned), (names.earned_at_iso, earned_iso))
        expires_at = self._one_instant(faults, (names.expires_at, expires), (names.expires_at_iso, expires_iso))
        if earned_at is not None and expires_at is not None and expires_at <= earned_at:
            faults.add(names.expires_at, expires, "expires not after it was earned; give a later instant")
        if good_badge is None or good_customer is None or earned_at is None or expires_at is None or faults.found:
            return InvalidRow(row_number, tuple(faults.found))
        return EarnedBadge(row_number, good_badge, good_customer, earned_at, expires_at)

    def _one_instant(self, faults: _Faults, given: tuple[str, Any], again: tuple[str | None, Any]) -> int | None:
        """Read an instant that a row may give in two forms, which must then say the same second."""
        read = partial(_instant, zone=self._zone, per_second=self._per_second)
        (column, value), (iso_column, iso_value) = given, again
        if iso_column is None or _is_absent(iso_value):
            return faults.read(column, value, read)
        iso_instant = faults.read(iso_column, iso_value, read)
        if _is_absent(value):
            return iso_instant
        instant = faults.read(column, value, read)
        if instant is not None and iso_instant is not None and instant != iso_instant:
            other = f"{iso_column} {shortened(iso_value)!r}"
            faults.add(column, value, f"and {other} are two instants; correct one, or name one in field_mapping")
        return instant


class _Faults:
    """Gathers what is wrong with a row, so that a person learns all of it at once."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def read(self, column: str, value: Any, read: Callable[[Any], T]) -> T | None:
        """Give what ``read`` makes of the value, or ``None`` after noting why it cannot."""
        try:
            return read(plain(value))
        except (_BadValueError, NotAnInstantError) as problem:
            self.add(column, value, str(problem))
            return None

    def add(self, column: str, value: Any, reason: str) -> None:
        """Note a fault."""
        self.found.append(Fault(column, shortened(value), reason))


class _BadValueError(ValueError):
    pass


def shortened(value: Any) -> str:
    """Give a value as short printable text, control characters escaped."""
    if isinstance(value, int) and value.bit_length() > _LONG_INTEGER_BITS:
        return f"a whole number of {value.bit_length()} bits"  # Python refuses to write it out
    value = plain(value)
    text = value.text if isinstance(value, OddValue) else value if isinstance(value, str) else _written(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _written(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the value's own class decides what is raised
        return text_of_any(value)


def _text_problem(text: str) -> str | None:
    if len(text) > LONGEST_TEXT:
        return f"is over-long ({len(text)} characters)"
    if not text.isprintable():
        return "holds control characters"
    return None


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _present(value: Any) -> Any:
    if isinstance(value, OddValue):
        raise _BadValueError(value.reason)
    if _is_absent(value):
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
    text = text.strip(" ")
    if not _BADGE_ID.fullmatch(text):
        raise _BadValueError("is not 24 hexadecimal digits, as a badgeMetaId is")
    return text.lower()


def _customer_id(value: Any) -> int:
    number = _present(value)
    if isinstance(number, str):
        number = _customer_number(number.strip(" "))
    elif isinstance(number, (float, Decimal)):
        number = _exact_integer(number)
    elif isinstance(number, bool) or not isinstance(number, int):
        raise _BadValueError(f"is of type {type(value).__name__}; give a positive whole number")
    if not 0 < number <= LARGEST_CUSTOMER_ID:
        raise _BadValueError("is not a positive 64-bit whole number")
    return number


def _customer_number(text: str) -> int:
    match = _CUSTOMER_ID.fullmatch(text)
    if match is None:
        raise _BadValueError(f"is not a positive whole number, as Capillary's own customerId is{_hint(text)}")
    number = int(match[1])
    if match[2] and number >= _FLOAT_LIMIT:
        raise _BadValueError("has passed through a float, which above 2^53 loses digits; write whole numbers")
    return number


def _hint(text: str) -> str:
    """What probably happened to a number; it may have been a card number, too."""
    if _EXPONENT.fullmatch(text):
        return ": a spreadsheet has rounded it. Write all its digits"
    if _SEPARATED.fullmatch(text):
        return ": write it without separators"
    return ": it begins with a zero, so it may be another number" if text[:1] == "0" and text.isdigit() else ""


def _exact_integer(number: float | Decimal) -> int:
    """Warehouses hand out whole numbers as decimals, and as floats where a column has gaps."""
    if isinstance(number, float) and math.isfinite(number) and abs(number) >= _FLOAT_LIMIT:
        raise _BadValueError("is a float above 2^53, so not read without loss of digits; give a whole number or text")
    if not math.isfinite(number) or number != int(number):
        raise _BadValueError("is not a whole number that can be read without loss")
    return int(number)


def _instant(value: Any, zone: tzinfo | None, per_second: int) -> int:
    return epoch_seconds(_present(value), zone, per_second)
