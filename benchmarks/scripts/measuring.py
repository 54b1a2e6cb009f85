"""What every contestant prints of itself, measured in its own process, after its imports.

Nothing of the project is imported here: each peer runs in an environment of its own, which does not have it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def cpu_seconds() -> float:
    """CPU of this process and of those that it waited for: all threads, user and system."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def memory(name: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (at most so far), bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measured(work: Callable[[], int]) -> None:
    """Do the work, which returns the rows that it takes for imported; print one line of JSON."""
    before, began, cpu = memory("VmRSS"), time.monotonic(), cpu_seconds()
    green = work()
    facts = {
        "green": green,
        "seconds": time.monotonic() - began,
        "cpu": cpu_seconds() - cpu,
        "memory_before": before,
        "memory_peak": max(memory("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024),
    }
    sys.stdout.write(f"\n{json.dumps(facts)}\n")
    sys.stdout.flush()
