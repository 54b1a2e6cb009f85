"""Informational replies, replies about another, half-applied calls, and reads that do not show what one hopes for."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from airflow_provider_capillary.simulator.fault_plan import read_plan
from airflow_provider_capillary.simulator.server import RunningSimulator
from airflow_provider_capillary.simulator.simulator_settings import Reads, read_reads

from .test_faults_over_sockets import BADGE, IMPORT, SimulatorWith, rows, simulator_with, token_of

__all__ = ["simulator_with"]  # a fixture

BASE = "/api_gateway/v1/badges"
NEXT_BADGE = "696f0fd40772ad476ecf74ac"
NOON = 1_674_302_437  # 2023-01-21T12:00:37Z
Start = Callable[..., RunningSimulator]
ApiOf = Callable[[RunningSimulator], requests.Session]


def read_back(api: requests.Session, customer: int = 7, badge: str = BADGE) -> Any:
    return api.get(f"{BASE}/management/{customer}/badge/{badge}?includeStatistics=true").json()["data"]


def grant(api: requests.Session, customer: int = 7, earned: int = NOON) -> str:
    row = {"badgeMetaId": BADGE, "customerId": customer, "earnEventDate": earned, "earnExpiresOn": earned + 86_400}
    return str(api.put(IMPORT, json=[row]).json()[0]["data"]["earnedBadgeId"])


# ------------------------------------------------------------------------------------------------------- on the wire


def test_informational_replies_come_before_the_right_one(simulator_with: SimulatorWith) -> None:
    simulator, _ = simulator_with({"kind": "interim", "statuses": [102, 103], "seconds": 0.05})
    received = raw_reply_of_one(simulator)
    heads = [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert heads == [b"HTTP/1.1 102 Processing", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 200 OK"]
    assert received.endswith(b"}]")
    assert len(simulator.store) == 1


def raw_reply_of_one(simulator: RunningSimulator) -> bytes:
    body = msgspec.json.encode(rows(1))
    address = urlsplit(simulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = (
            f"PUT {IMPORT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-CAP-API-OAUTH-TOKEN: {token_of(simulator)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


def test_the_right_reply_follows_in_time(simulator_with: SimulatorWith) -> None:
    simulator, _ = simulator_with({"kind": "interim", "seconds": 0.3})
    begun = time.monotonic()
    raw_reply_of_one(simulator)
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("status", [99, 101, 200])
def test_only_informational_statuses_may_come_first(status: int) -> None:
    with pytest.raises(ValueError, match="statuses"):
        read_plan({"faults": [{"kind": "interim", "statuses": [status]}]})


@pytest.mark.parametrize(
    "fault", [{"kind": "drop", "at": "after_applying"}, {"kind": "status", "status": 504, "when": "after"}]
)
def test_a_share_of_rows_is_applied_repeatably(simulator_with: SimulatorWith, fault: dict[str, Any]) -> None:
    applied = []
    for _ in range(2):
        simulator, api = simulator_with(fault | {"applied_share": 0.5})
        with contextlib.suppress(requests.ConnectionError):
            api.put(IMPORT, json=rows(*range(1, 41)))
        applied.append([grant.customer_id for grant in simulator.store.grants()])
    assert applied[0] == applied[1]
    assert 5 < len(applied[0]) < 35


def test_a_gateway_answers_in_its_own_shape(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "status", "status": 408, "body": "gateway"})
    reply = api.put(IMPORT, json=rows(1))
    assert reply.status_code == 408
    assert reply.json() == {"status": 408, "error": "Injected error", "path": "/"}


def test_a_redirect_says_where_it_leads_to(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with(
        {"kind": "status", "status": 303, "location": "https://elsewhere.example/", "body": "empty"}
    )
    reply = api.put(IMPORT, json=rows(1), allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (303, "https://elsewhere.example/")


def test_a_stray_read_shows_the_next_customer(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "stray", "about": "customer"})
    grant(api, 8)
    assert [read_back(api, customer)["earnDetails"]["earnCount"] for customer in (7, 8)] == [1, 0]


def test_a_stray_read_shows_the_next_badge(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "stray", "about": "badge"})
    grant(api)
    data = read_back(api)
    assert (data["id"], data["earnDetails"]["earnCount"]) == (NEXT_BADGE, 0)


def test_a_stray_read_of_an_unknown_is_answered(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "stray", "about": "badge", "numbers": [1]}, {"kind": "stray", "about": "customer"})
    assert read_back(api, badge="f" * 24)["id"] == BADGE
    assert api.get(f"{BASE}/management/nobody/badge/{BADGE}").json()["errors"][0]["code"] == 1026


def test_a_stray_fault_leaves_other_calls(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "stray", "about": "badge", "operation": "any"})
    assert api.put(IMPORT, json=rows(1)).status_code == 200


# ------------------------------------------------------------------------------------------------------------- reads


@pytest.fixture
def api_with(start_capillary_simulator: Start, api_of: ApiOf) -> Callable[..., requests.Session]:
    return lambda **reads: api_of(start_capillary_simulator(reads=Reads(**reads)))


ApiWith = Callable[..., requests.Session]


def test_reads_may_not_show_imports_at_all(api_with: ApiWith) -> None:
    api = api_with(show_imports=False)
    grant(api)
    data = read_back(api)
    assert (data["earnDetails"], data["lastEarnEventDate"]) == ({"earnCount": 0, "earns": []}, None)
    assert api.get(f"{BASE}/customer/7").json()["data"]["badges"] == []


@pytest.mark.parametrize(
    ("reads", "shown", "iso"),
    [
        ({"event_shift_seconds": -19_800}, NOON - 19_800, "2023-01-21T06:30:37Z"),
        ({"event_shift_seconds": -1}, NOON - 1, "2023-01-21T12:00:36Z"),
        ({"event_precision_seconds": 60}, NOON - 37, "2023-01-21T12:00:00Z"),
        ({"event_precision_seconds": 86_400}, NOON - 43_237, "2023-01-21T00:00:00Z"),
        ({"milliseconds": True}, NOON * 1_000, "2023-01-21T12:00:37Z"),
    ],
)
def test_reads_may_show_another_instant_of_the_earn(
    api_with: ApiWith, reads: dict[str, Any], shown: int, iso: str
) -> None:
    api = api_with(**reads)
    grant(api)
    data = read_back(api)
    assert (data["lastEarnEventDate"], data["lastEarnEventDateISO"]) == (shown, iso)
    earn = data["earnDetails"]["earns"][0]
    assert (earn["earnEventDate"], earn["earnEventDateISO"]) == (shown, iso)


def test_the_last_earn_may_be_the_last_sent(api_with: ApiWith) -> None:
    api = api_with(last="posted")
    grant(api, earned=NOON)
    grant(api, earned=NOON - 100)
    assert read_back(api)["lastEarnEventDate"] == NOON - 100


def test_a_read_may_name_its_customer(api_with: ApiWith) -> None:
    assert read_back(api_with(echo_customer=True))["customerId"] == 7
    assert "customerId" not in read_back(api_with())


def test_reads_are_given_as_json() -> None:
    assert read_reads('{"show_imports": false}') == Reads(show_imports=False)
    for wrong in ('{"shows": 1}', "[]", "{", '{"event_precision_seconds": 0}'):
        with pytest.raises(ValueError, match="reads: "):
            read_reads(wrong)
