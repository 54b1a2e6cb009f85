"""A client, what it sends, and what a server answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.core.reply import Reply

BADGE = "654e08f2041fd452b3ef5b2e"
BODY = (
    b'[{"badgeMetaId":"654e08f2041fd452b3ef5b2e","customerId":1,"earnEventDate":1674292011,"earnExpiresOn":1705828011}]'
)
ARRAY = b'[{"data":{"earnedBadgeId":"6576f7d291e0b01c659ad606"},"errors":null,"warnings":null}]'
Answer = Callable[[socket.socket], None]
Serve = Callable[..., Any]


def written(data: bytes) -> Answer:
    return lambda connection: connection.sendall(data)


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(content: Any, status: int = 200, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Some", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return lambda connection: connection.sendall(data)


def refusal(code: int, message: str = "no", status: int = 200) -> Answer:
    return says({"data": None, "errors": [{"code": code, "message": message, "reference": None}]}, status)


@contextmanager
def basic(url: str, **settings: Any) -> Iterator[BadgeClient]:
    made = BadgeClient(ClientSettings(base_url=url, login="till.1", password="sesame", **{"timeout": 5.0, **settings}))
    try:
        yield made
    finally:
        made.close()


def sent(url: str, **settings: Any) -> Reply:
    with basic(url, **settings) as made:
        return made.import_badges(BODY, "request-1")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def paths(server: Any) -> list[str]:
    return [request.split(b" ")[1].decode() for request in server.requests]
