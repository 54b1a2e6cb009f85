"""How old an intent may be when its body leaves, and by when the body of a process that died has left.

An import checks the age of an intent where the body is asked for, and a connection is closed where writing takes too
long. Reading back counts ``verify_after`` from ``left_by``. Both use the numbers of this file and no others: a read
that counts from an earlier moment takes a badge for absent that is still on its way.

Read the numbers from the module when they are needed: tests and campaigns that kill processes set smaller ones.
"""

from __future__ import annotations

#: An intent that is older than this when its body is asked for is taken back. Well above the 5 s that a resolver
#: waits for a name server that is gone, or no connection there would ever be quick enough.
STALE_INTENT_SECONDS = 20.0
#: The time to write one body, whatever its size.
WRITE_SECONDS = 60.0


def may_leave(age: float) -> bool:
    """Whether the body of an intent of so many seconds may leave; ask where the body is asked for, not before."""
    return age <= STALE_INTENT_SECONDS


def left_by(since: float, *, cut_off: bool) -> float:
    """The latest moment at which the body of a batch can have left, on the clock of ``since``.

    :param since: epoch seconds: when the exchange was over, or with ``cut_off`` when the intent was noted.
    :param cut_off: the process recorded no end of the exchange: it died, or it still runs and lost its job.
    """
    return since + STALE_INTENT_SECONDS + WRITE_SECONDS if cut_off else since
