"""Who holds a job: a name that tells whether its process can still be alive."""

from __future__ import annotations

import os
from pathlib import Path


def this_process() -> str:
    """Name this process: machine boot and process namespace, process id, start time."""
    return f"{_machine()}/{os.getpid()}/{_start_time(os.getpid()) or 'unknown'}"


def is_certainly_dead(owner: str) -> bool:
    """Whether the process of that name is gone for sure. Of processes elsewhere nothing is known: ``False``."""
    machine, _, rest = owner.partition("/")
    process_id, _, start_time = rest.partition("/")
    if machine != _machine() or not process_id.isdigit() or start_time == "unknown":
        return False
    return _start_time(int(process_id)) != start_time


def _machine() -> str:
    """One boot of one machine, as one process namespace (a container has its own) sees it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "unknown"


def _start_time(process_id: int) -> str | None:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
