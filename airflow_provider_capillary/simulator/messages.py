"""Requests and replies of the simulated API, without sockets, and the shapes of its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Prints a ``Decimal`` as a JSON number, so that ``1705828011.000000000`` keeps its nine decimals.
JSON = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has been read completely."""

    method: str
    path: str  #: without the query, still quoted
    query: Mapping[str, str]
    headers: Mapping[str, str]  #: names in lower case
    body: bytes
    request_id: str  #: from ``X-CAP-REQUEST-ID``, else made up


@dataclass(slots=True)
class SimulatedReply:
    """A reply before it is written. If ``entries`` or ``stream`` is given, it replaces the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    entries: list[str] | None = None  #: elements of the import's array, each of them JSON
    stream: Iterator[bytes] | None = None

    def content(self) -> bytes:
        """The body's bytes."""
        return self.body if self.entries is None else ("[" + ",".join(self.entries) + "]").encode()


def json_reply(content: Any, status: int = 200) -> SimulatedReply:
    """Any value as JSON."""
    return SimulatedReply(status, JSON.encode(content))


def data_reply(data: Any, *, empty: Any = None) -> SimulatedReply:
    """A success of the badge service. Some endpoints print absent errors as ``null``, others as ``[]``."""
    return json_reply({"data": data, "errors": empty, "warnings": empty})


def problem(code: int, message: str) -> dict[str, Any]:
    """One element of ``errors``."""
    return {"code": code, "message": message, "reference": None}


def refusal(status: int, code: int, message: str) -> SimulatedReply:
    """The badge service's error envelope."""
    return json_reply({"data": None, "errors": [problem(code, message)], "warnings": None}, status)


def parse_error(detail: str) -> SimulatedReply:
    """Spring's answer if Jackson could not read the body: the whole call is refused."""
    return refusal(400, 400, f"JSON parse error: {detail}")


def refused_entry(code: int, message: str) -> str:
    """An element of the import's array for a row that was refused."""
    return JSON.encode({"data": None, "errors": [problem(code, message)], "warnings": None}).decode()
