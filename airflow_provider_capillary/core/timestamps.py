"""Turns any value that a warehouse may hold for an instant into whole epoch seconds, or says why it is none."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pendulum
from pendulum.tz.exceptions import InvalidTimezone

from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LATEST_INSTANT
from airflow_provider_capillary.core.plain_values import BLANKS
from airflow_provider_capillary.exceptions import ConfigurationError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
#: A form that warehouses write: a blank, then ``UTC``, an offset, or an IANA name such as ``America/New_York``.
_ZONE_APART = re.compile(r"(?P<moment>.*\d) +(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d|[A-Z]\w+(?:/[\w+-]+)+)", re.ASCII)
_UTC_NAMES = frozenset({"Z", "UTC", "GMT"})

UNITS = {"s": 1, "ms": 1_000}  #: unit of a dataset's numbers -> how many of them make a second


class NotAnInstantError(ValueError):
    """The value is no instant. The message says why and what to give instead, as a phrase that follows the value."""


def named_zone(name: str | None) -> tzinfo | None:
    """Turn an IANA name into a zone; ``None`` stays ``None`` (naive timestamps are then refused).

    :raises ConfigurationError: there is no zone of that name.
    """
    if name is None:
        return None
    try:
        return pendulum.timezone(name)
    except (InvalidTimezone, ValueError, OSError) as error:
        raise ConfigurationError(
            f"timezone is {name!r}; it may be the IANA name of a time zone, such as 'Europe/Berlin', or None"
        ) from error


def epoch_seconds(value: Any, zone: tzinfo | None, per_second: int = 1) -> int:
    """Return the instant in whole epoch seconds (fractions are cut off towards the past).

    Numbers, and text of digits only, are epoch seconds. Other text is ISO 8601; a zone may follow after a blank.
    Naive values are read in ``zone``. If a local time came twice because clocks went back, the first instant counts.

    :param zone: ``None``: naive values are refused.
    :param per_second: how many of the dataset's numbers make a second; 1,000 for milliseconds.
    :raises NotAnInstantError: the value is no instant, is not from 2000 to 2100, has no zone, or clocks skipped it.
    """
    seconds = _seconds(value, zone, per_second)
    if EARLIEST_INSTANT <= seconds < LATEST_INSTANT:
        return seconds
    if per_second > 1 and EARLIEST_INSTANT <= seconds * per_second < LATEST_INSTANT:
        raise NotAnInstantError("looks like epoch seconds; set timestamp_unit to s, or give ISO 8601 text")
    for factor, unit in ((1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")):
        if EARLIEST_INSTANT <= seconds * per_second // factor < LATEST_INSTANT:
            hint = ", or set timestamp_unit to ms" if factor == 1_000 else ""
            raise NotAnInstantError(f"looks like epoch {unit}; give epoch seconds or ISO 8601 text{hint}")
    raise NotAnInstantError("outside 2000-01-01 .. 2100-01-01 when read as epoch seconds or ISO 8601")


def _seconds(value: Any, zone: tzinfo | None, per_second: int) -> int:
    if isinstance(value, bool):
        raise NotAnInstantError("is a boolean; give epoch seconds or ISO 8601 text")
    if isinstance(value, int):
        return value // per_second
    if isinstance(value, (float, Decimal)):
        return _whole(value) // per_second
    if isinstance(value, str):
        return _from_text(value.strip(BLANKS), zone, per_second)
    if isinstance(value, date):
        return _from_date(value, zone)
    raise NotAnInstantError(f"is of type {type(value).__name__}; give epoch seconds or ISO 8601 text")


def _from_date(value: date, zone: tzinfo | None) -> int:
    try:
        return _from_datetime(value if isinstance(value, datetime) else datetime.combine(value, time.min), zone)
    except NotAnInstantError:
        raise
    except Exception as error:  # a zone may be of any class, and raise anything
        raise NotAnInstantError("has a time zone that cannot be applied; give it in UTC") from error


def _whole(value: float | Decimal) -> int:
    try:
        finite = math.isfinite(value)  # also False for a decimal whose digits would fill the memory
    except ValueError:
        finite = False  # a signalling NaN
    if not finite:
        raise NotAnInstantError("is not a finite number")
    return math.floor(value)


def _from_text(text: str, zone: tzinfo | None, per_second: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 40:  # Python's own limit is 4,300
        return int(text) // per_second
    if ":" not in text and _NUMBER.fullmatch(text):
        return _whole(Decimal(text)) // per_second
    try:
        return _from_datetime(*_moment(text, zone))
    except NotAnInstantError:
        raise
    except (ValueError, OverflowError):
        raise NotAnInstantError(
            "cannot be read as a timestamp; give epoch seconds or ISO 8601 such as 2025-01-31T09:00:00+01:00"
        ) from None


def _moment(text: str, zone: tzinfo | None) -> tuple[datetime, tzinfo | None]:
    """The moment that the text gives, and the zone in which to read it if it has no offset of its own."""
    try:
        return datetime.fromisoformat(text), zone
    except ValueError:
        apart = _ZONE_APART.fullmatch(text)
        if apart is None:
            raise
    named = apart["zone"]
    if named[0] in "+-":
        return datetime.fromisoformat(apart["moment"] + named), zone
    moment = datetime.fromisoformat(apart["moment"])
    if moment.tzinfo is not None:
        raise NotAnInstantError(f"has an offset and the zone {named}; give one of them")
    return moment, UTC if named in _UTC_NAMES else _zone_in_text(named)


@lru_cache(maxsize=100)
def _zone_in_text(name: str) -> tzinfo:
    try:
        return pendulum.timezone(name)
    except (InvalidTimezone, ValueError, OSError):
        raise NotAnInstantError(
            f"names the zone {name}, which is no IANA name; give an offset such as +01:00"
        ) from None


def _from_datetime(moment: datetime, zone: tzinfo | None) -> int:
    if moment.tzinfo is None or moment.utcoffset() is None:
        moment = _placed(moment.replace(tzinfo=None), zone)
    return (moment - _EPOCH) // _SECOND  # a float of seconds would round the last microseconds up


def _placed(naive: datetime, zone: tzinfo | None) -> datetime:
    if zone is None:
        raise NotAnInstantError("has no offset; add one to the data, or set timezone= on the operator")
    moment = naive.replace(tzinfo=zone, fold=0)
    if not 2 <= naive.year <= 9998:
        raise NotAnInstantError("outside 2000-01-01 .. 2100-01-01")  # the conversion below would overflow
    if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != naive.replace(fold=0):
        raise NotAnInstantError(f"does not exist in {zone}: clocks skipped it")
    return moment
