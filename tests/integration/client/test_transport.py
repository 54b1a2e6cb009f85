from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_capillary.core.reply import Reply, Transmission

from .sending import ARRAY, BODY, Serve, basic, closed_port, reply, sent, written


def then_closed(data: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("connected_before", [False, True], ids=["new connection", "kept connection"])
def test_a_body_that_is_kept_back_never_leaves(serve: Serve, connected_before: bool) -> None:
    server = serve(written(reply(ARRAY)), written(reply(ARRAY)), written(reply(ARRAY)))
    with basic(server.url) as made:
        if connected_before:
            made.import_badges(BODY, "before")
        found = made.import_badges(BODY, "kept back", lambda: "not sent: the connection took 9.0 s")
        assert (found.transmission, found.problem) == (Transmission.NOT_WRITTEN, "not sent: the connection took 9.0 s")
        assert made.import_badges(BODY, "after", lambda: None).transmission is Transmission.REPLIED
    assert [b"kept back" in request for request in server.requests] == [False] * (1 + connected_before)
    assert server.connections == 2  # half a request is on the first one: it is of no more use


def test_a_body_is_checked_only_once_connected(serve: Serve) -> None:
    server = serve(written(reply(ARRAY)))
    asked: list[str] = []

    def note() -> None:
        asked.append("asked")

    with basic(server.url) as made:
        made.import_badges(BODY, "one", note)
    assert asked == ["asked"]
    with basic(f"http://127.0.0.1:{closed_port()}") as made:
        assert made.import_badges(BODY, "one", note).transmission is Transmission.NOT_WRITTEN
    assert asked == ["asked"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reset, "reset"),
        (then_closed(b""), "closed the connection without a reply"),
        (then_closed(b"HTTP/1.1 200 OK\r\nContent-Le"), ""),
        (then_closed(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + ARRAY), "broke off"),
        (then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + ARRAY[:10]), ""),
        (then_closed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + ARRAY), ""),
        (then_closed(b"no HTTP at all\r\n\r\n"), "no valid HTTP"),
    ],
    ids=["reset", "closed", "half a header", "length too long", "chunk broken off", "chunk length", "no http"],
)
def test_any_break_after_the_write_is_lost_and_sent_once(serve: Serve, answer: Any, reason: str) -> None:
    server = serve(answer)
    found = sent(server.url)
    assert found.transmission is Transmission.LOST
    assert reason in found.problem
    assert found.problem
    assert found.entries is None
    assert [BODY in request for request in server.requests] == [True]


def test_a_drop_between_batches_resends_neither(serve: Serve) -> None:
    server = serve(written(reply(ARRAY)), reset, written(reply(ARRAY)))
    with basic(server.url) as made:
        transmissions = [made.import_badges(BODY, f"request-{number}").transmission for number in range(3)]
    assert transmissions == [Transmission.REPLIED, Transmission.LOST, Transmission.REPLIED]
    assert len(server.requests) == 3


def timed(url: str, timeout: float) -> tuple[Reply, float]:
    started = time.monotonic()
    found = sent(url, timeout=timeout)
    return found, time.monotonic() - started


def test_a_silent_server_is_lost_after_the_timeout(serve: Serve) -> None:
    hold = threading.Event()
    found, elapsed = timed(serve(lambda connection: hold.wait(10)).url, 0.2)
    hold.set()
    assert found.transmission is Transmission.LOST
    assert found.problem == "no complete reply within the timeout"
    assert elapsed < 3


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        pytest.param(b"", b"x", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"x", id="headers"),
        pytest.param(reply(b" " * 500)[:90], b"x", id="body"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim replies, 100"),
        pytest.param(b"", b"HTTP/1.1 102 Processing\r\n\r\n", id="interim replies, 102"),
        pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", id="interim replies, 103"),
    ],
)
def test_dripping_bytes_cannot_outlast_the_timeout(serve: Serve, start: bytes, repeated: bytes) -> None:
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while not done.wait(0.02):
            connection.sendall(repeated)

    found, elapsed = timed(serve(drip).url, 0.3)
    done.set()
    assert found.transmission is Transmission.LOST
    assert 0.25 < elapsed < 3


def test_a_late_byte_does_not_restart_the_timeout(serve: Serve) -> None:
    hold = threading.Event()

    def late(connection: socket.socket) -> None:
        hold.wait(0.5)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        hold.wait(10)

    found, elapsed = timed(serve(late).url, 0.6)
    hold.set()
    assert found.transmission is Transmission.LOST
    assert elapsed < 1.0


def test_a_server_that_switches_protocols_gave_no_reply(serve: Serve) -> None:
    server = serve(written(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + reply(ARRAY)))
    with basic(server.url) as made:
        found = made.import_badges(BODY, "request-1")
        assert made.import_badges(BODY, "request-2").transmission is Transmission.LOST
    assert (found.transmission, found.entries) == (Transmission.LOST, None)
    assert server.connections == 2


