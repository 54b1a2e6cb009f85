"""Which Arrow type holds all values of a result column without changing one.

Drivers differ in the types that they state (SQLite states none), so the values decide, and a column is widened as
they come in. Values that come as Arrow get the type that they would get one by one:

==========================================  ==================================================================
values of one column                        Arrow type
==========================================  ==================================================================
only ``None``, text, UUID, JSON             string (lists and dicts as JSON text)
int                                         int64; beyond 64 bits a decimal
Decimal, or int and Decimal                 decimal with the largest scale seen, up to 76 digits
float, bool, date                           float64, bool, date32
datetime with a zone                        timestamp[us, UTC]: the instant, not the zone
datetime without                            timestamp[us] without a zone
bytes                                       binary
any other mix                               string, each value in its one exact form (``text_of``)
bytes and others; any other class           refused: cast it in the SQL
==========================================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_MOST_DIGITS = 76  # of decimal256
_INT64_DIGITS = 19


class Basis(Enum):
    """What sort of values a column has held so far."""

    NOTHING = "nothing"
    BOOL = "bool"
    INT = "int"
    DECIMAL = "decimal"
    FLOAT = "float"
    DATE = "date"
    INSTANT = "datetime with a zone"
    NAIVE = "datetime without a zone"
    BYTES = "binary"
    TEXT = "text"


class Kind(msgspec.Struct, frozen=True):
    """A basis, and for numbers how many digits stand before and after the point."""

    basis: Basis
    digits: int = 0
    scale: int = 0


class UnfitValuesError(ValueError):
    """Values for which no type is safe; the caller knows which column they are in."""


NOTHING = Kind(Basis.NOTHING)
_TEXT = Kind(Basis.TEXT)

# The order matters where a class is a subclass of another: bool before int, datetime before date.
_BASES: tuple[tuple[tuple[type, ...], Basis], ...] = (
    ((bool,), Basis.BOOL),
    ((int,), Basis.INT),
    ((float,), Basis.FLOAT),
    ((Decimal,), Basis.DECIMAL),
    ((datetime,), Basis.NAIVE),
    ((date,), Basis.DATE),
    ((bytes, bytearray, memoryview), Basis.BYTES),
    ((str, UUID, time, timedelta, IPv4Address, IPv6Address, list, tuple, dict), Basis.TEXT),
)


Values: TypeAlias = "Sequence[Any] | pa.Array[Any]"


def kind_of(values: Values) -> Kind:
    """The narrowest kind that holds all of these values; of an array, one of ``columns_of``."""
    if isinstance(values, pa.Array):
        return _kind_of_array(values) or _TEXT
    kind = NOTHING
    classes = set(map(type, values))
    for value_class in classes - {type(None)}:
        own = values if len(classes) == 1 else [value for value in values if type(value) is value_class]
        kind = widened(kind, _kind_of_class(value_class, own))
    return kind


def columns_of(batch: pa.RecordBatch) -> list[Values]:
    """Arrays where their type says of which kind the values are, else the values themselves."""
    return [column.to_pylist() if _kind_of_array(column) is None else column for column in batch.columns]


def widened(first: Kind, second: Kind) -> Kind:
    """The narrowest kind that holds what either holds; ``UnfitValuesError`` where no kind does so safely."""
    if first == second or second.basis is Basis.NOTHING:
        return first
    if first.basis is Basis.NOTHING:
        return second
    bases = {first.basis, second.basis}
    if Basis.BYTES in bases:
        raise UnfitValuesError("holds binary values and others")
    if not bases <= {Basis.INT, Basis.DECIMAL}:
        return _TEXT
    digits, scale = max(first.digits, second.digits), max(first.scale, second.scale)
    if digits + scale > _MOST_DIGITS:
        return _TEXT
    return Kind(Basis.DECIMAL if Basis.DECIMAL in bases else Basis.INT, digits, scale)


def arrow_type(kind: Kind) -> pa.DataType:
    """The Arrow type of a kind."""
    if kind.basis is Basis.DECIMAL:
        return pa.decimal128(38, kind.scale) if kind.digits + kind.scale <= 38 else pa.decimal256(76, kind.scale)
    return _ARROW_TYPES[kind.basis]


_ARROW_TYPES: dict[Basis, pa.DataType] = {
    Basis.NOTHING: pa.string(),
    Basis.BOOL: pa.bool_(),
    Basis.INT: pa.int64(),
    Basis.FLOAT: pa.float64(),
    Basis.DATE: pa.date32(),
    Basis.INSTANT: pa.timestamp("us", tz="UTC"),
    Basis.NAIVE: pa.timestamp("us"),
    Basis.BYTES: pa.binary(),
    Basis.TEXT: pa.string(),
}


def as_array(values: Values, kind: Kind) -> pa.Array[Any]:
    """The values as Arrow, in the type of a kind that holds them all."""
    try:
        if isinstance(values, pa.Array):
            found = kind_of(values)
            if found.basis is Basis.NOTHING:
                return pa.array([None] * len(values), arrow_type(kind))
            if found.basis is kind.basis:
                return _without_bitmap(values.cast(arrow_type(kind)))
            values = values.to_pylist()
        if kind.basis is Basis.TEXT and not set(map(type, values)) <= {str, type(None)}:
            values = [None if value is None else text_of(value) for value in values]
        elif kind.basis is Basis.BYTES:
            values = [None if value is None else bytes(value) for value in values]
        return pa.array(values, arrow_type(kind))
    except (pa.ArrowException, UnicodeError, msgspec.MsgspecError, TypeError) as error:
        raise UnfitValuesError(f"holds values that cannot be written ({error})") from error


def text_of(value: Any) -> str:
    """The one text form of a value, whether it comes from the database or from a part already written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _decimal_text(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple, dict)):
        return msgspec.json.encode(value, enc_hook=text_of).decode()
    return str(value)


