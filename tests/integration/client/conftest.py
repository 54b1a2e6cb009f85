"""A loopback server that answers each request as a test says, byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from .loopback_server import LoopbackServer, read_request

Answer = Callable[[socket.socket], None]


def _ignore(connection: socket.socket, request: bytes) -> None:
    """What ``on_request`` does unless a test sets it."""


class ScriptedServer(LoopbackServer):
    """Reads whole requests, keeps them, and lets the next answer of the script write what it likes."""

    def __init__(self, answers: list[Answer]) -> None:
        self.requests: list[bytes] = []
        self.on_request: Callable[[socket.socket, bytes], None] = _ignore
        self._answers = list(answers)
        self._lock = threading.Lock()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        while (parts := read_request(connection)) is not None:
            request = b"\r\n\r\n".join(parts)
            with self._lock:
                self.requests.append(request)
                self.on_request(connection, request)
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            answer(connection)


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
