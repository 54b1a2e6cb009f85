"""Starts one tool once, and measures what it did, by its own output and by the sink's counts."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contestants import Contestant, command, environment, interpreter
from .servers import connection_of, fresh_state
from .sink_process import SinkProcess


@dataclass(frozen=True)
class Setting:
    """What all contestants are given alike."""

    folder: Path
    dataset: Path
    rows: int
    batch_size: int
    postgres: Path  #: folder of the socket of a PostgreSQL server of its own


@dataclass(frozen=True)
class Cost:
    """Of one whole import. Memory in bytes, of the process at its peak."""

    seconds: float
    cpu: float
    memory_peak: int
    green: int


def cost(contestant: Contestant, setting: Setting, sink: SinkProcess) -> Cost:
    """Run it from nothing to its end."""
    state = fresh_state(setting.folder, setting.postgres)
    done = subprocess.run(
        _command(contestant, setting, sink, state), env=environment(state), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{contestant.name} ended with {done.returncode}: {done.stderr[-3000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Cost(facts["seconds"], facts["cpu"], facts["memory_peak"], facts["green"])


def granted_twice_after_a_kill(contestant: Contestant, setting: Setting, sink: SinkProcess) -> int:
    """``kill -9`` when half of the rows are granted, then again as its user would; rows that were granted twice."""
    sink.reset()
    state = fresh_state(setting.folder, setting.postgres)
    arguments = _command(contestant, setting, sink, state)
    first = subprocess.Popen(
        arguments, env=environment(state), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while first.poll() is None and sink.counts()["granted"] < setting.rows // 2:
        time.sleep(0.001)
    if first.poll() is not None:
        raise RuntimeError(f"{contestant.name} ended before it could be killed; take more rows")
    # the group: what it started dies with it, as in a container
    subprocess.run(["kill", f"-{signal.SIGKILL.value}", "--", f"-{first.pid}"], check=True)
    first.wait()
    time.sleep(1)  # what was sent is read by the sink
    subprocess.run(arguments, env=environment(state), capture_output=True, check=False)
    counts = sink.counts()
    if counts["different"] < setting.rows:
        raise RuntimeError(f"{contestant.name}: after kill and retry only {counts['different']} rows are granted")
    return counts["granted"] - counts["different"]


def green_though_refused(contestant: Contestant, setting: Setting, refusing: SinkProcess) -> int:
    """Rows that the API refused and that the contestant calls imported; it may also fail, then there are none."""
    refusing.reset()
    state = fresh_state(setting.folder, setting.postgres)
    arguments = _command(contestant, setting, refusing, state)
    done = subprocess.run(arguments, env=environment(state), capture_output=True, text=True, check=False)
    if done.returncode:
        return 0
    green: int = json.loads(done.stdout.splitlines()[-1])["green"]
    return green - refusing.counts()["different"]


def _command(contestant: Contestant, setting: Setting, sink: SinkProcess, state: Path) -> list[str]:
    python = interpreter(contestant, setting.folder)
    return command(
        contestant, python, setting.dataset, sink.url, setting.batch_size, state, connection_of(setting.postgres)
    )
