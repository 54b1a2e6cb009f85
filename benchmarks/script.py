"""Starts one of our scripts in a process of its own, and reads what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contestants import SCRIPTS, environment


@dataclass(frozen=True)
class Measured:
    """Memory in bytes: before the work, and at its peak."""

    rows: int
    seconds: float
    cpu: float
    memory_before: int
    memory_peak: int

    @property
    def rows_per_second(self) -> float:
        """The speed of this start."""
        return self.rows / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds for a million rows."""
        return self.cpu / self.rows * 1e6


def run(script: str, state: Path, *arguments: object) -> Measured:
    """Run it to its end."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment(state), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}: {done.stderr[-3000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Measured(facts["green"], facts["seconds"], facts["cpu"], facts["memory_before"], facts["memory_peak"])
