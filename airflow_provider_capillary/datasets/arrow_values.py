"""Arrow arrays as Python values, without a Python object per value on the way where it matters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_capillary.core.plain_values import OddValue, narrow_float
from airflow_provider_capillary.datasets.json_ready import json_ready

_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_PLAIN = frozenset({pa.string(), pa.int64(), pa.bool_()})  #: JSON has their values as they are
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: for timestamps without a zone
_NO_DATE = "is outside the years 1 to 9999"


def python_values(array: pa.Array[Any]) -> list[Any]:
    """All values, as ``Window.column`` promises them, whatever the type of the array.

    A value that Python cannot hold is an ``OddValue``: one bad row, not a broken dataset.
    """
    try:
        return _values(array)
    except Exception:  # noqa: BLE001 - which value it was, and why, is found one by one
        return [_one(array.slice(index, 1)) for index in range(len(array))]


def original_value(array: pa.Array[Any], index: int) -> Any:
    """One value, JSON-ready and exact: a timestamp keeps its offset and all its digits. Never raises."""
    if array.type in _PLAIN:
        with suppress(Exception):  # a text that is no UTF-8 is taken apart below
            return array[index].as_py()
    try:
        return _shown(array.slice(index, 1))
    except Exception:  # noqa: BLE001 - a report with one value less is better than a batch without its outcomes
        return f"<{array.type} that cannot be written>"


def texts_of(array: pa.Array[Any]) -> Iterator[pa.Array[Any]]:
    """The texts within an array of any type. Other values may be out of their range: these are a matter of a row."""
    if isinstance(array, pa.DictionaryArray):
        yield from texts_of(array.dictionary)
    elif isinstance(array, pa.ExtensionArray):
        yield from texts_of(array.storage)
    elif isinstance(array, (pa.StructArray, pa.UnionArray)):
        for number in range(array.type.num_fields):
            yield from texts_of(array.field(number))
    elif pa.types.is_nested(array.type):
        yield from texts_of(array.values)  # type: ignore[attr-defined] # the stubs know fewer classes
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        yield array


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves where an array holds each only once."""
    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return kind


def _decoded(array: pa.Array[Any]) -> pa.Array[Any]:
    """The values themselves where an array holds each only once."""
    if isinstance(array, pa.DictionaryArray):
        return _decoded(array.dictionary).take(array.indices)
    if isinstance(array, pa.RunEndEncodedArray):
        ends: list[Any] = array.run_ends.to_pylist()
        runs = [bisect_right(ends, array.offset + index) for index in range(len(array))]
        return _decoded(array.values).take(pa.array(runs, pa.int64()))
    return array


def _values(array: pa.Array[Any]) -> list[Any]:
    array = _decoded(array)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return epoch_seconds(array).to_pylist() if kind.tz else _each(array, _naive)
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        width = kind.bit_width // 8
        return [None if value is None else narrow_float(value, width) for value in array.to_pylist()]
    if (pa.types.is_time64(kind) or pa.types.is_duration(kind)) and kind.unit == "ns":
        # Python's own types stop at microseconds; no instant is ever read from these, so text will do.
        return pc.cast(array, pa.string()).to_pylist()
    return _texts(array) if _is_binary(kind) else array.to_pylist()


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    ) and not isinstance(kind, pa.BaseExtensionType)


def _texts(array: pa.Array[Any]) -> list[Any]:
    """Binary values as text where they are UTF-8, as Impala and Hive write text; else as they are."""
    try:
        return pc.cast(array, pa.string()).to_pylist()
    except pa.ArrowInvalid:
        return [value if value is None else _text_or_bytes(value) for value in array.to_pylist()]


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _one(one: pa.Array[Any]) -> Any:
    try:
        return _values(one)[0]
    except Exception:  # noqa: BLE001 - ValueError, OverflowError, UnicodeError, ...: the type decides
        reason = _NO_DATE if pa.types.is_date(one.type) else f"is of type {one.type}, and more than Python can hold"
        return OddValue(str(original_value(one, 0)), reason)


def _ticks(array: pa.Array[Any]) -> pa.Array[Any]:
    return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())


