"""Each way in which a connection can be wrong is shown apart, in words that say what to fix, within seconds."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.hooks.connection_check import TEST_SECONDS, checked
from airflow_provider_capillary.simulator.server import RunningSimulator

Connect = Callable[..., CapillaryBadgeHook]
Answering = Callable[..., int]
Start = Callable[..., RunningSimulator]
BADGES = {"data": {"metaBasicDetails": []}, "errors": []}
NEVER = ("open-sesame", hashlib.md5(b"open-sesame", usedforsecurity=False).hexdigest())


def http(body: dict[str, Any] | str, status: str = "200 OK", *headers: str) -> Callable[[bytes], bytes]:
    """Answers every request in the same way."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers, "", ""]
    return lambda _: "\r\n".join(lines).encode() + content


def refusal(status: str, message: str = "no") -> Callable[[bytes], bytes]:
    return http({"data": None, "errors": [{"code": 9, "message": message}]}, status)


def reported(hook: CapillaryBadgeHook) -> str:
    good, message = hook.test_connection()
    assert not good
    assert not [secret for secret in NEVER if secret in message]
    assert message[0] == message[0].upper()
    return message


# -- no reply


def test_a_name_that_does_not_exist(connect: Connect) -> None:
    message = reported(connect(host="https://no-such-cluster.invalid/eu"))
    assert "cannot be resolved" in message
    assert "Check the name in host" in message
    assert message.endswith("Asked: https://no-such-cluster.invalid/eu/api_gateway/v1/badges/badgeMeta")


def test_a_port_where_nothing_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    message = reported(connect(host=f"https://127.0.0.1:{port}"))
    assert "refused" in message
    assert "check host and port" in message


