"""Reads and prints instants as the API does.

The API's stack reads a number as epoch SECONDS, whatever its documentation says, and a string as ISO 8601. It therefore
does not refuse milliseconds: they become a year far away (+57906 in one of Capillary's own samples). So does this.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

#: Whole epoch seconds, and nanoseconds on top of them (0 .. 999,999,999).
Instant = tuple[int, int]

_FURTHEST = 31_556_889_864_403_199  # the last second that Java's Instant can hold
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_INTEGER = re.compile(r"-?\d{1,19}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_instant(value: object) -> Instant | None:
    """A value of an un-suffixed field: epoch seconds, or an ISO string with an offset. Raises ``ValueError``."""
    if type(value) is int:
        return _within_reach((value, 0))
    if value is None or value == "":
        return None
    if isinstance(value, float):
        whole = math.floor(value)
        return _within_reach((whole, int((Decimal(repr(value)) - whole) * 1_000_000_000)))
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return _within_reach((int(value), 0))
    return read_iso(value)


def read_iso(value: object) -> Instant | None:
    """A value of an ``*ISO`` field: ISO 8601 with an offset, a fraction allowed. Raises ``ValueError``."""
    if value is None or value == "":
        return None
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not an ISO 8601 date-time with an offset")
    moment = datetime.fromisoformat(match[1] + match[3])
    return (moment - _EPOCH) // timedelta(seconds=1), int((match[2] or "").ljust(9, "0"))


def _within_reach(instant: Instant) -> Instant:
    if abs(instant[0]) > _FURTHEST:
        raise ValueError("instant exceeds minimum or maximum")
    return instant


def as_number(instant: Instant) -> int | float:
    """Epoch seconds for people and tests: an ``int`` where there is no fraction."""
    return instant[0] if not instant[1] else instant[0] + instant[1] / 1_000_000_000


def nine_decimals(seconds: float) -> Decimal:
    """Epoch seconds as the API prints them: ``1705828011.000000000``."""
    return Decimal(repr(seconds)).quantize(Decimal("0.000000001"))


class ServerZone:
    """Prints instants in the server's time zone, which the API does whatever offset a request used."""

    def __init__(self, name: str) -> None:
        self._zone = ZoneInfo(name)
        # A batch often has few distinct expiries, and printing one costs more than all else of its row.
        self.iso = lru_cache(maxsize=65_536)(self._iso)

    def _iso(self, seconds: int) -> str:
        offset = self._offset(seconds)
        days, rest = divmod(seconds + offset, 86_400)
        minutes, second = divmod(rest, 60)
        return f"{_date(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{_offset_text(offset)}"

    def _offset(self, seconds: int) -> int:
        # Years beyond datetime's reach do occur (milliseconds sent as seconds): they get the last offset known.
        near = min(max(seconds, 0), 253_402_200_000)
        offset = datetime.fromtimestamp(near, self._zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0


def _date(days: int) -> str:
    """The proleptic Gregorian date of a day counted from 1970-01-01, for any year, as Java prints it."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153  # March is 0, so that a leap day comes last
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = era * 400 + year_of_era + (month <= 2)
    sign = "-" if year < 0 else "+" if year > 9_999 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}"


def _offset_text(offset: int) -> str:
    if not offset:
        return "Z"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"
