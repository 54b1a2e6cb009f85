"""Answers of a server, and clients that get them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings

Answer = Callable[[socket.socket], None]
Serve = Callable[..., Any]
BADGE = "654e08f2041fd452b3ef5b2e"


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
    made = BadgeClient(ClientSettings(base_url=url, login="till.1", password="sesame", timeout=5.0, **settings))
    try:
        yield made
    finally:
        made.close()


def paths(server: Any) -> list[str]:
    return [request.split(b" ")[1].decode() for request in server.requests]
