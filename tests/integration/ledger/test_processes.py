"""Several processes on one ledger, one of which may be killed at any time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError

from .backends import Backend
from .building import badge, begin, state

PROGRAM = Path(__file__).with_name("ledger_process.py")


class Process:
    """A process with a ledger of its own."""

    def __init__(self, url: str, run: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-W", "ignore", PROGRAM, url, run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.hear() == "ready"

    def send(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(line + "\n")

    def hear(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.send(line)
        return self.hear()

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self._popen.stdin, self._popen.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start() -> Iterator[Callable[[str, str], Process]]:
    """Starts processes, and ends them after the test."""
    started: list[Process] = []

    def start_one(url: str, run: str) -> Process:
        started.append(Process(url, run))
        return started[-1]

    yield start_one
    for process in started:
        process.close()


Start = Callable[[str, str], Process]


def test_two_processes_share_claimed_rows(backend: Backend, start: Start) -> None:
    processes = [start(backend.url, run) for run in ("first run", "second run")]
    assert [process.ask("open") for process in processes] == ["begun", "begun"]
    rows = [str(row) for row in range(1, 41)]
    for process in processes:
        process.send(f"claim {' '.join(rows)}")
    first, second = (process.hear().split() for process in processes)
    assert len(first) == len(second) == len(rows)
    for row, *answers in zip(rows, first, second, strict=True):
        assert sorted(answers) == sorted([row, "-"])


def test_a_killed_processs_intent_is_unknown_and_taken(backend: Backend, start: Start) -> None:
    process = start(backend.url, "2026-01-01")
    assert process.ask("open") == "begun"
    assert process.ask("claim 1 2") == "1 2"
    ledger = backend.open()
    with pytest.raises(JobIsRunningError):
        begin(ledger)
    process.kill()
    job = begin(ledger)  # no waiting for the lease: that process is gone for sure
    assert (job.resumed, job.fence) == (True, 2)
    assert [state(ledger, job, badge(row)) for row in (1, 2)] == [RowState.UNKNOWN, RowState.UNKNOWN]


def test_one_of_two_processes_gets_the_job(backend: Backend, start: Start) -> None:
    processes = [start(backend.url, "2026-01-01") for _ in range(2)]
    for process in processes:
        process.send("open")
    assert sorted(process.hear() for process in processes) == ["JobIsRunningError", "begun"]


def test_two_processes_make_one_ledger(fresh_backend: Backend, start: Start) -> None:
    processes = [start(fresh_backend.url, run) for run in ("first run", "second run")]
    for process in processes:
        process.send("upgrade")
    assert [process.hear() for process in processes] == ["upgraded", "upgraded"]
    assert [process.ask("open") for process in processes] == ["begun", "begun"]
    with fresh_backend.look() as connection:
        versions = connection.execute(sa.text("SELECT version_num FROM capillary_alembic_version")).all()
    assert len(versions) == 1
