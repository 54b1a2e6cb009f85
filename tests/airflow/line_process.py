"""A process that answers each line of JSON with one, until there is nothing more to read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class LineProcess:
    """A script of these tests at work. What it writes besides its answers goes to ``log``."""

    def __init__(self, script: Path, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, str(script)],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """One line, and what it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self.next_line()

    def next_line(self) -> dict[str, Any]:
        """Its next line: some write one unasked when they are started."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_bytes()[-5_000:].decode("utf-8", "replace")
        reported: dict[str, Any] = json.loads(line)
        return reported

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
