"""How old an intent may be when its body leaves, and by when the body of a process that died has left.

An import checks the age of an intent where the body is asked for, and a connection is closed where writing takes too
long. Reading back waits for ``seconds_to_wait``. Both use the numbers of this file and no others: a read
that counts from an earlier moment takes a badge for absent that is still on its way.

Read the numbers from the module when they are needed: tests and campaigns that kill processes set smaller ones.
"""

from __future__ import annotations

#: An intent that is older than this when its body is asked for is taken back; compare there, not before. Well above
#: the 5 s that a resolver waits for a name server that is gone, or no connection there would ever be quick enough.
STALE_INTENT_SECONDS = 20.0
#: The time to write one body, whatever its size.
WRITE_SECONDS = 60.0


def seconds_to_wait(age: float, verify_after: float, *, cut_off: bool) -> float:
    """Seconds until a read may be believed that does not show a badge: ``verify_after`` since its body left, at most.

    Never more than ``verify_after`` and the time in which a body can leave, whatever the clocks say.

    :param age: the least seconds since the exchange was over, or with ``cut_off`` since the intent was noted.
    :param cut_off: the process recorded no end of the exchange: it died, or it still runs and lost its job.
    """
    leaving = STALE_INTENT_SECONDS + WRITE_SECONDS if cut_off else 0.0
    return max(0.0, leaving + verify_after - max(0.0, age))
