"""Runs other programs, and gives or shows their output."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class CommandFailedError(RuntimeError):
    """A program ended with another code than 0; the message has the end of its output."""


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(
        list(command), env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise CommandFailedError(f"{' '.join(command[:6])} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def say(text: str) -> None:
    """One line of progress, with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def wait_for(what: str, seconds: float, ready: Callable[[], bool]) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(2)
