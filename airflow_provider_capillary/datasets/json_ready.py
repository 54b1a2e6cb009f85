"""Values of any source as JSON can carry them, for the report: nothing is rounded and nothing is dropped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from airflow_provider_capillary.core.plain_values import OddValue, plain, text_of_any

_LARGEST_INTEGER = 10**4000  # decoders refuse longer ones; they travel as text


def json_ready(value: Any) -> Any:
    """The same value in JSON's own types: instants as ISO 8601, decimals and NaN as text, bytes as base64.

    Never raises: a value whose class fails, or that holds itself, is shown by its text.
    """
    try:
        return _ready(value)
    except Exception:  # noqa: BLE001 - the value's own class decides what is raised
        return _utf8(text_of_any(value))


def _ready(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, Mapping):
        return {_text(plain(key)): _ready(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_ready(inner) for inner in value]
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, OddValue):
        return _utf8(value.text)
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """A text stays whole; of another object's text, its address in memory is left out."""
    return _utf8(value if isinstance(value, str) else text_of_any(value))


def _number(value: float | Decimal) -> float | str:
    if isinstance(value, int):  # True and False, too
        return value if abs(value) <= _LARGEST_INTEGER else _long_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if not value.is_finite() or value != value.to_integral_value() or abs(value) > _LARGEST_INTEGER:
        return str(value)
    return int(value)  # as text, 123.00 would no longer be read as a customer id


def _long_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python's own limit on the digits that it writes
        return f"a whole number of {value.bit_length()} bits"


def _utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()  # a lone surrogate has no UTF-8 form


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
