"""Clocks that do not jump, for ages and waits. The time of day can be set, and a machine can sleep.

Ages of intents and waits for a read are measured by ``steady``. The ledger keeps it beside ``boot_id``: processes of
one boot of one machine agree on it.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: Seconds by a clock that never jumps and that counts the machine's sleep; where it began means nothing. Linux's
#: monotonic clock stands still while the machine sleeps. macOS's goes on.
steady: Callable[[], float] = functools.partial(
    time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)


@functools.cache
def boot_id() -> str | None:
    """This boot of this machine, as this time namespace sees it; ``None`` where the system does not name its boots."""
    try:
        name = _BOOT_ID.read_text().strip()
    except OSError:
        return None
    try:
        # each time namespace has an offset of its own
        return f"{name}.{os.stat('/proc/self/ns/time').st_ino}"
    except OSError:  # a kernel without them
        return name
