"""Clocks that do not jump, for ages and waits. The time of day can be set, and a machine can sleep.

Ages of intents and waits for a read are measured by ``steady``; ``boot`` is what the ledger keeps of it.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

import msgspec

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Goes on while the machine sleeps, which Linux's monotonic clock does not. macOS's monotonic clock does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Boot(msgspec.Struct, frozen=True):
    """One boot of one machine, and seconds since then. Processes on it agree on both."""

    boot_id: str
    seconds: float


def steady() -> float:
    """Seconds by a clock that never jumps and that counts the machine's sleep; where it began means nothing."""
    return time.clock_gettime(_CLOCK)


def boot() -> Boot | None:
    """This boot of this machine, as this time namespace sees it; ``None`` where the system does not name its boots."""
    boot_id = _boot_id()
    return None if boot_id is None else Boot(boot_id, steady())


@functools.cache
def _boot_id() -> str | None:
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        return None
    try:
        # each time namespace has an offset of its own
        return f"{boot_id}.{os.stat('/proc/self/ns/time').st_ino}"
    except OSError:  # a kernel without them
        return boot_id
