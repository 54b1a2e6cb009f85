from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    DatasetError,
    RequestRefusedError,
)
from airflow_provider_capillary.hooks.capillary import LARGEST_IMPORT, CapillaryBadgeHook

BADGE = "654e08f2041fd452b3ef5b2e"
ROW = {"badgeMetaId": BADGE, "customerId": 7, "earnEventDate": 1674292011, "earnExpiresOn": 1705828011}
LIST = {"data": {"metaBasicDetails": [{"id": BADGE}]}, "errors": []}


def granted(position: int) -> dict[str, Any]:
    return {
        "data": {
            "badgeMetaId": BADGE,
            "customerId": 7,
            "earnedBadgeId": f"e{position}",
            "expiresOn": 1705828011.0,
            "requestId": f"base_{position}",
        },
        "errors": None,
        "warnings": None,
    }


class Api:
    """Answers every request with one status and body, on loopback."""

    def __init__(self, content: Any, status: int) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._data = (
            f"HTTP/1.1 {status} Some\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(5)
                    received = b""
                    while b"\r\n\r\n" not in received or (received.startswith(b"PUT") and not received.endswith(b"]")):
                        received += connection.recv(65536)
                    self.requests.append(received)
                    connection.sendall(self._data)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Api]]:
    """``api(content, status)``: a server, and the connection ``capillary_default`` that leads to it."""
    started: list[Api] = []

    def start(content: Any, status: int = 200, **extra: Any) -> Api:
        started.append(Api(content, status))
        connect(monkeypatch, host=f"http://127.0.0.1:{started[-1].port}", extra=extra)
        return started[-1]

    yield start
    for each in started:
        each.close()


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    given = {"conn_type": "capillary", "login": "till.1", "password": "open-sesame", **fields}
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", json.dumps(given))


def test_making_the_hook_touches_nothing() -> None:
    assert CapillaryBadgeHook("no_such_connection").capillary_conn_id == "no_such_connection"


def test_the_client_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host="https://eu.api.example.com", extra={"requests_per_minute": 90})
    hook = CapillaryBadgeHook()
    assert hook.get_conn() is hook.get_conn()
    assert hook.get_conn().settings.base_url == "https://eu.api.example.com"
    assert hook.organisation == "eu.api.example.com/till.1"
    assert hook.requests_per_minute == 90


def test_a_connection_uri_works_too(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "capillary://https://till.1:pw@eu.api.example.com:8443/?auth_type=oauth&timeout=9"
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", uri)
    found = CapillaryBadgeHook().get_conn().settings
    assert (found.base_url, found.auth_type, found.timeout) == ("https://eu.api.example.com:8443", "oauth", 9.0)


def test_a_connection_of_another_type_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"conn_type": "http", "host": "https://eu.api.example.com", "login": "till", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", json.dumps(given))
    hook = CapillaryBadgeHook()
    monkeypatch.setattr(hook, "_log", logging.getLogger("hook"))  # Airflow's own does not reach pytest

    assert hook.settings.client.base_url == "https://eu.api.example.com"
    assert "is of type 'http', and is read as one of type 'capillary'" in caplog.text
    assert "secret" not in caplog.text


def test_derived_secrets_are_masked_in_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_capillary.hooks.capillary.mask_secret", masked.append)
    connect(monkeypatch, host="https://eu.api.example.com", login="store.server", password="server123")
    CapillaryBadgeHook().get_conn()
    assert {
        "server123",
        "8a16a6b70505eb1f1ff7cdc0cd5559a7",
        "c3RvcmUuc2VydmVyOjhhMTZhNmI3MDUwNWViMWYxZmY3Y2RjMGNkNTU1OWE3",
    } == set(masked)


def test_a_wrong_connection_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host="https://eu.api.example.com", extra={"tiemout": 5})
    with pytest.raises(ConfigurationError, match="tiemout"):
        CapillaryBadgeHook().get_conn()


# -- Test connection: what is reported for each way of being wrong is in tests/integration/hooks


def test_a_good_connection_takes_one_read(api: Callable[..., Api]) -> None:
    server = api(LIST)
    good, message = CapillaryBadgeHook().test_connection()
    assert good, message
    assert [request.split(b" ")[:2] for request in server.requests] == [
        [b"GET", b"/api_gateway/v1/badges/badgeMeta?page=0&size=1"]
    ]


def test_a_wrong_field_is_named_without_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host="https://eu.api.example.com", extra={"tiemout": 5})
    good, message = CapillaryBadgeHook().test_connection()
    assert not good
    assert message.startswith("Unknown extra key(s) tiemout; known: allow_http, ")


# -- import_badges


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {
            "badge_meta_id": BADGE.upper(),
            "customer_id": "7",
            "earn_event_date": "2023-01-21T10:06:51+01:00",
            "earn_expires_on": "2024-01-21T09:06:51Z",
        },
        EarnedBadge(1, BADGE, 7, 1674292011, 1705828011),
    ],
    ids=["API names", "snake case", "earned badge"],
)
def test_rows_take_one_request_and_keep_order(api: Callable[..., Api], row: Any) -> None:
    refused = {"data": None, "errors": {"code": 1054, "message": "no such badge"}, "warnings": None}
    server = api([granted(1), refused, granted(3)])
    outcomes = CapillaryBadgeHook().import_badges([row] * 3)
    assert [outcome.state for outcome in outcomes] == [RowState.ACCEPTED, RowState.REJECTED, RowState.ACCEPTED]
    assert [outcome.earned_badge_id for outcome in outcomes] == ["e1", None, "e3"]
    [request] = server.requests
    assert json.loads(request.split(b"\r\n\r\n")[1]) == [ROW] * 3


def test_no_proof_means_unknown(api: Callable[..., Api]) -> None:
    api(b"<html></html>", 502)
    assert [each.state for each in CapillaryBadgeHook().import_badges([ROW])] == [RowState.UNKNOWN]


def test_no_rows_send_nothing(api: Callable[..., Api]) -> None:
    server = api([])
    assert CapillaryBadgeHook().import_badges([]) == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([ROW, {**ROW, "customerId": 0}], "row 2: customerId"),
        ([{**ROW, "earnEventDate": "2023-01-21T10:06:51"}], "offset"),
        ([{"badgeMetaId": BADGE}], "customerId or customer_id"),
        ([ROW] * (LARGEST_IMPORT + 1), "BadgeImportOperator"),
    ],
    ids=["customer", "naive", "missing", "too many"],
)
def test_an_invalid_row_sends_nothing(api: Callable[..., Api], rows: Any, named: str) -> None:
    server = api([])
    with pytest.raises(DatasetError, match=named):
        CapillaryBadgeHook().import_badges(rows)
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "error", "named"),
    [
        (401, AuthenticationError, "401"),
        (403, RequestRefusedError, "403"),
        (405, RequestRefusedError, "import_method POST"),
        (429, ApiUnavailableError, "429"),
        (413, RequestRefusedError, "413"),
    ],
)
def test_a_request_that_was_not_applied_raises(
    api: Callable[..., Api], status: int, error: type[Exception], named: str
) -> None:
    api({"errors": [{"code": status, "message": "no"}]}, status)
    with pytest.raises(error, match=named):
        CapillaryBadgeHook().import_badges([ROW])
