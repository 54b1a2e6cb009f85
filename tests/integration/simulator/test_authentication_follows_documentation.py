from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_capillary.simulator.server import RunningSimulator

Start = Callable[..., RunningSimulator]

TOKEN = "/v3/oauth/token/generate"
BADGES = "/api_gateway/v1/badges/badgeMeta"


def token_of(simulator: RunningSimulator) -> Any:
    sent = {"key": simulator.settings.oauth_key, "secret": simulator.settings.oauth_secret}
    return requests.post(simulator.url + TOKEN, json=sent, timeout=20).json()


def status_with_token(simulator: RunningSimulator, token: str) -> int:
    return requests.get(simulator.url + BADGES, headers={"X-CAP-API-OAUTH-TOKEN": token}, timeout=20).status_code


def test_the_documented_header_gets_in(start_capillary_simulator: Start) -> None:
    simulator = start_capillary_simulator(username="store.server", password="server123")
    header = "Basic c3RvcmUuc2VydmVyOjhhMTZhNmI3MDUwNWViMWYxZmY3Y2RjMGNkNTU1OWE3"
    assert requests.get(simulator.url + BADGES, headers={"Authorization": header}, timeout=20).status_code == 200


@pytest.mark.parametrize(
    "auth",
    [
        None,
        ("simulated.till", "simulated-password"),
        ("simulated.till", hashlib.md5(b"another").hexdigest()),
        ("another.till", hashlib.md5(b"simulated-password").hexdigest()),
    ],
)
def test_a_wrong_password_gets_401(capillary_simulator: RunningSimulator, auth: tuple[str, str] | None) -> None:
    reply = requests.get(capillary_simulator.url + BADGES, auth=auth, timeout=20)
    message = "Authentication failed. Please check username and password."
    assert reply.status_code == 401
    assert reply.json() == {
        "data": None,
        "errors": [{"code": 401, "message": message, "reference": None}],
        "warnings": None,
    }


@pytest.mark.parametrize("header", ["Basic", "Basic ???", "Basic bm8tY29sb24=", "Bearer c3RvcmU6MQ=="])
def test_a_damaged_authorization_header_gets_401(capillary_simulator: RunningSimulator, header: str) -> None:
    headers = {"Authorization": header}
    assert requests.get(capillary_simulator.url + BADGES, headers=headers, timeout=20).status_code == 401


def test_a_token_in_capillarys_shape_opens_the_api(capillary_simulator: RunningSimulator) -> None:
    reply = token_of(capillary_simulator)
    assert reply == {"data": {"accessToken": reply["data"]["accessToken"], "ttlSeconds": 300}, "errors": None}
    assert status_with_token(capillary_simulator, reply["data"]["accessToken"]) == 200


def test_earlier_tokens_stay_valid(capillary_simulator: RunningSimulator) -> None:
    tokens = [token_of(capillary_simulator)["data"]["accessToken"] for _ in range(3)]
    assert len(set(tokens)) == 3
    assert [status_with_token(capillary_simulator, token) for token in tokens] == [200, 200, 200]


def test_a_token_expires_after_its_ttl(start_capillary_simulator: Start) -> None:
    now = [1_800_000_000.0]
    simulator = start_capillary_simulator(clock=lambda: now[0], token_ttl_seconds=60)
    token = token_of(simulator)["data"]["accessToken"]
    now[0] += 59
    assert status_with_token(simulator, token) == 200
    now[0] += 1
    assert status_with_token(simulator, token) == 401


def test_an_invented_token_gets_401(capillary_simulator: RunningSimulator) -> None:
    assert status_with_token(capillary_simulator, "made.up.token") == 401


def test_a_wrong_key_gets_no_token(capillary_simulator: RunningSimulator) -> None:
    sent = {"key": capillary_simulator.settings.oauth_key, "secret": "wrong"}
    reply = requests.post(capillary_simulator.url + TOKEN, json=sent, timeout=20)
    assert reply.status_code == 401
    assert reply.json()["errors"][0]["message"] == "Failed to generate OAuth token"


def test_a_token_request_without_json_gets_400(capillary_simulator: RunningSimulator) -> None:
    headers = {"Content-Type": "application/json"}
    assert requests.post(capillary_simulator.url + TOKEN, data="key=1", headers=headers, timeout=20).status_code == 400
