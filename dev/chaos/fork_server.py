"""Starts lives fast: a process that has imported everything forks one child for each life.

Only this process knows which children are not reaped yet, so signals go through it. A process id that the system has
given to another process since is thus never hit.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import alembic.command  # imported before the fork: each child would need a second for it
import alembic.runtime.migration  # noqa: F401
import msgspec
import psycopg  # noqa: F401
import pyarrow.csv  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite  # noqa: F401

from .life import Life, live

_READY = "ready\n"
_ROOT = Path(__file__).parents[2]


class Child:
    """A life in progress, as the driver sees it."""

    def __init__(self, server: ForkServer, number: int) -> None:
        self._server = server
        self._number = number
        self.over = threading.Event()
        self.status = 0  #: as ``waitpid`` gives it

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it, or a SIGTERM that came before it could listen."""
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) in (signal.SIGKILL, signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        self._server.send({"signal": int(number), "child": self._number})


class ForkServer:
    """The driver's end. Thread-safe."""

    def __init__(self) -> None:
        # isolated from pytest's and the caller's environment: the package is found from the project's root
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.chaos.fork_server"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        if self._process.stdout is None or self._process.stdout.readline() != _READY:
            raise RuntimeError("the fork server did not start")
        threading.Thread(target=self._listen, daemon=True, name="chaos-fork-server").start()

    def start(self, life: Life, log: Path) -> Child:
        """Begin a life; what it prints goes to a file."""
        with self._lock:
            number = len(self._children)
            child = self._children[number] = Child(self, number)
        self.send({"child": number, "life": msgspec.to_builtins(life), "log": str(log)})
        return child

    def send(self, message: dict[str, Any]) -> None:
        """Give the server an order."""
        if self._process.stdin is None:
            raise AssertionError("started with a pipe")
        with self._lock:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            message = json.loads(line)
            child = self._children[message["child"]]
            child.status = message["status"]
            child.over.set()

    def close(self) -> None:
        """End the server; it ends what still lives."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)
        if self._process.stdout is not None:
            self._process.stdout.close()


class _Server:
    """The other end: single-threaded, so that a fork is safe."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # process id -> child, not reaped yet
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._rest = b""

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(self._woken, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if 0 in ready and not self._obey():
                break
        for process in list(self._numbers):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)

    def _obey(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "life" in message:
                self._fork(message)
            else:
                self._signal(message["child"], message["signal"])
        return bool(data)

    def _fork(self, message: dict[str, Any]) -> None:
        process = os.fork()
        if process == 0:
            _become_child(message)
        self._numbers[process] = message["child"]

    def _signal(self, child: int, number: int) -> None:
        for process, its_child in self._numbers.items():
            if its_child == child:
                os.kill(process, number)

    def _reap(self) -> None:
        while self._numbers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            answer = {"child": self._numbers.pop(process), "status": status}
            os.write(1, json.dumps(answer).encode() + b"\n")


def _become_child(message: dict[str, Any]) -> None:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(message["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(descriptor, target)
        live(msgspec.convert(message["life"], Life))
    finally:
        os._exit(0)


if __name__ == "__main__":
    os.write(1, _READY.encode())
    _Server().run()
