"""Starts and stops the processes of tools and tests: each is recorded, and is checked to be gone after its stop.

Each process leads a session of its own. The system does not reuse a session's number while a process in it lives. So
children that a killed process left behind are distinguished from processes of others. The record is a file, from which
the next stack finds what outlived a killed one.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped] # its stubs are a package of their own; it comes with Airflow

from airflow_provider_capillary.ledger.lease import this_process
from dev.interrupts import interrupts_held

SECONDS_TO_STOP = 20.0
SECONDS_TO_DIE = 10.0
SECONDS_BETWEEN_LOOKS = 0.05
# The kernel counts from boot; a clock that is set shifts what it says by this much at most, we assume.
CLOCK_SECONDS = 5.0


class ProcessesStillThereError(RuntimeError):
    """Processes did not end although they were killed: they hang in the kernel, or belong to another user."""


class Started(msgspec.Struct, frozen=True):
    """A process as it was started."""

    name: str
    pid: int  #: and the number of its session
    began: float  #: epoch seconds
    machine: str  #: boot and process namespace, in which ``pid`` means something


class Processes:
    """Starts processes, knows them, stops them.

    :param record: the file in which the next stack finds what outlived this one; ``None``: there is no next one
    """

    def __init__(self, record: Path | None = None) -> None:
        self._record = record
        self._children: dict[str, tuple[Started, subprocess.Popen[bytes]]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        *,
        user: str | None = None,
        folder: Path | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a process with all its output in ``log``.

        In a session of its own it does not get the Ctrl-C that the terminal sends to everything in ours.

        :param user: whose process it shall be, where that is not us
        :param folder: where it runs, where that is not here
        :param stdin: its standard input, as ``subprocess`` takes it
        """
        account = pwd.getpwnam(user) if user else None
        log.parent.mkdir(parents=True, exist_ok=True)
        # An interrupt between its start and the note of it would leave it behind, unknown.
        with log.open("wb") as output, interrupts_held():
            child = subprocess.Popen(
                command,
                env=dict(env),
                cwd=folder,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=[] if account else None,
            )
            began = _began(child.pid) or time.time()
            self._children[name] = (Started(name, child.pid, began, _machine()), child)
            self._write()
        return child

    def ended(self) -> str | None:
        """Name a process that ended without having been stopped."""
        return next((name for name, (_, child) in self._children.items() if child.poll() is not None), None)

    def started(self) -> list[Started]:
        """What was started and not stopped, in order."""
        return [started for started, _ in self._children.values()]

    def stop(
        self,
        *names: str,
        number: signal.Signals = signal.SIGTERM,
        everyone: bool = True,
        seconds: float | None = None,
    ) -> None:
        """Stop processes at the same time, with all that they started, and return when nothing of it is left.

        :param names: those that were not started, or were stopped before, are passed over
        :param everyone: send the signal to all that they started too
        :param seconds: how long they may take before they are killed; ``None``: ``SECONDS_TO_STOP``
        :raises ProcessesStillThereError: something is left all the same
        """
        children = [self._children[name] for name in names if name in self._children]
        end([started for started, _ in children], number, everyone=everyone, seconds=seconds)
        for started, child in children:
            child.wait()
            del self._children[started.name]
        with suppress(OSError):  # the folder may have been removed; the processes have to end all the same
            self._write()

    def _write(self) -> None:
        if self._record is None:
            return
        unfinished = self._record.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(self.started()))
        unfinished.replace(self._record)


@contextmanager
def child_process(
    command: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    *,
    user: str | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` with all its output in ``log``; on leaving, stop it and what it started.

    For the parameters see ``Processes.start``.
    """
    processes = Processes()
    child = processes.start(log.stem, command, env, log, user=user, folder=folder)
    try:
        yield child
    finally:
        processes.stop(log.stem)


def left_over(record: Path) -> list[Started]:
    """What a stack with this record has started and not stopped; those of which anything lives."""
    try:
        found = msgspec.json.decode(record.read_bytes(), type=list[Started])
    except (OSError, msgspec.DecodeError):
        return []
    return [started for started in found if family(started)]


def end(
    all_started: Iterable[Started],
    number: signal.Signals = signal.SIGTERM,
    *,
    everyone: bool = False,
    seconds: float | None = None,
) -> None:
    """End processes and all that they started: politely first, for good after ``seconds``."""
    found = list(all_started)
    for started in found:
        members = family(started)
        _send(number, members if everyone else members[:1])
    _wait_for_end(found, SECONDS_TO_STOP if seconds is None else seconds)
    for started in found:
        _send(signal.SIGKILL, family(started))
    _wait_for_end(found, SECONDS_TO_DIE)
    left = [f"{started.name} ({process.pid})" for started in found for process in family(started)]
    if left:
        raise ProcessesStillThereError(f"still there although killed: {', '.join(left)}")


def family(started: Started) -> list[psutil.Process]:
    """The process and what it started, as far as it lives, itself first; nothing that only has its number now."""
    if started.machine != _machine():
        return []
    began = _began(started.pid)
    if began is not None and abs(began - started.began) > CLOCK_SECONDS:
        return []
    found = {process.pid: process for process in _session(started.pid)}
    if leader := found.get(started.pid):
        # PostgreSQL gives each of its processes a session of its own.
        found |= {process.pid: process for process in _children(leader)}
    # Not by number: numbers begin again at the system's largest, so that a child's may be below its parent's.
    return sorted((each for each in found.values() if _lives(each)), key=lambda each: each.pid != started.pid)


def _session(number: int) -> list[psutil.Process]:
    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == number:
                found.append(psutil.Process(pid))
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _began(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def _machine() -> str:
    return this_process().partition("/")[0]


def _send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _wait_for_end(all_started: Sequence[Started], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(family(started) for started in all_started) and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
