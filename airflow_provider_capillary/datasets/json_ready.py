"""Values of any source as JSON can carry them, for the report: nothing is rounded and nothing is dropped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

_LARGEST_INTEGER = 10**4000  # decoders refuse longer ones; they travel as text


def json_ready(value: Any) -> Any:
    """The same value in JSON's own types: instants as ISO 8601, decimals and NaN as text, bytes as base64."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_INTEGER else str(value)
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # a lone surrogate has no UTF-8 form
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and value == value.to_integral_value()
        and abs(value) <= _LARGEST_INTEGER
    ):
        return int(value)  # as text, 123.00 would no longer be read as a customer id
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_ready(inner) for inner in value]
    return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
