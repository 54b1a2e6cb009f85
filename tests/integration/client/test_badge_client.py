from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import AuthType, ClientSettings
from airflow_provider_capillary.core.outcome import Verdict, judge
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.exceptions import ApiUnavailableError, RequestRefusedError

from .sending import BADGE, Answer, Serve, basic, paths, refusal, says

GRANTED = [{"data": {"earnedBadgeId": "6576f7d291e0b01c659ad606"}, "errors": None, "warnings": None}]


def token(name: str, ttl: int = 300) -> Answer:
    return says({"data": {"accessToken": name, "ttlSeconds": ttl}, "errors": None})


@contextmanager
def oauth(url: str, **settings: Any) -> Iterator[BadgeClient]:
    with basic(url, auth_type=AuthType.OAUTH, **settings) as made:
        yield made


def test_a_token_is_fetched_once_with_attribution(serve: Serve) -> None:
    server = serve(token("token-1"), says(GRANTED))
    with oauth(server.url, attribution_entity_code="s1", attribution_entity_type="STORE_CODE") as client:
        assert client.import_badges(b"[1]", "r1").entries is not None
        assert client.import_badges(b"[1]", "r2").entries is not None
    assert paths(server) == ["/v3/oauth/token/generate"] + ["/api_gateway/v1/badges/import/customerBadges"] * 2
    asked, sent, _ = server.requests
    assert json.loads(asked.split(b"\r\n\r\n")[1]) == {"key": "till.1", "secret": "sesame"}
    for header in (
        b"X-CAP-API-OAUTH-TOKEN: token-1",
        b"X-CAP-API-ATTRIBUTION-ENTITY-TYPE: STORE_CODE",
        b"X-CAP-API-ATTRIBUTION-ENTITY-CODE: s1",
    ):
        assert header in sent
    assert b"Authorization" not in sent


def test_a_401_costs_one_token_and_one_repetition(serve: Serve) -> None:
    server = serve(token("token-1"), refusal(401, status=401), token("token-2"), says(GRANTED))
    with oauth(server.url) as client:
        assert client.import_badges(b"[1]", "r1").entries is not None
    assert b"X-CAP-API-OAUTH-TOKEN: token-2" in server.requests[3]
    assert b"X-CAP-REQUEST-ID: r1" in server.requests[3]
    assert server.requests[3].endswith(b"\r\n\r\n[1]")


def test_a_second_401_is_the_reply(serve: Serve) -> None:
    server = serve(token("token-1"), refusal(401, status=401), token("token-2"), refusal(401, status=401))
    with oauth(server.url) as client:
        found = client.import_badges(b"[1]", "r1")
    assert (found.transmission, found.status, len(server.requests)) == (Transmission.REPLIED, 401, 4)


def test_a_401_with_basic_is_the_reply(serve: Serve) -> None:
    server = serve(refusal(401, status=401))
    with basic(server.url) as client:
        assert client.import_badges(b"[1]", "r1").status == 401
    assert len(server.requests) == 1


def test_a_401_that_breaks_off_is_not_repeated(serve: Serve) -> None:
    def broken(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\n{")
        connection.shutdown(socket.SHUT_RDWR)

    server = serve(token("token-1"), broken)
    with oauth(server.url) as client:
        assert client.import_badges(b"[1]", "r1").transmission is Transmission.LOST
    assert len(server.requests) == 2


def test_threads_with_a_stale_token_refresh_it_once(serve: Serve) -> None:
    given: list[str] = []
    lock = threading.Lock()
    everyone_refused = threading.Barrier(4)
    newest: dict[int, bytes] = {}

    def answer(connection: socket.socket) -> None:
        request = newest[connection.fileno()]
        if b"/oauth/token/" in request:
            with lock:
                given.append(f"token-{len(given) + 1}")
                token(given[-1])(connection)
        elif b"OAUTH-TOKEN: token-1\r" in request:
            everyone_refused.wait(timeout=10)
            refusal(401, status=401)(connection)
        else:
            says(GRANTED)(connection)

    server = serve(answer)
    server.on_request = lambda connection, request: newest.__setitem__(connection.fileno(), request)
    with oauth(server.url) as client, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda number: client.import_badges(b"[1]", str(number)), range(4)))
    assert [reply.entries is not None for reply in replies] == [True] * 4
    assert given == ["token-1", "token-2"]
    assert sum(b"customerBadges" in request for request in server.requests) == 8


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (refusal(1, "bad key", status=400), Verdict.STOP),
        (refusal(1, "bad key", status=401), Verdict.STOP),
        (refusal(1, "Failed to generate OAuth token"), Verdict.STOP),
        (says(b"<html></html>", 404), Verdict.STOP),
        (says(b"", 302, Location="/x"), Verdict.STOP),
        (refusal(1, "no", status=409), Verdict.STOP),
        (says(b"<html></html>", 503), Verdict.RETRY_LATER),
        (says(b"{}", 429, Retry_After="7"), Verdict.RETRY_LATER),
        (says({"data": {}}), Verdict.RETRY_LATER),
    ],
    ids=["400", "401", "200 with errors", "404", "302", "409", "503", "429", "no token"],
)
def test_a_batch_without_a_token_was_not_applied(serve: Serve, answer: Answer, verdict: Verdict) -> None:
    server = serve(answer)
    with oauth(server.url) as client:
        found = client.import_badges(b"[1]", "r1")
    assert judge([], found).verdict is verdict
    assert paths(server) == ["/v3/oauth/token/generate"]
    assert "sesame" not in found.problem


