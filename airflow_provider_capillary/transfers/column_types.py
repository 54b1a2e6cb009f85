"""Which Arrow type holds all values of a result column without changing one.

Drivers differ in the types that they state (SQLite states none), so the values decide. Each share of the rows has the
types of its values; Arrow says which type holds those of all shares. Values that come as Arrow get the type that they
would get one by one:

==========================================  ==================================================================
values of one column                        Arrow type
==========================================  ==================================================================
only ``None``, text, UUID, time, JSON       string (lists and dicts as JSON text)
int                                         int64; beyond 64 bits a decimal
Decimal, or int and Decimal                 decimal with the largest scale seen, up to 76 digits
float, or int and float                     float64, if it holds each int exactly
bool, date                                  bool, date32
datetime with a zone                        timestamp[us, UTC]: the instant, not the zone
datetime without                            timestamp[us] without a zone
bytes                                       binary
any other mix; any other class              refused: cast it in the SQL
==========================================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, ParamSpec, TypeAlias, TypeVar
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_capillary.exceptions import DatasetError

Values: TypeAlias = "Sequence[Any] | pa.Array[Any]"
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

_NAIVE, _INSTANT = pa.timestamp("us"), pa.timestamp("us", tz="UTC")
# The order matters where a class is a subclass of another: bool before int, datetime before date.
_TYPES: tuple[tuple[tuple[type, ...], pa.DataType], ...] = (
    ((bool,), pa.bool_()),
    ((int,), pa.int64()),  # or decimal, if it is beyond 64 bits
    ((float,), pa.float64()),
    ((Decimal,), pa.decimal128(38)),  # of the digits that the values have
    ((datetime,), _NAIVE),  # or _INSTANT
    ((date,), pa.date32()),
    ((bytes, bytearray, memoryview), pa.binary()),
    ((str, UUID, time, timedelta, IPv4Address, IPv6Address, list, tuple, dict), pa.string()),
)
#: What a message calls the values of a type.
_WORDS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "true or false"),
    (pa.types.is_integer, "whole numbers"),
    (pa.types.is_floating, "floats"),
    (pa.types.is_decimal, "decimals"),
    (pa.types.is_date32, "dates"),
    (lambda kind: kind == _INSTANT, "datetimes with a zone"),
    (lambda kind: kind == _NAIVE, "datetimes without a zone"),
    (pa.types.is_binary, "binary values"),
    (pa.types.is_string, "text"),
)
#: Kinds that Arrow would unify by changing values: decimals rounded to floats, text turned to bytes.
_CHANGED = ({"decimals", "floats"}, {"binary values", "text"})
#: What pyarrow and msgspec raise about a value that cannot be written.
_UNFIT = (pa.ArrowException, msgspec.MsgspecError, OverflowError, TypeError, ValueError)
_CAST = "Cast it to one type, or to text, in the SQL."


class Column:
    """One column of a result: the type of all its values so far, and where each kind of value was first seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._type: pa.DataType = pa.null()
        self._first: dict[str, int] = {}

    @property
    def type(self) -> pa.DataType:
        """The type in which the values so far are written; a column without any value is text."""
        kind = self._type
        if pa.types.is_null(kind):
            return pa.string()
        if not pa.types.is_decimal(kind):
            return kind
        # The digits seen are not the same for values that come as rows and as Arrow.
        return pa.decimal128(38, kind.scale) if kind.precision <= 38 else pa.decimal256(76, kind.scale)

    def widen(self, values: Values, rows_before: int) -> None:
        """Let the type hold these values, too; ``rows_before`` rows of the result came before them.

        :raises DatasetError: no type holds them and those before without changing one
        """
        try:
            kinds = types_of(values)
        except _UNFIT as error:
            raise self._unfit(values, rows_before, types_of) from error
        for kind in kinds:
            words = _words_of(kind)
            if words and words not in self._first:
                self._first[words] = rows_before + _first_of(words, values) + 1
        for kind in kinds:
            self._type = self._held(unified, self._type, kind)

    def array(self, values: Values, rows_before: int) -> pa.Array[Any]:
        """The values as Arrow, in the column's type.

        :raises DatasetError: a value cannot be written
        """
        if pa.types.is_floating(self.type):
            return self._held(as_array, values, self.type)
        try:
            return as_array(values, self.type)
        except _UNFIT as error:
            raise self._unfit(values, rows_before, lambda one: as_array(one, self.type)) from error

    def cast(self, array: pa.Array[Any]) -> pa.Array[Any]:
        """An array of an earlier type of the column in its type now.

        :raises DatasetError: the column is of floats now, which do not hold each whole number written before
        """
        return self._held(array.cast, self.type)

    def _held(self, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        try:
            return make(*given, **named)
        except pa.ArrowException as error:
            places = sorted((row, words) for words, row in self._first.items())
            kinds = " and ".join(f"{words} (first in row {row:,})" for row, words in places)
            raise DatasetError(
                f"Column {self.name!r} of the result holds {kinds}: no type holds all of them unchanged. {_CAST}"
            ) from error

    def _unfit(self, values: Values, rows_before: int, make: Callable[[list[Any]], Any]) -> DatasetError:
        """The error that names the first value of which nothing can be made, if one alone is wrong."""
        wrong = "values that no type holds unchanged"
        for row, value in enumerate(_plain(values), rows_before + 1):
            try:
                make([value])
            except _UNFIT as error:
                wrong = f"a value in row {row:,} that cannot be written ({error})"
                break
        return DatasetError(f"Column {self.name!r} of the result holds {wrong}. {_CAST}")


def columns_of(batch: pa.RecordBatch) -> list[Values]:
    """Arrays where their Arrow type is the one that the values would get one by one, else the values themselves."""
    return [column.to_pylist() if _type_of_array(column) is None else column for column in batch.columns]


def types_of(values: Values) -> list[pa.DataType]:
    """The narrowest type of each class of value among these; of an array, which is one of ``columns_of``, its one."""
    if isinstance(values, pa.Array):
        return [_type_of_array(values) or pa.string()]
    classes = set(map(type, values))
    kinds: list[pa.DataType] = []
    for value_class in classes - {type(None)}:
        own = values if len(classes) == 1 else [value for value in values if type(value) is value_class]
        kinds += _types_of_class(value_class, own)
    return kinds


def unified(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The narrowest type that holds what either holds; ``pyarrow.ArrowTypeError`` where none does unchanged."""
    if first == second:
        return first
    words = {_words_of(first), _words_of(second)}
    if words in _CHANGED:
        raise pa.ArrowTypeError(f"{first} and {second}")
    if "decimals" in words:  # Arrow counts 18 digits for an int64, which may have 19
        first, second = (pa.decimal128(19) if pa.types.is_integer(kind) else kind for kind in (first, second))
    schemas = [pa.schema([("value", kind)]) for kind in (first, second)]
    kind: pa.DataType = pa.unify_schemas(schemas, promote_options="permissive").field("value").type
    return kind


def as_array(values: Values, kind: pa.DataType) -> pa.Array[Any]:
    """The values as Arrow, in a type that holds them all."""
    if isinstance(values, pa.Array):
        if values.null_count == len(values):
            return pa.array([None] * len(values), kind)
        return _without_bitmap(values.cast(kind))
    if pa.types.is_string(kind) and not set(map(type, values)) <= {str, type(None)}:
        values = [None if value is None else text_of(value) for value in values]
    return pa.array(values, kind)


def text_of(value: Any) -> str:
    """The text of a value whose class goes as text."""
    if isinstance(value, (list, tuple, dict)):
        return msgspec.json.encode(value, enc_hook=text_of).decode()
    return str(value)


def _type_of_array(array: pa.Array[Any]) -> pa.DataType | None:
    kind, types = array.type, pa.types
    if array.null_count == len(array):
        return pa.null()
    if types.is_integer(kind):
        bounds = pc.min_max(array)
        return _type_of_ints(bounds["min"].as_py(), bounds["max"].as_py())
    if types.is_floating(kind):
        return pa.float64()
    if types.is_timestamp(kind) and kind.unit != "ns":  # rows have microseconds
        return _NAIVE if kind.tz is None else _INSTANT
    if types.is_dictionary(kind) and types.is_string(kind.value_type):
        return pa.string()
    same = (types.is_boolean, types.is_date32, types.is_string, types.is_binary)
    decimal = types.is_decimal128(kind) and kind.scale >= 0
    return kind if decimal or any(is_such(kind) for is_such in same) else None


def _types_of_class(value_class: type, values: Sequence[Any]) -> list[pa.DataType]:
    kind = next((kind for classes, kind in _TYPES if issubclass(value_class, classes)), None)
    if kind is None:
        raise TypeError(f"it is of the class {value_class.__name__}")
    if pa.types.is_integer(kind):
        return [_type_of_ints(min(values), max(values))]
    if pa.types.is_decimal(kind):
        if not all(map(Decimal.is_finite, values)):
            raise ValueError("it is no finite number")
        return [pa.infer_type(values, mask=None)]
    if kind == _NAIVE:
        return [_INSTANT if zoned else _NAIVE for zoned in {value.tzinfo is not None for value in values}]
    return [kind]


def _type_of_ints(low: int, high: int) -> pa.DataType:
    if low >= -(1 << 63) and high < 1 << 63:
        return pa.int64()
    digits = max(len(str(abs(low))), len(str(abs(high))))
    return pa.decimal128(digits) if digits <= 38 else pa.decimal256(digits)


def _words_of(kind: pa.DataType) -> str:
    return next((words for is_such, words in _WORDS if is_such(kind)), "")


def _first_of(words: str, values: Values) -> int:
    """The index of the first value of a kind, which is among them."""
    kinds = ((index, types_of([value])) for index, value in enumerate(_plain(values)))
    return next(index for index, kind in kinds if kind and _words_of(kind[0]) == words)


def _plain(values: Values) -> Iterable[Any]:
    return (value.as_py() for value in values) if isinstance(values, pa.Array) else values


def _without_bitmap(array: pa.Array[Any]) -> pa.Array[Any]:
    """Without a bitmap that marks nothing as missing: its bytes would count, and row groups end elsewhere."""
    buffers = array.buffers()
    if array.null_count or buffers[0] is None:
        return array
    return pa.Array.from_buffers(array.type, len(array), [None, *buffers[1:]], 0, array.offset)