@pytest.mark.parametrize("running", [True, False])
def test_a_proxy_that_does_not_let_through(
    connect: Connect, answering: Answering, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    port = answering(http("", "407 Proxy Authentication Required")) if running else closed
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://someone:secret-of-proxy@127.0.0.1:{port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    message = reported(connect(host="https://eu.api.example.com"))
    assert message.startswith("The proxy failed")
    assert "Check HTTPS_PROXY and NO_PROXY" in message
    assert "secret-of-proxy" not in message


def test_a_self_signed_certificate(
    connect: Connect, answering: Answering, tls: ssl.SSLContext, certificate: Path
) -> None:
    host = f"https://127.0.0.1:{answering(http(BADGES), tls)}"
    message = reported(connect(host=host))
    assert "self-signed certificate" in message
    assert "Set extra verify_ssl" in message
    assert connect(host=host, extra={"verify_ssl": str(certificate)}).test_connection()[0]
    with pytest.warns(InsecureRequestWarning):
        assert connect(host=host, extra={"verify_ssl": "false"}).test_connection()[0]


def test_a_certificate_for_another_name(
    connect: Connect, answering: Answering, tls: ssl.SSLContext, certificate: Path
) -> None:
    port = answering(http(BADGES), tls)
    message = reported(connect(host=f"https://localhost:{port}", extra={"verify_ssl": str(certificate)}))
    assert "not valid for 'localhost'" in message
    assert "correct host" in message


def test_a_ca_bundle_that_is_none(connect: Connect, answering: Answering, tls: ssl.SSLContext, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("not a certificate")
    host = f"https://127.0.0.1:{answering(http(BADGES), tls)}"
    assert "a CA bundle in verify_ssl can be read" in reported(connect(host=host, extra={"verify_ssl": str(bundle)}))


def test_https_to_a_port_that_speaks_http(connect: Connect, answering: Answering) -> None:
    assert "speaks TLS, not plain http" in reported(connect(host=f"https://127.0.0.1:{answering(http(BADGES))}"))


@pytest.mark.parametrize("as_web_servers_do", [False, True])
def test_http_to_a_port_that_speaks_tls(
    connect: Connect, answering: Answering, tls: ssl.SSLContext, as_web_servers_do: bool
) -> None:
    page = http("<html>The plain HTTP request was sent to HTTPS port</html>", "400 Bad Request")
    port = answering(page) if as_web_servers_do else answering(http(BADGES), tls)
    assert "host must begin with https://" in reported(connect(host=f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize("auth_type", ["basic", "oauth"])
def test_a_silent_server_is_given_up_in_time(connect: Connect, answering: Answering, auth_type: str) -> None:
    host = f"http://127.0.0.1:{answering(lambda _: None)}"
    began = time.monotonic()
    message = reported(connect(host=host, extra={"timeout": 0.2, "auth_type": auth_type}))
    assert "no complete reply" in message.lower()
    assert time.monotonic() - began < 5


def test_nothing_at_all_takes_longer_than_ten_seconds(answering: Answering) -> None:
    """Here a reply that trickles in; the same bound holds for a name server that is silent."""
    host = f"http://127.0.0.1:{answering(lambda _: None)}"
    client = BadgeClient(ClientSettings(base_url=host, login="till.1", password="open-sesame", timeout=2))
    began = time.monotonic()
    good, message = checked(client, seconds=0.1)
    assert time.monotonic() - began < 1.5
    assert (good, message.split(".")[0]) == (False, "No answer within 0")
    assert TEST_SECONDS == 10


def test_a_reply_without_its_end(connect: Connect, answering: Answering) -> None:
    half = http("x" * 100)(b"")[:-50]
    message = reported(connect(host=f"http://127.0.0.1:{answering(lambda _: half)}"))
    assert message.startswith("HTTP 200: ")
    assert "not a complete reply" in message


def test_a_service_that_is_no_web_server(connect: Connect, answering: Answering) -> None:
    message = reported(connect(host=f"http://127.0.0.1:{answering(lambda _: b'SSH-2.0-OpenSSH')}"))
    assert "no valid HTTP" in message


# -- a reply that is not what it should be


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("403 Forbidden", "till 'till.1' may not read badges: check its access group, and that Capillary enabled"),
        ("404 Not Found", "check host and its path (/capillary)"),
        ("405 Method Not Allowed", "check host and its path (/capillary)"),
        ("400 Bad Request", "Capillary enabled badges for the organisation"),
        ("200 OK", "Capillary enabled badges for the organisation"),
        ("429 Too Many Requests", "requests_per_minute"),
        ("500 Internal Server Error", "says nothing about the connection. Try again later"),
        ("503 Service Unavailable", "says nothing about the connection. Try again later"),
    ],
)
def test_a_refusal_says_what_to_do(connect: Connect, answering: Answering, status: str, advice: str) -> None:
    host = f"http://127.0.0.1:{answering(refusal(status, 'reported by the server'))}/capillary"
    message = reported(connect(host=host))
    assert message.startswith(f"HTTP {status[:3]}: code 9: reported by the server. ")
    assert advice in message


def test_a_redirect_is_not_followed(connect: Connect, answering: Answering) -> None:
    elsewhere = answering(http(BADGES))
    moved = http("", "302 Found", f"Location: http://127.0.0.1:{elsewhere}/")
    message = reported(connect(host=f"http://127.0.0.1:{answering(moved)}"))
    assert "HTTP 302" in message
    assert "give the final address as host" in message


@pytest.mark.parametrize(
    "body", ["<html><title>Sign in</title></html>", "", "[]", "{}", '{"data": {}}', "\ufffd", '"text"']
)
@pytest.mark.parametrize("auth_type", ["basic", "oauth"])
def test_something_else_than_the_api(connect: Connect, answering: Answering, body: str, auth_type: str) -> None:
    port = answering(http(body, "200 OK", "Content-Type: text/html"))
    message = reported(connect(host=f"http://127.0.0.1:{port}", extra={"auth_type": auth_type}))
    assert "This is not a complete reply of the API: check that host is not a web page's" in message
    assert ("titled 'Sign in'" in message) == ("Sign in" in body)


# -- credentials, as the simulator sees them


@pytest.mark.parametrize("auth_type", ["basic", "oauth"])
@pytest.mark.parametrize("path_prefix", ["", "/capillary/eu"])
def test_a_good_connection(
    connect: Connect, start_capillary_simulator: Start, auth_type: str, path_prefix: str
) -> None:
    simulator = start_capillary_simulator(path_prefix=path_prefix)
    fields = json.loads(simulator.airflow_connection(auth_type))
    good, message = connect(**fields).test_connection()
    assert good, message
    kind = "till" if auth_type == "basic" else "client"
    assert f"Connected to {simulator.url} as {kind} {fields['login']!r}" in message
    assert len(simulator.store) == 0


@pytest.mark.parametrize(
    ("auth_type", "named"),
    [
        ("basic", "auth_type is basic, so login ('till.1') must be the till id and password the till password"),
        ("oauth", "auth_type is oauth, so login ('till.1') must be the client key and password the client secret"),
    ],
)
def test_credentials_that_are_not_accepted(
    connect: Connect, start_capillary_simulator: Start, auth_type: str, named: str
) -> None:
    message = reported(connect(host=start_capillary_simulator().url, extra={"auth_type": auth_type}))
    assert message.startswith("HTTP 401")
    assert named in message
    assert f"set auth_type to {'oauth' if auth_type == 'basic' else 'basic'}" in message


def test_a_hash_as_password_is_named(connect: Connect, start_capillary_simulator: Start) -> None:
    simulator = start_capillary_simulator()
    digest = hashlib.md5(simulator.settings.password.encode(), usedforsecurity=False).hexdigest()
    fields = {"host": simulator.url, "login": simulator.settings.username, "password": digest}
    message = reported(connect(**fields))
    assert "set password_is_md5" in message
    assert digest not in message
    assert connect(**fields, extra={"password_is_md5": True}).test_connection()[0]


def test_a_path_that_is_wrong(connect: Connect, start_capillary_simulator: Start) -> None:
    simulator = start_capillary_simulator(path_prefix="/eu")
    message = reported(connect(host=simulator.url.replace("/eu", "/us")))
    assert "HTTP 404" in message
    assert "its path (/us)" in message


# -- wrong before anything is asked


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"extra": {"tiemout": 5}}, "Unknown extra key(s) tiemout; known: allow_http, "),
        ({"extra": {"timeout": "soon"}}, "Extra 'timeout' is not a number of seconds"),
        ({"password": ""}, "Password is missing; with auth_type basic it is the till password"),
        ({"password": "***"}, "Password is '***', which Airflow shows instead of a stored value; enter"),
        ({"extra": {"organisation": "***"}}, "Extra 'organisation' is '***'"),
        ({"host": ""}, "Host is missing"),
    ],
)
def test_a_wrong_field_needs_no_request(
    connect: Connect, answering: Answering, fields: dict[str, Any], named: str
) -> None:
    asked: list[bytes] = []

    def note(request: bytes) -> None:
        asked.append(request)

    message = reported(connect(**{"host": f"http://127.0.0.1:{answering(note)}", **fields}))
    assert message.startswith(named)
    assert "capillary_default" not in message  # Airflow tests under an id of its own making
    assert asked == []


def test_an_unforeseen_error_reaches_the_caller() -> None:
    class Broken(BadgeClient):
        def check(self) -> None:
            raise RuntimeError("a bug")

    settings = ClientSettings(base_url="http://127.0.0.1:9", login="till.1", password="open-sesame")
    with pytest.raises(RuntimeError, match="a bug"):
        checked(Broken(settings))
