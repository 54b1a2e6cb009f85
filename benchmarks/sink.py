"""A server that answers an import as the API's documentation says, as fast as Python can.

It echoes each row as a grant. It is no simulator: it checks nothing, and every path but a badge is an import. It can
count what it granted, and refuse every n-th customer, for the measurements with faults.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

_END = b"\r\n\r\n"
_REFUSED = '{"data":null,"errors":[{"code":1026,"message":"Customer is not found"}],"warnings":null}'
_BADGE = b'{"data":{"id":"%s","name":"a badge"},"errors":null,"warnings":null}'


class _Row(msgspec.Struct, rename="camel", gc=False):
    badge_meta_id: str
    customer_id: int
    earn_event_date: int
    earn_expires_on: int


_decode = msgspec.json.Decoder(list[_Row]).decode


@functools.lru_cache(maxsize=2**16)
def _expiry(seconds: int) -> str:
    iso = datetime.fromtimestamp(seconds, UTC).isoformat()
    return f'"expiresOn":{seconds}.000000000,"expiresOnISO":"{iso[:19]}Z","requestId":"'


def reply_to(rows: list[_Row], request_id: str, first_id: int, refuse_every: int) -> bytes:
    """One entry for each row, in order."""
    identified = zip(rows, range(first_id, first_id + len(rows)), itertools.count(1))
    entries = [
        f'{{"data":{{"badgeMetaId":"{row.badge_meta_id}","customerId":{row.customer_id},"earnedBadgeId":"{number:024x}",'
        f'{_expiry(row.earn_expires_on)}{request_id}_{position}","issuedId":null}},"errors":null,"warnings":null}}'
        for row, number, position in identified
    ]
    if refuse_every:
        pairs = zip(rows, entries, strict=True)
        entries = [_REFUSED if row.customer_id % refuse_every == 0 else entry for row, entry in pairs]
    return f"[{','.join(entries)}]".encode()


def answer_to(body: bytes) -> bytes:
    """The reply to one import, every row of it granted."""
    return reply_to(_decode(body), "f93f710fa1a54a5e8d8a5b1f0f6c5a50", 0x697B5F6F << 64, 0)


class Sink:
    """Serves each connection on a thread of its own.

    :param latency: seconds between a request and its reply.
    :param count: remember what was granted.
    :param refuse_every: refuse the customers whose id is a multiple of it; 0: none.
    """

    def __init__(self, latency: float = 0.0, *, count: bool = False, refuse_every: int = 0) -> None:
        self._latency = latency
        self._count = count
        self._refuse_every = refuse_every
        self._granted = 0
        self._earned: dict[tuple[int, str], list[int]] = {}
        self._ids = 0x697B5F6F << 64
        self._answered: list[float] = []  #: when each import was answered, monotonic seconds
        self._lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(self) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        waiting = b""
        with connection:
            while True:
                head, separator, body = waiting.partition(_END)
                if not separator:
                    try:
                        received = connection.recv(1 << 18)
                    except ConnectionResetError:  # a contestant that was killed
                        return
                    if not received:
                        return
                    waiting += received
                    continue
                headers = _headers(head)
                length = int(headers.get(b"content-length", b"0"))
                parts, missing = [body], length - len(body)
                while missing > 0:
                    parts.append(received := connection.recv(min(missing, 1 << 18)))
                    missing -= len(received)
                    if not received:
                        return
                whole = b"".join(parts)
                waiting = whole[length:]
                self._answer(connection, head, headers, whole[:length])

    def _answer(self, connection: socket.socket, head: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        came = time.monotonic()
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/sink/"):
            reply = self._own_reply(path)
        elif b"/management/" in path:
            reply = self._read_back(path)
        elif head.startswith(b"GET"):
            reply = _BADGE % path.rpartition(b"/")[2]
        else:
            rows = _decode(body)
            with self._lock:
                first_id, self._ids = self._ids, self._ids + len(rows)
                if self._count:
                    self._grant(rows)
            request_id = headers.get(b"x-cap-request-id", b"f93f710fa1a54a5e8d8a5b1f0f6c5a50").decode()
            reply = reply_to(rows, request_id, first_id, self._refuse_every)
            time.sleep(max(0.0, self._latency - (time.monotonic() - came)))
            self._answered.append(time.monotonic())
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(reply), reply)
        )

    def _grant(self, rows: list[_Row]) -> None:
        granted = [row for row in rows if not self._refuse_every or row.customer_id % self._refuse_every]
        self._granted += len(granted)
        for row in granted:
            self._earned.setdefault((row.customer_id, row.badge_meta_id), []).append(row.earn_event_date)

    def _read_back(self, path: bytes) -> bytes:
        """What a customer has of a badge: ``.../management/{customer}/badge/{badge}?...``."""
        customer, _, badge = path.decode().partition("?")[0].rsplit("/", 3)[1:]
        with self._lock:
            earned = list(self._earned.get((int(customer), badge), ()))
        details = {"earnCount": len(earned), "earns": [{"earnEventDate": instant} for instant in earned]}
        data = {"id": badge, "lastEarnEventDate": max(earned, default=None), "earnDetails": details}
        return json.dumps({"data": data, "errors": None, "warnings": None}).encode()

    def _own_reply(self, path: bytes) -> bytes:
        if path == b"/sink/answered":
            return json.dumps(self._answered).encode()
        with self._lock:
            if path == b"/sink/reset":
                self._answered.clear()
                self._granted = 0
                self._earned.clear()
            different = sum(len(set(instants)) for instants in self._earned.values())
            return json.dumps({"granted": self._granted, "different": different}).encode()


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = head.split(b"\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def main(arguments: Any = None) -> None:
    """Print the port, then serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--refuse-every", type=int, default=0)
    given = parser.parse_args(arguments)
    sink = Sink(given.latency / 1000, count=given.count, refuse_every=given.refuse_every)
    sys.stdout.write(f"{sink.listener.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=sink.serve, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