def _decimal_text(value: Decimal) -> str:
    # Without trailing zeros, as these depend on the scale in which a part may already have stored the number.
    if not value.is_finite():
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_PLAIN_ARRAYS: tuple[tuple[Callable[[pa.DataType], bool], Basis], ...] = (
    (pa.types.is_boolean, Basis.BOOL),
    (pa.types.is_floating, Basis.FLOAT),
    (pa.types.is_date32, Basis.DATE),
    (pa.types.is_string, Basis.TEXT),
    (pa.types.is_binary, Basis.BYTES),
    (lambda kind: pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type), Basis.TEXT),
)


def _kind_of_array(array: pa.Array[Any]) -> Kind | None:
    kind, types = array.type, pa.types
    if array.null_count == len(array):
        return NOTHING
    if types.is_integer(kind):
        bounds = pc.min_max(array)
        return _kind_of_ints([bounds["min"].as_py(), bounds["max"].as_py()])
    if types.is_decimal128(kind) and kind.scale >= 0:
        return Kind(Basis.DECIMAL, kind.precision - kind.scale, kind.scale)
    if types.is_timestamp(kind) and kind.unit != "ns":  # rows have microseconds
        return Kind(Basis.NAIVE if kind.tz is None else Basis.INSTANT)
    return next((Kind(basis) for is_such, basis in _PLAIN_ARRAYS if is_such(kind)), None)


def _without_bitmap(array: pa.Array[Any]) -> pa.Array[Any]:
    """Without a bitmap that marks nothing as missing: its bytes would count, and row groups end elsewhere."""
    buffers = array.buffers()
    if array.null_count or buffers[0] is None:
        return array
    return pa.Array.from_buffers(array.type, len(array), [None, *buffers[1:]], 0, array.offset)


def _kind_of_class(value_class: type, values: Sequence[Any]) -> Kind:
    basis = next((basis for classes, basis in _BASES if issubclass(value_class, classes)), None)
    if basis is None:
        raise UnfitValuesError(f"holds values of the class {value_class.__name__}")
    if basis not in (Basis.INT, Basis.DECIMAL, Basis.NAIVE):
        return Kind(basis)
    if basis is Basis.INT:
        return _kind_of_ints(values)
    return _kind_of_decimals(values) if basis is Basis.DECIMAL else _kind_of_datetimes(values)


def _kind_of_ints(values: Sequence[int]) -> Kind:
    low, high = min(values), max(values)
    if low >= -(1 << 63) and high < 1 << 63:
        return Kind(Basis.INT, _INT64_DIGITS)
    digits = max(len(str(abs(low))), len(str(abs(high))))
    return Kind(Basis.DECIMAL, digits) if digits <= _MOST_DIGITS else _TEXT


def _kind_of_decimals(values: Sequence[Decimal]) -> Kind:
    digits = scale = 0
    for value in values:
        _, figures, exponent = value.as_tuple()
        if not isinstance(exponent, int):  # NaN or infinity
            return _TEXT
        digits = max(digits, len(figures) + exponent)
        scale = max(scale, -exponent)
    return Kind(Basis.DECIMAL, digits, scale) if digits + scale <= _MOST_DIGITS else _TEXT


def _kind_of_datetimes(values: Sequence[datetime]) -> Kind:
    zoned = {value.tzinfo is not None for value in values}
    if len(zoned) > 1:
        return _TEXT
    return Kind(Basis.INSTANT if zoned.pop() else Basis.NAIVE)
