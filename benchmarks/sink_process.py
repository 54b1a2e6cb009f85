"""The sink in a process of its own, so that none of its work is counted as a contestant's."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class SinkProcess:
    """A running sink, and what it counted."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> dict[str, int]:
        """``granted`` rows, and how many ``different`` ones they are."""
        counts: dict[str, int] = self._get("counts")
        return counts

    def answered(self) -> list[float]:
        """When each import was answered since the last ``reset``, in seconds."""
        moments: list[float] = self._get("answered")
        return moments

    def reset(self) -> None:
        """Forget what was counted."""
        self._get("reset")

    def _get(self, name: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/sink/{name}", timeout=30) as reply:
            return json.load(reply)


@contextmanager
def running_sink(latency_ms: float = 0, *, count: bool = False, refuse_every: int = 0) -> Iterator[SinkProcess]:
    """Start one on a free loopback port; it ends with its standard input."""
    options = ["--latency", str(latency_ms), "--refuse-every", str(refuse_every), *(["--count"] if count else [])]
    command = [sys.executable, "-m", "benchmarks.sink", *options]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield SinkProcess(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.stdin.close()
