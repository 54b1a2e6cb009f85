"""A server or gateway that sends 102 or 103 before its final reply, which then comes late."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.integration.client.loopback_server import LoopbackServer, read_request

from .trial import Trial

LATE_SECONDS = 0.3


class InterimGateway(LoopbackServer):
    """Passes requests on to the API. One call gets an interim reply at once, and its final reply late.

    :param interim: the status line's end, such as ``102 Processing``.
    :param part_of_path: which calls are counted.
    :param number: which of them gets the interim reply.
    """

    def __init__(self, api: str, interim: str, part_of_path: str, number: int) -> None:
        self.interim_sent = 0
        self._api = api
        self._interim = interim.encode()
        self._part_of_path = part_of_path.encode()
        self._number = number
        self._seen = 0
        self._lock = threading.Lock()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        while (parts := read_request(connection)) is not None:
            head, body = parts
            if self._is_chosen(head):
                connection.sendall(b"HTTP/1.1 " + self._interim + b"\r\nX-Progress: 1\r\n\r\n")
                threading.Event().wait(LATE_SECONDS)
            try:
                reply = self._passed_on(head, body)
            except requests.RequestException:
                return  # the API dropped the connection, and so does the gateway
            connection.sendall(reply)

    def _is_chosen(self, head: bytes) -> bool:
        with self._lock:
            self._seen += self._part_of_path in head.split(b"\r\n")[0]
            chosen = self._part_of_path in head.split(b"\r\n")[0] and self._seen == self._number
            self.interim_sent += chosen
            return chosen

    def _passed_on(self, head: bytes, body: bytes) -> bytes:
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        answer = requests.request(method, self._api + path, headers=headers, data=body, timeout=10)
        return (
            f"HTTP/1.1 {answer.status_code} {answer.reason}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(answer.content)}\r\n\r\n"
        ).encode() + answer.content


@contextmanager
def gateway(api: str, interim: str, part_of_path: str, number: int) -> Iterator[InterimGateway]:
    server = InterimGateway(api, interim, part_of_path, number)
    try:
        yield server
    finally:
        server.close()


every_interim = pytest.mark.parametrize(
    "interim", ["100 Continue", "102 Processing", "103 Early Hints", "199 Whatever"], ids=lambda text: text[:3]
)


@every_interim
@pytest.mark.parametrize("number", [1, 7])
def test_a_late_read_settles_only_its_own_row(trial: Trial, interim: str, number: int) -> None:
    rows = trial.rows(20)
    applied: list[Any] = []

    def apply_every_second_row(_seconds: float) -> None:
        if not applied:
            applied.extend(rows[::2])
            trial.grant_elsewhere(*applied)

    trial.prove_reads()
    trial.clock.meanwhile = apply_every_second_row
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})
    with gateway(trial.simulator.url, interim, "/management/", number) as server:
        result = trial.run(rows, batch_size=20, client={"base_url": server.url})
        assert server.interim_sent == 1
    assert (result.error, trial.ends(result)) == (None, {"accepted": 20})
    assert len(trial.granted()) == 1 + 20  # every row reported as accepted is there
    assert trial.times_granted() == [1]


@every_interim
def test_a_late_import_reply_is_judged_alone(trial: Trial, interim: str) -> None:
    with gateway(trial.simulator.url, interim, "/import/", 2) as server:
        result = trial.run(trial.rows(20), client={"base_url": server.url})
        assert server.interim_sent == 1
    assert (result.error, trial.ends(result)) == (None, {"accepted": 20})
    assert result.summary.requests == 5
    assert trial.times_granted() == [1]
