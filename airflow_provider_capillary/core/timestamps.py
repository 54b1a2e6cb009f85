"""Any value a warehouse may hold for an instant -> whole epoch seconds, or a reason why not."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import pendulum
from pendulum.tz.exceptions import InvalidTimezone

from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LATEST_INSTANT
from airflow_provider_capillary.exceptions import ConfigurationError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


class NotAnInstantError(ValueError):
    """The value is no instant; the message says why and what to give instead."""


def named_zone(name: str | None) -> tzinfo | None:
    """Turn an IANA name into a zone; ``None`` stays ``None`` (naive timestamps are then refused)."""
    if name is None:
        return None
    try:
        return pendulum.timezone(name)
    except (InvalidTimezone, ValueError, OSError) as error:
        raise ConfigurationError(
            f"timezone={name!r} is not an IANA time zone name; give one such as 'Europe/Berlin'"
        ) from error


def epoch_seconds(value: Any, zone: tzinfo | None) -> int:
    """Return the instant in whole epoch seconds (fractions are cut off towards the past).

    Numbers, and text of digits only, are epoch seconds. Text is ISO 8601. Naive values are read in
    ``zone``; without a zone they are refused. Where clocks went back, the first of the two instants is
    taken; a local time that clocks skipped is refused.
    """
    seconds = _seconds(value, zone)
    if EARLIEST_INSTANT <= seconds < LATEST_INSTANT:
        return seconds
    for factor, unit in ((1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")):
        if EARLIEST_INSTANT <= seconds // factor < LATEST_INSTANT:
            raise NotAnInstantError(f"looks like epoch {unit}; give epoch seconds or ISO 8601 text")
    raise NotAnInstantError("outside 2000-01-01 .. 2100-01-01 when read as epoch seconds or ISO 8601")


def _seconds(value: Any, zone: tzinfo | None) -> int:
    if isinstance(value, bool):
        raise NotAnInstantError("is a boolean; give epoch seconds or ISO 8601 text")
    if isinstance(value, int):
        return value
    if isinstance(value, (float, Decimal)):
        return _whole(value)
    if isinstance(value, str):
        return _from_text(value, zone)
    if isinstance(value, date):
        return _from_date(value, zone)
    raise NotAnInstantError(f"is of type {type(value).__name__}; give epoch seconds or ISO 8601 text")


def _from_date(value: date, zone: tzinfo | None) -> int:
    try:
        return _from_datetime(value if isinstance(value, datetime) else datetime.combine(value, time.min), zone)
    except NotAnInstantError:
        raise
    except Exception as error:  # a zone may be of any class, which decides what is raised
        raise NotAnInstantError("has a time zone that cannot be applied; give it in UTC") from error


def _whole(value: float | Decimal) -> int:
    try:
        finite = math.isfinite(value)  # also refuses a decimal whose digits would fill the memory
    except ValueError:
        finite = False  # a signalling NaN
    if not finite:
        raise NotAnInstantError("is not a finite number")
    return math.floor(value)


def _from_text(text: str, zone: tzinfo | None) -> int:
    if text.isascii() and text.isdigit() and len(text) < 40:  # Python's own limit is 4,300
        return int(text)
    if _NUMBER.fullmatch(text):
        return _whole(Decimal(text))
    try:
        return _from_datetime(datetime.fromisoformat(text), zone)
    except NotAnInstantError:
        raise
    except (ValueError, OverflowError):
        raise NotAnInstantError(
            "cannot be read as a timestamp; give epoch seconds or ISO 8601 such as 2025-01-31T09:00:00+01:00"
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
        raise NotAnInstantError("outside 2000-01-01 .. 2100-01-01")  # where converting itself would overflow
    if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != naive.replace(fold=0):
        raise NotAnInstantError(f"does not exist in {zone}: clocks skipped it")
    return moment
