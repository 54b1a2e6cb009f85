"""Computes the least time that has passed since something in the ledger happened. Pure.

A moment is kept by up to three clocks. Two can be set: the ledger's clock (the time of day on SQLite, the server's on
PostgreSQL) and the time of day of the machine that wrote. The third, seconds since that machine's boot, can only be
compared on the same boot. If the clocks disagree, the shorter time counts. A read that comes too early would find a
badge absent that is still on its way.
"""

from __future__ import annotations

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """A moment, by the clocks that were there."""

    at: float  #: epoch seconds by the ledger's clock
    server: float | None = None  #: start of the database server whose clock ``at`` is; ``None``: the machine's clock
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
        # the clock of another server cannot be compared, but the boot clock can
        return max(0.0, by_boot if then.server != now.server else min(by_ledger, by_boot))
    if then.server != now.server:
        return 0.0  # another machine wrote it before a restart or failover: no clock saw both moments
    if now.server is None and now.boot_seconds is not None:
        # One machine uses a file, so an earlier boot ended before this one began.
        return max(0.0, min(by_ledger, now.boot_seconds))
    # The server's clock may have been set. If the machines' clocks disagree, the wait becomes longer, never shorter.
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
