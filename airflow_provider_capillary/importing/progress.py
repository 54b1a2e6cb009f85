"""Progress lines at a calm pace: rows, share, rate, estimate."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

CALM_SECONDS = 10.0


class Progress:
    """Call ``tell`` as often as you like; a line comes out every ten seconds."""

    def __init__(self, rows: int, monotonic: Callable[[], float]) -> None:
        self._rows = rows
        self._monotonic = monotonic
        self._begun = self._told = monotonic()

    def tell(self, done: int) -> None:
        """Say how far the job is, if the last line is old enough."""
        now = self._monotonic()
        if now - self._told >= CALM_SECONDS:
            self._told = now
            log.info("%s", line(done, self._rows, now - self._begun))


def line(done: int, rows: int, seconds: float) -> str:
    """One line of progress."""
    share = f" ({done / rows:.0%})" if rows else ""
    rate = done / seconds if seconds > 0 else 0.0
    rest = f", about {_duration((rows - done) / rate)} left" if rate and rows > done else ""
    return f"{done:,} of {rows:,} rows{share}, {rate:,.0f} rows/s{rest}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
