"""No text of a server, however unkind, brings a secret back into the message of a connection test."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook

Connect = Callable[..., CapillaryBadgeHook]
Answering = Callable[..., int]

#: With characters that URLs, JSON and HTML each write in another way.
PASSWORD = 'p@ss w/rd"&<é>-open-sesame'
DIGEST = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
HEADER = base64.b64encode(f"till.1:{DIGEST}".encode()).decode()
SECRETS = pytest.mark.parametrize("secret", [PASSWORD, DIGEST, HEADER], ids=["password", "digest", "header"])
STATUSES = ("401 Unauthorized", "403 Forbidden", "404 Not Found", "503 Service Unavailable", "200 OK", "403 Forbidden")


def http(body: str, status: str, *headers: str) -> Callable[[bytes], bytes]:
    content = body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers, "", ""]
    return lambda _: "\r\n".join(lines).encode() + content


def part_of(secret: str, message: str) -> str:
    """The longest beginning of the secret that the message shows."""
    return next((secret[:size] for size in range(len(secret), 5, -1) if secret[:size].lower() in message.lower()), "")


def reported(hook: CapillaryBadgeHook, status: str) -> str:
    good, message = hook.test_connection()
    assert not good
    assert message.startswith(f"HTTP {status[:3]}")
    return message


ECHOES = (
    "not known: {}",
    "Authorization: Basic {}",
    'you sent {{"password":"{0}","authorization":"Basic {0}"}}',
    *(f"{'x' * length} {{}} and more" for length in (80, 270, 290)),
)


@SECRETS
@pytest.mark.parametrize(("echo", "status"), list(zip(ECHOES, STATUSES, strict=True)), ids=range(len(ECHOES)))
def test_an_error_that_repeats_what_was_sent(
    connect: Connect, answering: Answering, echo: str, secret: str, status: str
) -> None:
    envelope = {"data": None, "errors": [{"code": 9, "message": echo.format(secret)}]}
    host = f"http://127.0.0.1:{answering(http(json.dumps(envelope), status))}"
    message = reported(connect(host=host, password=PASSWORD), status)
    assert part_of(secret, message) == ""
    assert "code 9: " in message


@SECRETS
@pytest.mark.parametrize(("length", "status"), list(zip((0, 90, 110, 0, 0), STATUSES, strict=False)))
def test_a_page_that_repeats_what_was_sent(
    connect: Connect, answering: Answering, length: int, secret: str, status: str
) -> None:
    page = f"<html><title>{'x' * length} {secret}</title>{secret}</html>"
    message = reported(connect(host=f"http://127.0.0.1:{answering(http(page, status))}", password=PASSWORD), status)
    assert part_of(secret, message) == ""
    assert "titled '" in message


@SECRETS
def test_headers_that_repeat_what_was_sent(connect: Connect, answering: Answering, secret: str) -> None:
    names = ("X-Cap-Requestid", "WWW-Authenticate", "Content-Type", "Retry-After", "Location", "Server")
    headers = [f"{name}: {secret.encode().decode('latin-1')}" for name in names]
    for status in ("302 Found", "401 Unauthorized", "429 Too Many Requests"):
        host = f"http://127.0.0.1:{answering(http('', status, *headers))}"
        assert part_of(secret, reported(connect(host=host, password=PASSWORD), status)) == ""


@pytest.mark.parametrize(
    "written",
    [
        quote(PASSWORD, safe=""),
        quote(PASSWORD),
        quote_plus(PASSWORD),
        html.escape(PASSWORD),
        json.dumps(PASSWORD)[1:-1],
        DIGEST.upper(),
    ],
    ids=["URL", "path", "form", "HTML", "JSON", "upper case"],
)
@pytest.mark.parametrize("shape", ["envelope", "page"])
def test_a_secret_written_in_another_way(connect: Connect, answering: Answering, written: str, shape: str) -> None:
    body = {
        "envelope": json.dumps({"errors": [{"code": 9, "message": f"not known: {written}"}]}),
        "page": f"<html><title>not known: {written}</title></html>",
    }[shape]
    host = f"http://127.0.0.1:{answering(http(body, '403 Forbidden'))}"
    message = reported(connect(host=host, password=PASSWORD), "403")
    assert "not known: " in message
    assert part_of(written, message) == ""


@pytest.mark.parametrize("at", ["token", "badge_list"])
def test_neither_client_secret_nor_token_is_repeated(connect: Connect, answering: Answering, at: str) -> None:
    token, client_secret = "a1b2c3d4-tok-en", "0auth-secret-sesame"
    granted: dict[str, Any] = {"data": {"accessToken": token, "ttlSeconds": 300}, "errors": []}
    refused = {"errors": [{"code": 9, "message": f"you sent {token} for {client_secret}"}]}

    def answer(request: bytes) -> bytes:
        if b"/v3/oauth/token/generate" in request and at == "badge_list":
            return http(json.dumps(granted), "200 OK")(request)
        return http(json.dumps(refused), "403 Forbidden")(request)

    fields = {"host": f"http://127.0.0.1:{answering(answer)}", "password": client_secret}
    _, message = connect(**fields, extra={"auth_type": "oauth"}).test_connection()
    assert "you sent" in message
    assert client_secret not in message
    assert (token in message) == (at == "token")  # not yet a token there, only a word
