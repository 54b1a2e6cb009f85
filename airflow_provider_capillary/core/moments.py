"""How long ago something in the ledger happened, at least. Pure.

A moment is kept by up to three clocks: the ledger's clock (the time of day with SQLite, the server's with PostgreSQL)
and the time of day of the machine that wrote, which can both be set, and seconds since that machine's boot, which only
that boot can compare. A read that comes too early takes a badge for absent that is still on its way, so of two answers
the shorter time counts.
"""

from __future__ import annotations

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """A moment, by the clocks that were there."""

    at: float  #: epoch seconds by the ledger's clock
    server: float | None = None  #: when the database server began to run whose clock that is; ``None``: the machine's
    boot_id: str | None = None  #: which boot of which machine
    boot_seconds: float | None = None  #: seconds since that boot
    time_of_day: float | None = None  #: epoch seconds by the machine, beside a server's clock


def least_seconds_between(then: Moment, now: Moment) -> float:
    """The least time that can have passed, in seconds, never below 0.

    Example: an intent was noted while the clock was an hour behind; after it was set, on the same boot, the time of
    day says an hour and the boot clock 2 s: 2 s have passed.
    """
    by_ledger = now.at - then.at
    by_boot = _by_boot_clock(then, now)
    if by_boot is not None:
        # another server's clock says nothing beside the boot clock
        return max(0.0, by_boot if then.server != now.server else min(by_ledger, by_boot))
    if then.server != now.server:
        return 0.0  # after a restart or a failover, and written elsewhere: no clock is left that saw both
    if now.server is None and now.boot_seconds is not None:
        # A file has one machine, so that an earlier boot ended before this one began.
        return max(0.0, min(by_ledger, now.boot_seconds))
    # The server's clock may have been set. Machines that do not agree make the wait longer, never shorter.
    return max(0.0, min(by_ledger, _by_time_of_day(then, now, by_ledger)))


def _by_time_of_day(then: Moment, now: Moment, otherwise: float) -> float:
    if then.time_of_day is None or now.time_of_day is None:
        return otherwise
    return now.time_of_day - then.time_of_day


def _by_boot_clock(then: Moment, now: Moment) -> float | None:
    if then.boot_id is None or then.boot_id != now.boot_id:
        return None
    if then.boot_seconds is None or now.boot_seconds is None:
        return None
    return now.boot_seconds - then.boot_seconds
