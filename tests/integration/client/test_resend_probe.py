"""Who sends a body twice? A server that applies it all, and then drops, hangs or answers half, counts one call."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
import requests
from requests.adapters import HTTPAdapter

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings, ImportMethod
from airflow_provider_capillary.core.reply import Transmission

from .loopback_server import LoopbackServer, read_request

BODY = b'[{"badgeMetaId":"654e08f2041fd452b3ef5b2e","customerId":1,"earnEventDate":1,"earnExpiresOn":2}]'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
TIMEOUT = 0.3
Misbehave = Callable[[socket.socket, threading.Event], None]


class ApplyingServer(LoopbackServer):
    """Applies every body that arrives whole, as an API would, and then lets ``misbehave`` do what it likes.

    :param good: so many calls on each connection are answered well first.
    :param hang_up_after: the server closes a kept connection after so many answers, as idle ones are closed.
    """

    def __init__(self, misbehave: Misbehave, *, good: int = 0, hang_up_after: int = 0) -> None:
        self.applied: list[bytes] = []
        self.hung_up = threading.Event()
        self._misbehave = misbehave
        self._good = good
        self._hang_up_after = hang_up_after
        self._stopping = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        answered = 0
        while (parts := read_request(connection)) is not None:
            self.applied.append(parts[1])
            if answered == self._good:
                self._misbehave(connection, self._stopping)
                return
            connection.sendall(WHOLE)
            answered += 1
            if answered == self._hang_up_after:
                connection.shutdown(socket.SHUT_RDWR)
                self.hung_up.set()
                return

    def close(self) -> None:
        self._stopping.set()
        super().close()


def drop(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(_connection: socket.socket, stopping: threading.Event) -> None:
    stopping.wait(10)


def half_a_head(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.sendall(WHOLE[:30])


def half_a_body(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n[{")


def half_a_body_and_hang(connection: socket.socket, stopping: threading.Event) -> None:
    half_a_body(connection, stopping)
    stopping.wait(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., ApplyingServer]]:
    servers: list[ApplyingServer] = []

    def start(misbehave: Misbehave, **kwargs: int) -> ApplyingServer:
        servers.append(ApplyingServer(misbehave, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(params=list(ImportMethod))
def settings(request: pytest.FixtureRequest) -> ClientSettings:
    return ClientSettings(
        base_url="", login="till", password="sesame", import_method=request.param, timeout=TIMEOUT, connect_timeout=5.0
    )


@pytest.fixture
def client_of(settings: ClientSettings) -> Iterator[Callable[[ApplyingServer], BadgeClient]]:
    made: list[BadgeClient] = []

    def make(server: ApplyingServer) -> BadgeClient:
        made.append(BadgeClient(msgspec.structs.replace(settings, base_url=server.url)))
        return made[-1]

    yield make
    for client in made:
        client.close()


MISBEHAVIOURS = (drop, reset, hang, half_a_head, half_a_body, half_a_body_and_hang)
ClientOf = Callable[[ApplyingServer], BadgeClient]
Serve = Callable[..., ApplyingServer]


@pytest.mark.parametrize("misbehave", MISBEHAVIOURS)
def test_a_call_on_a_new_connection_applies_once(serve: Serve, client_of: ClientOf, misbehave: Misbehave) -> None:
    server = serve(misbehave)
    assert client_of(server).import_badges(BODY, "one").transmission is Transmission.LOST
    assert server.applied == [BODY]


@pytest.mark.parametrize("misbehave", MISBEHAVIOURS)
def test_a_call_on_a_kept_connection_applies_once(serve: Serve, client_of: ClientOf, misbehave: Misbehave) -> None:
    server = serve(misbehave, good=1)
    client = client_of(server)
    assert client.import_badges(b"[1]", "one").transmission is Transmission.REPLIED
    assert client.import_badges(BODY, "two").transmission is Transmission.LOST
    assert server.connections == 1
    assert server.applied == [b"[1]", BODY]


def test_a_closed_kept_connection_applies_once(serve: Serve, client_of: ClientOf) -> None:
    server = serve(drop, good=9, hang_up_after=1)
    client = client_of(server)
    assert client.import_badges(b"[1]", "one").transmission is Transmission.REPLIED
    assert server.hung_up.wait(5)
    # The closing may reach the client before or after it looks: either a new connection, or no proof; never twice.
    transmission = client.import_badges(BODY, "two").transmission
    assert server.applied == [b"[1]", BODY][: 1 + (transmission is Transmission.REPLIED)]
    assert transmission in (Transmission.REPLIED, Transmission.LOST)


def test_calls_on_broken_connections_apply_at_most_once(serve: Serve, client_of: ClientOf) -> None:
    server = serve(drop, good=2)
    client = client_of(server)
    bodies = [b"[%d]" % number for number in range(12)]
    transmissions = [client.import_badges(body, str(place)).transmission for place, body in enumerate(bodies)]
    assert server.applied == bodies
    assert transmissions == [Transmission.REPLIED, Transmission.REPLIED, Transmission.LOST] * 4


def test_the_server_counts_a_client_that_does_resend(serve: Serve) -> None:
    server = serve(drop)
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=2))
        with pytest.raises(requests.ConnectionError):
            session.put(server.url, data=BODY, timeout=TIMEOUT)
    assert server.applied == [BODY] * 3
