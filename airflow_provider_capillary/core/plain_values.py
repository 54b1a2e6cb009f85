"""Turns values of any class (pendulum, pandas, numpy, enums, UUIDs) into Python's own, before a field is read.

A value without an exact built-in form becomes an ``OddValue``, which makes only its own row invalid.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

#: Blanks around a value do not count: databases pad CHAR columns, and spreadsheets use non-breaking spaces.
BLANKS = " \u00a0"
#: Bytes of a float -> the number up to which it holds every whole number. Above it, two numbers are one float.
FLOAT_LIMITS = {2: 2**11, 4: 2**24, 8: 2**53}


class OddValue(msgspec.Struct, frozen=True):
    """A value that no Python object holds exactly, such as a date of the year 20250."""

    text: str  #: the value as text, for a message and the report
    reason: str  #: why it cannot be used, as a phrase that follows the value: "is a date outside ..."


#: Classes that need no conversion.
PLAIN: frozenset[type] = frozenset(
    {type(None), bool, int, float, str, bytes, Decimal, datetime, date, time, timedelta, list, tuple, dict, OddValue}
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MISSING = frozenset({"NAType", "NaTType"})  # pandas' words for a gap; one of them is a datetime


def plain(value: Any) -> Any:
    """The same value in one of Python's own classes; unchanged if no rule names its class. Never raises."""
    if type(value) in PLAIN:
        return value
    try:
        return _plain(value)
    except Exception:  # noqa: BLE001 - the value's own class decides what is raised
        return OddValue(text_of_any(value), f"is of type {type(value).__name__}, and cannot be read")


def text_of_any(value: Any) -> str:
    """Text of any object, even if its ``__str__`` raises. Equal values give equal texts, so addresses are left out."""
    try:
        return _ADDRESS.sub("", str(value))
    except Exception:  # noqa: BLE001 - the value's own class decides what is raised
        return f"<{type(value).__name__} that cannot be written>"


def narrow_float(value: float, width: int) -> float | OddValue:
    """A float of ``width`` bytes, unless whole numbers of its size may have lost digits in it."""
    if abs(value) < FLOAT_LIMITS[width] or value != value or value in (float("inf"), float("-inf")):
        return value
    # with an exponent, so that an import of the report does not read the text as a whole number
    return OddValue(f"{value:.9e}", f"is a float of {8 * width} bits that may have lost digits; give a whole number")


def _plain(value: Any) -> Any:
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, Enum):
        return plain(value.value)
    converted = _base_class(value)
    return _of_a_library(value) if converted is None else converted


def _base_class(value: Any) -> Any:
    """An instance of a subclass as one of the built-in class, by that class's own methods; else ``None``."""
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, datetime):
        moment = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
        return datetime(*moment, tzinfo=value.tzinfo, fold=value.fold)
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return str(value) if isinstance(value, UUID) else None


def _of_a_library(value: Any) -> Any:
    """A scalar of numpy (``dtype``, ``item()``) or Arrow (``as_py()``); another object unchanged."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind == "M":  # a datetime64, whose item() may be a bare count of nanoseconds
        text = str(value)
        return None if text == "NaT" else text
    convert = getattr(value, "item", None) or getattr(value, "as_py", None)
    if not callable(convert):
        return value
    converted = convert()
    if type(converted) not in PLAIN:
        return value if type(converted) is type(value) else plain(converted)
    width = getattr(value.dtype, "itemsize", 8) if kind == "f" else 8
    return narrow_float(converted, width) if kind == "f" and width in FLOAT_LIMITS else converted
