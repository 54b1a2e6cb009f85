"""Rows of a dataset -> earned badges: the check of each row, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from functools import partial
from itertools import chain, repeat, starmap
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_capillary.core.column_choice import Columns
from airflow_provider_capillary.core.earned_badge import (
    EARLIEST_INSTANT,
    LARGEST_CUSTOMER_ID,
    LATEST_INSTANT,
    EarnedBadge,
    InvalidRow,
    RowFault,
)
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.field_values import (
    BadValueError,
    badge_id_of,
    customer_id_of,
    instant_of,
    is_absent,
    shortened,
)
from airflow_provider_capillary.core.plain_values import plain
from airflow_provider_capillary.core.timestamps import UNITS, NotAnInstantError

T = TypeVar("T")
#: Of one column; as an array only of texts or of 64-bit integers.
Values: TypeAlias = "Sequence[Any] | pa.Array[Any]"


class RowReader:
    """Checks rows, column by column, into earned badges or invalid rows, in order.

    :param zone: of instants without one; without it they are invalid.
    :param unit: of instants that are numbers, ``s`` or ``ms``.
    :param badge_ids: ids that are known to be well-formed, in lower case.
    """

    def __init__(self, columns: Columns, zone: tzinfo | None, unit: str = "s", badge_ids: Iterable[str] = ()) -> None:
        self._columns = columns
        self._zone = zone
        self._per_second = UNITS[unit]
        self._badge_ids: dict[Any, str] = {badge_id: badge_id for badge_id in badge_ids}
        self._names: tuple[str, ...] = ()
        self._known: pc.SetLookupOptions | None = None
        self._positions: pa.Array[Any] = pa.array([], pa.int64())  #: 0, 1, 2, ..., as many as a window has had rows

    def read(
        self,
        first_row_number: int,
        badge_ids: Values,
        customer_ids: Values,
        earned: Values,
        expires: Values,
        earned_iso: Values = (),
        expires_iso: Values = (),
    ) -> Iterable[EarnedBadge | InvalidRow]:
        """Give one result for each row. Where all are of plain, good values, no row is looked at alone.

        :param earned_iso: the same instants as ``earned``, where the dataset has them in a second form.
        :param expires_iso: likewise.
        :return: columns where all are good, else rows that are checked as they are asked for.
        """
        again = [_as_list(values) for values in (earned_iso, expires_iso)]
        numbers = range(first_row_number, first_row_number + len(badge_ids))
        if not any(value is not None for value in chain(*again)):
            good = self._good(first_row_number, badge_ids, customer_ids, earned, expires)
            if good is not None:
                return good
            check = self._row if self._per_second == 1 else self._checked
            return starmap(check, zip(numbers, *map(_as_list, (badge_ids, customer_ids, earned, expires)), strict=True))
        columns = (
            *map(_as_list, (badge_ids, customer_ids, earned, expires)),
            *(values or repeat(None, len(numbers)) for values in again),
        )
        return starmap(self._examined, zip(numbers, *columns, strict=True))

    def _good(self, first_row_number: int, *given: Values) -> EarnedBadges | None:
        """The rows as columns, where a row by row check would find nothing; the badges must have been seen before."""
        columns = [
            array for array in map(_as_arrow, given) if array is not None and len(array) and not array.null_count
        ]
        if [array.type for array in columns] != [pa.string(), pa.int64(), pa.int64(), pa.int64()]:
            return None
        if len(set(map(len, columns))) > 1:
            return None
        texts, customers, earned, expires = columns
        if self._per_second != 1:  # what is below 0 is refused however it is rounded
            earned, expires = (pc.divide(instants, self._per_second) for instants in (earned, expires))
        badges = pc.call_function("index_in", [texts], self._lookup())
        is_good = (
            not badges.null_count
            and _within(customers, 1, LARGEST_CUSTOMER_ID)
            and _within(earned, EARLIEST_INSTANT, LATEST_INSTANT - 1)
            and _within(expires, EARLIEST_INSTANT, LATEST_INSTANT - 1)
            and pc.all(pc.less(earned, expires)).as_py()
        )
        if not is_good:
            return None
        if len(self._positions) < len(badges):
            self._positions = pa.array(range(len(badges)), pa.int64())
        numbers = pc.add(self._positions[: len(badges)], first_row_number)
        return EarnedBadges.of_arrow(self._names, numbers, pc.cast(badges, pa.int64()), customers, earned, expires)

    def _lookup(self) -> pc.SetLookupOptions:
        if self._known is None or len(self._names) != len(self._badge_ids):
            self._known = pc.SetLookupOptions(pa.array(self._badge_ids, pa.string()))
            self._names = tuple(self._badge_ids.values())
        return self._known

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
            good_customer = customer_id_of(plain(customer_id))
            earned_at = instant_of(plain(earned), self._zone, self._per_second)
            expires_at = instant_of(plain(expires), self._zone, self._per_second)
        except (BadValueError, NotAnInstantError):
            expires_at = earned_at = 0  # what is wrong, in this value and in others, is found below
        if expires_at > earned_at:
            return EarnedBadge(row_number, good_badge, good_customer, earned_at, expires_at)
        return self._examined(row_number, badge_id, customer_id, earned, expires, None, None)

    def _remembered(self, badge_id: Any) -> str:
        text = plain(badge_id)
        good = badge_id_of(text)
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
        good_customer = faults.read(names.customer_id, customer_id, customer_id_of)
        earned_at = self._one_instant(faults, (names.earned_at, earned), (names.earned_at_iso, earned_iso))
        expires_at = self._one_instant(faults, (names.expires_at, expires), (names.expires_at_iso, expires_iso))
        if earned_at is not None and expires_at is not None and expires_at <= earned_at:
            faults.add(names.expires_at, expires, "expires not after it was earned; give a later instant")
        if good_badge is None or good_customer is None or earned_at is None or expires_at is None or faults.found:
            return InvalidRow(row_number, tuple(faults.found))
        return EarnedBadge(row_number, good_badge, good_customer, earned_at, expires_at)

    def _one_instant(self, faults: _Faults, given: tuple[str, Any], again: tuple[str | None, Any]) -> int | None:
        """Read an instant that a row may give in two forms, which must then say the same second."""
        read = partial(instant_of, zone=self._zone, per_second=self._per_second)
        (column, value), (iso_column, iso_value) = given, again
        if iso_column is None or is_absent(iso_value):
            return faults.read(column, value, read)
        iso_instant = faults.read(iso_column, iso_value, read)
        if is_absent(value):
            return iso_instant
        instant = faults.read(column, value, read)
        if instant is not None and iso_instant is not None and instant != iso_instant:
            other = f"{iso_column} {shortened(iso_value)!r}"
            faults.add(column, value, f"and {other} are two instants; correct one, or name one in field_mapping")
        return instant


def _as_list(values: Values) -> Sequence[Any]:
    return values.to_pylist() if isinstance(values, pa.Array) else values


def _as_arrow(values: Values) -> pa.Array[Any] | None:
    """The values as an Arrow array, where all are whole numbers or all are texts."""
    if isinstance(values, pa.Array):
        return values
    kinds = set(map(type, values))
    if kinds not in ({int}, {str}):
        return None
    try:
        array: pa.Array[Any] = pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):  # beyond 64 bits, or no text that can be written
        return None
    return array


def _within(numbers: pa.Array[Any], lowest: int, highest: int) -> bool:
    found = pc.min_max(numbers)
    return bool(lowest <= found["min"].as_py() and found["max"].as_py() <= highest)


class _Faults:
    """Gathers what is wrong with a row, so that a person learns all of it at once."""

    def __init__(self) -> None:
        self.found: list[RowFault] = []

    def read(self, column: str, value: Any, read: Callable[[Any], T]) -> T | None:
        """Give what ``read`` makes of the value, or ``None`` after noting why it cannot."""
        try:
            return read(plain(value))
        except (BadValueError, NotAnInstantError) as problem:
            self.add(column, value, str(problem))
            return None

    def add(self, column: str, value: Any, reason: str) -> None:
        """Note a fault."""
        self.found.append(RowFault(column, shortened(value), reason))