def test_a_failed_renewal_leaves_the_batch_not_applied(serve: Serve) -> None:
    server = serve(token("token-1"), refusal(401, status=401), says(b"", 503))
    with oauth(server.url) as client:
        assert client.import_badges(b"[1]", "r1").transmission is Transmission.NOT_WRITTEN


def test_derived_secrets_are_announced_and_never_shown(serve: Serve) -> None:
    reported: list[str] = []
    server = serve(token("token-1"), refusal(5, "your token token-1 and secret sesame are odd", status=403))
    settings = ClientSettings(base_url=server.url, login="key", password="sesame", auth_type=AuthType.OAUTH)
    client = BadgeClient(settings, on_secret=reported.append)
    with pytest.raises(RequestRefusedError) as caught:
        client.get_badge(BADGE)
    client.close()
    assert set(reported) == {"sesame", "token-1"}
    assert "token-1" not in str(caught.value)
    assert "sesame" not in str(caught.value)


OLD_TOKEN = "your old token-1 and your token-2 are odd"


def renewed_then(answer: Answer) -> tuple[Answer, ...]:
    """The first call is refused with 401, so that there are two tokens; the second call is answered."""
    return token("token-1"), refusal(401, status=401), token("token-2"), answer


@pytest.mark.parametrize(
    "answer",
    [
        refusal(7, OLD_TOKEN, status=400),
        says({"status": 500, "error": OLD_TOKEN}, 500),
        says(f"<title>{OLD_TOKEN}</title>".encode(), 502),
        says([{"data": None, "errors": [{"code": 1, "message": OLD_TOKEN}], "warnings": {"message": OLD_TOKEN}}]),
        says(GRANTED, X_Cap_Requestid=OLD_TOKEN),
    ],
    ids=["envelope", "gateway", "page", "entry", "request id"],
)
def test_an_earlier_token_is_masked_in_replies(serve: Serve, answer: Answer) -> None:
    with oauth(serve(*renewed_then(answer)).url) as client:
        found = client.import_badges(b"[1]", "r1")
    assert "token-" not in str(found)
    assert "old ***" in str(found)


@pytest.mark.parametrize("answer", [refusal(7, OLD_TOKEN, status=400), says(f"<title>{OLD_TOKEN}</title>".encode())])
def test_an_earlier_token_is_masked_in_read_errors(serve: Serve, answer: Answer) -> None:
    server = serve(*renewed_then(answer))
    with oauth(server.url) as client, pytest.raises((RequestRefusedError, ApiUnavailableError)) as caught:
        client.get_customer_badge(1, BADGE)
    assert "token-" not in f"{caught.value} {caught.value.request_id}"
    assert "old ***" in str(caught.value)


def test_a_revocation_is_not_confirmed_by_another(serve: Serve) -> None:
    server = serve(says({"data": {"earnedBadgeId": "e2", "isActive": False}, "errors": []}))
    with basic(server.url) as client, pytest.raises(ApiUnavailableError, match="about another"):
        client.revoke_earned_badge(BADGE, 1, "e1")


def test_a_revocation_is_posted_once(serve: Serve) -> None:
    server = serve(says({"data": {"earnedBadgeId": "e1", "isActive": False}, "errors": []}))
    with basic(server.url) as client:
        assert client.revoke_earned_badge(BADGE, 1, "e1").is_active is False
    [request] = server.requests
    assert request.startswith(b"POST /api_gateway/v1/badges/customer/revokeEarn ")
    assert json.loads(request.split(b"\r\n\r\n")[1]) == {"badgeMetaId": BADGE, "customerId": 1, "earnedBadgeId": "e1"}


def test_revoking_a_missing_badge_gives_its_code(serve: Serve) -> None:
    server = serve(refusal(814, "Active earn instance is not present.", 409))
    with basic(server.url) as client, pytest.raises(RequestRefusedError) as caught:
        client.revoke_earned_badge(BADGE, 1, "e1")
    assert caught.value.code == 814