def epoch_seconds(array: pa.Array[Any]) -> pa.Array[Any]:
    """Timestamps as whole epoch seconds, rounded down."""
    ticks = _ticks(array)
    per_second = _TICKS_PER_SECOND[array.type.unit]
    if per_second == 1:
        return ticks
    # Arrow divides towards zero; instants before 1970 need the floor.
    seconds = pc.divide(ticks, per_second)
    below = pc.less(ticks, pc.multiply(seconds, per_second))
    return pc.subtract(seconds, pc.cast(below, pa.int64()))


def _each(array: pa.Array[Any], convert: Callable[[int, int], Any]) -> list[Any]:
    per_second = _TICKS_PER_SECOND[array.type.unit]
    return [None if ticks is None else convert(ticks, per_second) for ticks in _ticks(array).to_pylist()]


def _naive(ticks: int, per_second: int) -> datetime | OddValue:
    try:
        return _EPOCH + timedelta(microseconds=ticks * 1_000_000 // per_second)
    except OverflowError:
        seconds = pa.array([ticks // per_second], pa.timestamp("s"))
        return OddValue(_arrow_text(seconds), _NO_DATE)


# ------------------------------------------------------------------------------------------------- for the report


def _shown(one: pa.Array[Any]) -> Any:
    """The only value of an array."""
    one = _decoded(one)
    kind = one.type
    if one.null_count:
        return None
    if pa.types.is_timestamp(kind):
        return _iso_text(one)
    if pa.types.is_time(kind) and (kind.unit == "ns" or _arrow_text(one).startswith("<")):
        return _arrow_text(one)  # Python would wrap a time beyond 24 hours around
    try:
        return json_ready(_values(one)[0])
    except Exception:  # noqa: BLE001 - so the value is taken apart, to lose no more of it than must be
        return _part_by_part(one)


def _part_by_part(one: pa.Array[Any]) -> Any:
    if isinstance(one, pa.ExtensionArray):
        return _shown(one.storage)
    if isinstance(one, pa.StructArray):
        pairs = [(field.name, _shown(one.field(number))) for number, field in enumerate(one.type)]
        named = dict(pairs)
        return named if len(named) == len(pairs) else [list(pair) for pair in pairs]
    if isinstance(one, pa.UnionArray):
        return _shown(pa.repeat(one[0].value, 1))
    if isinstance(one, pa.MapArray):
        entries: Any = one[0].values
        return [
            [original_value(entries.field(0), index), original_value(entries.field(1), index)]
            for index in range(len(entries))
        ]
    if pa.types.is_nested(one.type):
        values: Any = one[0].values
        return [original_value(values, index) for index in range(len(values))]
    if pa.types.is_string(one.type) or pa.types.is_large_string(one.type):
        return pc.cast(one, pa.large_binary())[0].as_py().decode(errors="backslashreplace")
    return _arrow_text(one)


def _arrow_text(one: pa.Array[Any]) -> str:
    """A flat value as Arrow writes it, which knows years up to 32767; further ones are counted from 1970."""
    text = str(pc.cast(one, pa.string())[0].as_py())
    if not text.startswith("<") or not (pa.types.is_date(one.type) or pa.types.is_timestamp(one.type)):
        return text
    ticks = _ticks(one)[0].as_py()
    if pa.types.is_date32(one.type):
        return f"{ticks} days after 1970"
    per_second = 1_000 if pa.types.is_date64(one.type) else _TICKS_PER_SECOND[one.type.unit]
    return f"{ticks // per_second} seconds after 1970"


def _iso_text(one: pa.Array[Any]) -> str:
    kind = one.type
    per_second = _TICKS_PER_SECOND[kind.unit]
    seconds, rest = divmod(_ticks(one)[0].as_py(), per_second)
    try:
        moment: datetime = pa.scalar(seconds, pa.timestamp("s", kind.tz)).as_py()  # type: ignore[assignment]
    except (ValueError, OverflowError, LookupError):
        # beyond the calendar, or in a zone that this machine does not know
        return _arrow_text(pa.array([seconds], pa.timestamp("s", "UTC" if kind.tz else None)))
    text = moment.isoformat(timespec="seconds")
    digits = f".{rest:0{len(str(per_second)) - 1}d}".rstrip("0") if rest else ""
    return f"{text[:19]}{digits}{text[19:]}"
