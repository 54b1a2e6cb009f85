"""A loopback server that answers each request as a test says, byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

Answer = Callable[[socket.socket], None]


def _ignore(connection: socket.socket, request: bytes) -> None:
    """What ``on_request`` does unless a test sets it."""


class ScriptedServer:
    """Reads whole requests, keeps them, and lets the next answer of the script write what it likes."""

    def __init__(self, answers: list[Answer]) -> None:
        self.requests: list[bytes] = []
        self.on_request: Callable[[socket.socket, bytes], None] = _ignore
        self._answers = list(answers)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            while (request := _read_request(connection)) is not None:
                with self._lock:
                    self.requests.append(request)
                    self.on_request(connection, request)
                    answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                answer(connection)

    def wait_for_hang_up(self) -> None:
        """Return once the client closed every connection made so far."""
        for thread in self._threads[1:]:
            thread.join(timeout=5)
            assert not thread.is_alive()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive()


def _read_request(connection: socket.socket) -> bytes | None:
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """``serve(answer, ...)``: one answer for each request, the last one for all that follow."""
    servers: list[ScriptedServer] = []

    def start(*answers: Answer) -> ScriptedServer:
        servers.append(ScriptedServer(list(answers)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
