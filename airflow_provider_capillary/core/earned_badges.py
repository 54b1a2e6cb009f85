"""Many earned badges, column by column: on the good path no row is an object of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_capillary.core.earned_badge import EarnedBadge

_MIX = 0x9E3779B97F4A7C15  # Fibonacci hashing: neighbouring customer ids spread over all lanes
_MASK = 2**64 - 1
_LISTS = ("row_numbers", "badge_meta_ids", "customer_ids", "earned_at", "expires_at", "occurrences")
_ROW_NUMBER, _BADGE, _CUSTOMER, _EARNED, _EXPIRES, _OCCURRENCE = _LISTS  #: names of the table's columns


class EarnedBadges(Sequence[EarnedBadge]):
    """Earned badges in order. Reads as a sequence of ``EarnedBadge``, each made when it is asked for.

    The columns are lists of equal length and are not changed once they are here; ``occurrences`` is ``None`` where
    each is 1. A million objects cost a third of a second to make, and as much again wherever their fields are
    gathered; columns are encoded, compared and stored as they are.

    Rows that come as an Arrow table are sorted, dealt and joined as one, without Python's lock. Their lists are made
    when one is asked for, which is when they are a batch.
    """

    __slots__ = (*_LISTS, "_names", "_rows", "_table")

    row_numbers: list[int]
    badge_meta_ids: list[str]
    customer_ids: list[int]
    earned_at: list[int]
    expires_at: list[int]
    occurrences: list[int] | None
    _rows: int
    _table: pa.RecordBatch | None  #: the same columns; a badge is a position in ``_names``
    _names: tuple[str, ...]

    def __init__(
        self,
        row_numbers: list[int],
        badge_meta_ids: list[str],
        customer_ids: list[int],
        earned_at: list[int],
        expires_at: list[int],
        occurrences: list[int] | None = None,
    ) -> None:
        self.row_numbers = row_numbers
        self.badge_meta_ids = badge_meta_ids
        self.customer_ids = customer_ids
        self.earned_at = earned_at
        self.expires_at = expires_at
        self.occurrences = occurrences
        self._rows = len(row_numbers)
        self._table = None

    @classmethod
    def of_arrow(cls, names: tuple[str, ...], *columns: pa.Array[Any]) -> EarnedBadges:
        """Take columns that are checked already: row number, badge, customer, earn instant, expiry, all without nulls.

        :param names: the badges' ids; the badge column has positions in it.
        """
        return cls._of_table(pa.record_batch(list(columns), names=list(_LISTS[: len(columns)])), names)

    @classmethod
    def _of_table(cls, table: pa.RecordBatch, names: tuple[str, ...]) -> EarnedBadges:
        badges = cls.__new__(cls)
        badges._table, badges._names, badges._rows = table, names, table.num_rows
        return badges

    def __getattr__(self, name: str) -> Any:
        """Make the lists, where the first of them is asked for; Python calls this only while there is none."""
        if name not in _LISTS or self._table is None:
            raise AttributeError(name)
        columns = zip(self._table.schema.names, self._table.columns, strict=True)
        found: dict[str, list[Any]] = {name: column.to_pylist() for name, column in columns}
        self.row_numbers, self.customer_ids = found[_ROW_NUMBER], found[_CUSTOMER]
        self.earned_at, self.expires_at = found[_EARNED], found[_EXPIRES]
        self.badge_meta_ids = list(map(self._names.__getitem__, found[_BADGE]))
        self.occurrences = found.get(_OCCURRENCE)
        return getattr(self, name)

    def _as_table(self) -> tuple[pa.RecordBatch, tuple[str, ...]]:
        if self._table is None:
            positions = {name: position for position, name in enumerate(dict.fromkeys(self.badge_meta_ids))}
            badges = list(map(positions.__getitem__, self.badge_meta_ids))
            columns = [self.row_numbers, badges, self.customer_ids, self.earned_at, self.expires_at]
            if self.occurrences is not None:
                columns.append(self.occurrences)
            arrays = [pa.array(column, pa.int64()) for column in columns]
            self._names = tuple(positions)
            self._table = pa.record_batch(arrays, names=list(_LISTS[: len(arrays)]))
        return self._table, self._names

    @classmethod
    def of(cls, badges: Iterable[EarnedBadge]) -> EarnedBadges:
        """Give the same badges as columns; those that are columns already, as they are."""
        if isinstance(badges, EarnedBadges):
            return badges
        rows = list(badges)
        occurrences = [row.occurrence for row in rows]
        return cls(
            [row.row_number for row in rows],
            [row.badge_meta_id for row in rows],
            [row.customer_id for row in rows],
            [row.earned_at for row in rows],
            [row.expires_at for row in rows],
            None if occurrences.count(1) == len(rows) else occurrences,
        )

    @classmethod
    def joined(cls, parts: Sequence[EarnedBadges]) -> EarnedBadges:
        """Give the badges of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        tables = [part._table for part in parts if part._table is not None]
        if len(tables) == len(parts) and all(
            part._names is parts[0]._names and each.schema == tables[0].schema
            for part, each in zip(parts, tables, strict=True)
        ):
            table = pa.concat_batches(tables)  # type: ignore[attr-defined]  # the stubs lack it
            return cls._of_table(table, parts[0]._names)
        whole = cls([], [], [], [], [])
        if any(part.occurrences for part in parts):
            whole.occurrences = [each for part in parts for each in part.occurrences or repeat(1, len(part))]
        for part in parts:
            whole.row_numbers += part.row_numbers
            whole.badge_meta_ids += part.badge_meta_ids
            whole.customer_ids += part.customer_ids
            whole.earned_at += part.earned_at
            whole.expires_at += part.expires_at
        whole._rows = len(whole.row_numbers)
        return whole

    def has_none_of(self, badge_meta_ids: frozenset[str]) -> bool:
        """Whether no row is of one of these badges."""
        if not badge_meta_ids:
            return True
        if self._table is not None and badge_meta_ids.isdisjoint(self._names):
            return True
        return badge_meta_ids.isdisjoint(self.badge_meta_ids)

    def is_by_customer(self) -> bool:
        """Whether the customers' ids never decrease."""
        customers = self._as_table()[0].column(_CUSTOMER)
        return bool(pc.all(pc.less_equal(customers[:-1], customers[1:])).as_py() is not False)

    def by_customer(self) -> EarnedBadges:
        """Give the same badges in the order of their customers, those of one customer in the order that they have."""
        table, names = self._as_table()
        return EarnedBadges._of_table(table.take(pc.array_sort_indices(table.column(_CUSTOMER))), names)

    def by_lane(self, lanes: int) -> dict[int, EarnedBadges]:
        """Give the badges of each lane, in order; see ``lane_of``."""
        if not self._rows or lanes == 1:
            return {0: self} if self._rows else {}
        table, names = self._as_table()
        hashed = pc.shift_right(pc.multiply(table.column(_CUSTOMER).view(pa.uint64()), _unsigned(_MIX)), _unsigned(32))
        whole = pc.multiply(pc.divide(hashed, _unsigned(lanes)), _unsigned(lanes))
        of_row = pc.cast(pc.subtract(hashed, whole), pa.uint16())
        order = pc.array_sort_indices(of_row)  # stable
        table, dealt, start = table.take(order), {}, 0
        counted = pc.value_counts(of_row.take(order))  # of sorted values, so in the order of the lanes
        for lane, rows in zip(*(counted.field(part).to_pylist() for part in range(2)), strict=True):
            dealt[lane] = EarnedBadges._of_table(table.slice(start, rows), names)
            start += rows
        return dealt

    def take(self, positions: Sequence[int]) -> EarnedBadges:
        """Give the badges at these positions, in the order of the positions."""
        if not positions:
            return EarnedBadges([], [], [], [], [])
        if len(positions) == 1:
            return self[positions[0] : positions[0] + 1]
        pick = itemgetter(*positions)
        return self._picked(lambda column: list(pick(column)))

    def where(self, chosen: Sequence[bool]) -> EarnedBadges:
        """Give the badges for which ``chosen``, one for each, is true."""
        return self._picked(lambda column: list(compress(column, chosen)))

    def numbered(self, occurrences: list[int]) -> EarnedBadges:
        """Give the same badges with these occurrence numbers."""
        one_each = occurrences.count(1) == len(occurrences)
        return EarnedBadges(
            self.row_numbers,
            self.badge_meta_ids,
            self.customer_ids,
            self.earned_at,
            self.expires_at,
            None if one_each else occurrences,
        )

    def _picked(self, pick: Callable[[list[Any]], list[Any]]) -> EarnedBadges:
        return EarnedBadges(
            pick(self.row_numbers),
            pick(self.badge_meta_ids),
            pick(self.customer_ids),
            pick(self.earned_at),
            pick(self.expires_at),
            None if self.occurrences is None else pick(self.occurrences),
        )

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[EarnedBadge]:
        return map(
            EarnedBadge,
            self.row_numbers,
            self.badge_meta_ids,
            self.customer_ids,
            self.earned_at,
            self.expires_at,
            self.occurrences or repeat(1),
        )

    @overload
    def __getitem__(self, index: int) -> EarnedBadge: ...

    @overload
    def __getitem__(self, index: slice) -> EarnedBadges: ...

    def __getitem__(self, index: int | slice) -> EarnedBadge | EarnedBadges:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._rows)
            if self._table is not None and step == 1:
                return EarnedBadges._of_table(self._table.slice(start, max(0, stop - start)), self._names)
            return self._picked(lambda column: column[index])
        return EarnedBadge(
            self.row_numbers[index],
            self.badge_meta_ids[index],
            self.customer_ids[index],
            self.earned_at[index],
            self.expires_at[index],
            1 if self.occurrences is None else self.occurrences[index],
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(EarnedBadge.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"EarnedBadges({list(self)!r})"


def lane_of(customer_id: int, lanes: int) -> int:
    """The lane of a customer: always the same one, whatever the order of the rows."""
    return (((customer_id * _MIX) & _MASK) >> 32) % lanes


def _unsigned(number: int) -> pa.Scalar[Any]:
    return pa.scalar(number, pa.uint64())