@pytest.mark.parametrize(
    "broken", [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x", b"HTTP/1.1 102 Pro"]
)
def test_an_interim_reply_alone_is_lost(serve: Serve, broken: bytes) -> None:
    found = sent(serve(then_closed(broken)).url)
    assert (found.transmission, found.entries) == (Transmission.LOST, None)


# -- complete replies


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints", "150 Any"])
@pytest.mark.parametrize("times", [1, 3])
def test_interim_replies_are_skipped_and_end_their_connection(serve: Serve, interim: str, times: int) -> None:
    before = f"HTTP/1.1 {interim}\r\nLink: </style.css>\r\n\r\n".encode() * times
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(ARRAY), ARRAY)
    server = serve(written(before + reply(ARRAY)), written(before + chunked), written(reply(ARRAY)))
    with basic(server.url) as made:
        found = [made.import_badges(BODY, f"request-{number}") for number in range(4)]
    assert [(each.transmission, each.status, each.entries is not None) for each in found] == [
        (Transmission.REPLIED, 200, True)
    ] * 4
    assert len(server.requests) == 4
    assert server.connections == 3  # the last two share one


def test_request_and_reply_are_as_documented(serve: Serve) -> None:
    server = serve(written(reply(ARRAY, "200 OK", "X-Cap-RequestID: srv-9")))
    found = sent(f"{server.url}/prefix")
    assert (found.transmission, found.status, found.server_request_id) == (Transmission.REPLIED, 200, "srv-9")
    assert found.entries is not None
    [request] = server.requests
    head = request.split(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    assert head[0] == "put /prefix/api_gateway/v1/badges/import/customerbadges http/1.1"
    assert "x-cap-request-id: request-1" in head
    assert "content-type: application/json" in head
    assert f"content-length: {len(BODY)}" in head
    assert request.endswith(BODY)


def test_the_other_method_needs_its_setting(serve: Serve) -> None:
    server = serve(written(reply(ARRAY)))
    sent(server.url, import_method="POST")
    assert server.requests[0].startswith(b"POST ")


def test_a_compressed_reply_is_read(serve: Serve) -> None:
    server = serve(written(reply(gzip.compress(ARRAY), "200 OK", "Content-Encoding: gzip")))
    found = sent(server.url)
    assert found.entries is not None
    assert found.entries[0].data is not None


def test_a_damaged_compressed_reply_proves_nothing(serve: Serve) -> None:
    server = serve(written(reply(b"not gzip at all", "200 OK", "Content-Encoding: gzip")))
    found = sent(server.url)
    assert (found.status, found.entries, found.envelope) == (200, None, None)
    assert found.problem == "the body cannot be decompressed"


def test_a_chunked_reply_is_read(serve: Serve) -> None:
    size = f"{len(ARRAY):x}".encode()
    server = serve(
        written(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + ARRAY + b"\r\n0\r\n\r\n")
    )
    assert sent(server.url).entries is not None


def test_connections_are_kept_between_batches(serve: Serve) -> None:
    connections: set[int] = set()

    def answer(connection: socket.socket) -> None:
        connections.add(connection.fileno())
        connection.sendall(reply(ARRAY))

    server = serve(answer)
    with basic(server.url) as made:
        for number in range(5):
            assert made.import_badges(BODY, str(number)).entries is not None
    assert len(connections) == 1


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    server = serve(written(reply(b"", "307 Temporary Redirect", "Location: /elsewhere")))
    found = sent(server.url)
    assert found.status == 307
    assert len(server.requests) == 1


def test_an_early_refusal_is_read(serve: Serve) -> None:
    server = serve(then_closed(reply(b'{"errors":[{"code":1060,"message":"too many"}]}', "413 Too Large")))
    found = sent(server.url)
    assert (found.transmission, found.status) == (Transmission.REPLIED, 413)


def test_closing_the_client_closes_its_connections_at_once(serve: Serve) -> None:
    server = serve(written(reply(ARRAY)))
    with basic(server.url) as made:
        made.import_badges(BODY, "x")
        made.close()
        server.wait_for_hang_up()
        assert made.import_badges(BODY, "y").transmission is Transmission.REPLIED


def test_sixteen_threads_share_a_client(serve: Serve) -> None:
    server = serve(written(reply(ARRAY)))
    found: list[Reply] = []
    with basic(server.url) as made:
        threads = [
            threading.Thread(target=lambda: found.extend(made.import_badges(BODY, "x") for _ in range(5)))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
    assert [each.transmission for each in found] == [Transmission.REPLIED] * 80
    assert len(server.requests) == 80
