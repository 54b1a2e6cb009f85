"""A server on loopback that reads whole requests, a thread for each connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class LoopbackServer:
    """Accepts from the moment it is made; so whatever ``serve`` needs must be there before."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._connections: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return len(self._connections)

    def wait_for_hang_up(self) -> None:
        """Return once the client closed every connection made so far."""
        for thread in self._connections:
            thread.join(timeout=5)
            assert not thread.is_alive()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(timeout=10)  # before the others: until then there may come one more
        assert not self._accepting.is_alive()
        for thread in self._connections:
            thread.join(timeout=10)
            assert not thread.is_alive()

    def serve(self, connection: socket.socket) -> None:
        """What happens on one connection, until it is closed."""
        raise NotImplementedError

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._connections.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            self.serve(connection)


def read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Head and body of the next request; ``None`` where there is none any more."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        part = connection.recv(65536)
        if not part:
            return None
        body += part
    return head, body
