"""Arrow arrays as Python values, without a Python object per value on the way where it matters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_capillary.datasets.json_ready import json_ready

_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: for timestamps without a zone


def python_values(array: pa.Array[Any]) -> list[Any]:
    """All values, as ``Window.column`` promises them."""
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _epoch_seconds(array) if kind.tz else _each(array, _naive)
    if pa.types.is_time64(kind) or pa.types.is_duration(kind):
        # Python's own types stop at microseconds; nobody takes an instant from these, so text will do.
        return pc.cast(array, pa.string()).to_pylist() if kind.unit == "ns" else array.to_pylist()
    return array.to_pylist()


def original_value(array: pa.Array[Any], index: int) -> Any:
    """One value, JSON-ready and exact: a timestamp keeps its offset and all its digits."""
    one = array.slice(index, 1)
    if isinstance(one, pa.DictionaryArray):
        one = one.dictionary_decode()
    if not pa.types.is_timestamp(one.type):
        return json_ready(python_values(one)[0])
    ticks = _ticks(one)[0].as_py()
    return None if ticks is None else _iso_text(ticks, one.type)


def _ticks(array: pa.Array[Any]) -> pa.Array[Any]:
    return array.view(pa.int64())


def _epoch_seconds(array: pa.Array[Any]) -> list[int | None]:
    ticks = _ticks(array)
    per_second = _TICKS_PER_SECOND[array.type.unit]
    if per_second == 1:
        return ticks.to_pylist()
    # Arrow divides towards zero; instants before 1970 need the floor.
    seconds = pc.divide(ticks, per_second)
    below = pc.less(ticks, pc.multiply(seconds, per_second))
    return pc.subtract(seconds, pc.cast(below, pa.int64())).to_pylist()


def _each(array: pa.Array[Any], convert: Callable[[int, int], Any]) -> list[Any]:
    per_second = _TICKS_PER_SECOND[array.type.unit]
    return [None if ticks is None else convert(ticks, per_second) for ticks in _ticks(array).to_pylist()]


def _naive(ticks: int, per_second: int) -> datetime | str:
    try:
        return _EPOCH + timedelta(microseconds=ticks * 1_000_000 // per_second)
    except OverflowError:
        return f"{ticks / per_second:.0f} seconds after 1970"  # no calendar date: one bad row, not a broken dataset


def _iso_text(ticks: int, kind: pa.TimestampType[Any, Any]) -> str:
    per_second = _TICKS_PER_SECOND[kind.unit]
    seconds, rest = divmod(ticks, per_second)
    try:
        moment: datetime = pa.scalar(seconds, pa.timestamp("s", kind.tz)).as_py()  # type: ignore[assignment]
    except (ValueError, OverflowError, LookupError):
        return f"{ticks / per_second:.0f} seconds after 1970"
    text = moment.isoformat(timespec="seconds")
    digits = f".{rest:0{len(str(per_second)) - 1}d}".rstrip("0") if rest else ""
    return f"{text[:19]}{digits}{text[19:]}"
