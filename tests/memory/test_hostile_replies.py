"""What a server answers cannot fill the worker's memory."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from airflow_provider_capillary.client.transport import most_reply_bytes
from tests.integration.client.loopback_server import LoopbackServer, read_request

ALLOWED_MIB = 150
MIB = 2**20
GRANT = b'{"data":{"badgeMetaId":"654e4d4b9f1b2c0001a2b3c4","customerId":1,"earnedBadgeId":"a","requestId":"r_1"}}'
KINDS = (b"{}", b"[]", b"1", b'"a"', b"[[]]", b'{"errors":[{}]}', GRANT)
GZIP = b"Content-Encoding: gzip\r\n"


def replies(rows: int) -> Iterator[tuple[bytes, bytes]]:
    """Headers and bodies: far more than is read, and just as much as is read, of each kind."""
    for size in (63 * MIB, most_reply_bytes(96 * rows) - 1_000):
        for kind in KINDS:
            many = (kind + b",") * (size // (len(kind) + 1))
            yield b"", b"[" + many + kind + b"]"
            yield b"", b"[" + many + b"1]"  # one odd entry: each is then looked at with care
        yield b"", b'{"errors":[' + b"{}," * (size // 3) + b"{}]}"
        yield b"", b'["' + b"a" * size + b'"]'
    yield GZIP, gzip.compress(b"[" + b"{}," * (100 * MIB) + b"{}]", 1)


class HostileServer(LoopbackServer):
    """Answers each request with the next reply."""

    def __init__(self, rows: int) -> None:
        self._replies = replies(rows)
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        while read_request(connection):
            headers, body = next(self._replies)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n"
            connection.sendall(head % (len(body), headers) + body)


@pytest.mark.parametrize("rows", [500, 10_000])
def test_a_hostile_reply_takes_bounded_memory(rows: int) -> None:
    requests = sum(1 for _ in replies(rows))
    server = HostileServer(rows)
    try:
        command = [sys.executable, "-m", "tests.memory.hostile_replies", server.url, str(rows), str(requests)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        server.close()
    assert done.returncode == 0, done.stderr[-3_000:]
    seen = [line.split() for line in done.stdout.splitlines()]
    assert [verdict for verdict, _ in seen] == ["UNKNOWN"] * requests
    assert int(seen[-1][1]) < ALLOWED_MIB, done.stdout
