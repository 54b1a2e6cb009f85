"""Stacks for tests: `make up` as a process of its own, and the part of it below Airflow."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console

from dev.processes import Processes, Started
from dev.screen import Screen
from dev.stack.local_stack import LocalStack

DAGS = Path(__file__).with_name("dags")
SECONDS_TO_START = 900.0
SECONDS_TO_STOP = 300.0


class Up:
    """A stack that was started as a person starts it, and is stopped as a person stops it."""

    def __init__(self, folder: Path, dags: Path = DAGS) -> None:
        self.folder = folder
        self.output_file = folder.parent / "output"
        command = [sys.executable, "-m", "dev.stack.up", "--folder", str(folder)]
        self._processes = Processes()
        self.process = self._processes.start(
            "up",
            [*command, "--port", "0", "--dags", str(dags), "--stop-with-input"],
            os.environ,
            self.output_file,
            stdin=subprocess.PIPE,  # which ends with this process, however that ends
        )

    @property
    def output(self) -> str:
        return self.output_file.read_text("utf-8")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while "Ready after" not in self.output:
            assert self.process.poll() is None, self.reported()
            assert time.monotonic() < deadline, self.reported()
            time.sleep(0.2)

    def shown(self, name: str) -> str:
        """What it shows beside a name."""
        found = re.search(rf"^  {name} +(\S+)$", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    @property
    def warehouse(self) -> str:
        """Where libpq finds the warehouse."""
        return f"host={self.folder / 'postgres'} user=postgres dbname=warehouse"

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait for the end."""
        self._processes.stop("up", number=signal.SIGINT, everyone=False, seconds=SECONDS_TO_STOP)
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait()

    def started(self) -> list[Started]:
        """What is on record as started and not stopped."""
        return msgspec.json.decode((self.folder / "processes.json").read_bytes(), type=list[Started])

    def reported(self) -> str:
        """All that it said, and its processes."""
        logs = sorted(self.folder.glob("logs/*.log"))
        ends = [f"==> {log} <==\n" + log.read_text("utf-8", "replace")[-3_000:] for log in logs]
        return "\n".join([self.output, *ends])


def stack_in(folder: Path) -> tuple[LocalStack, io.StringIO]:
    """A stack that is not started yet, and what it will say."""
    output = io.StringIO()
    return LocalStack(folder, [], Screen(Console(file=output, width=200)).step, durable=False), output
