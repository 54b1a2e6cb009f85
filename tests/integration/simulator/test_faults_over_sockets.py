from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_capillary.simulator.fault_plan import FaultPlan, StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

Start = Callable[..., RunningSimulator]
ApiOf = Callable[[RunningSimulator], requests.Session]
SimulatorWith = Callable[..., tuple[RunningSimulator, requests.Session]]

IMPORT = "/api_gateway/v1/badges/import/customerBadges"
BADGE = "654e08f2041fd452b3ef5b2e"


def rows(*customers: int) -> list[dict[str, Any]]:
    times = {"earnEventDate": 1674292011, "earnExpiresOn": 1705828011}
    return [{"badgeMetaId": BADGE, "customerId": customer, **times} for customer in customers]


@pytest.fixture
def simulator_with(start_capillary_simulator: Start, api_of: ApiOf) -> SimulatorWith:
    def start(*faults: dict[str, Any], **chosen: Any) -> tuple[RunningSimulator, requests.Session]:
        simulator = start_capillary_simulator(faults=faults, **chosen)
        return simulator, api_of(simulator)

    return start


def raw_reply(simulator: RunningSimulator, body: bytes) -> bytes:
    """All bytes that come back for one import, up to the end of the connection, however it ends."""
    address = urlsplit(simulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"PUT {IMPORT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}X-CAP-API-OAUTH-TOKEN: {token_of(simulator)}\r\n\r\n".encode() + body)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


def token_of(simulator: RunningSimulator) -> str:
    sent = {"key": simulator.settings.oauth_key, "secret": simulator.settings.oauth_secret}
    reply = requests.post(f"{simulator.url}/v3/oauth/token/generate", json=sent, timeout=20)
    return str(reply.json()["data"]["accessToken"])


# --------------------------------------------------------------------------------------------------- other statuses


@pytest.mark.parametrize(("when", "granted"), [("before", 0), ("after", 2), ("late", 0)])
@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524])
def test_a_status_comes_before_or_after_applying(
    simulator_with: SimulatorWith, status: int, when: str, granted: int
) -> None:
    simulator, api = simulator_with({"kind": "status", "status": status, "when": when})
    reply = api.put(IMPORT, json=rows(1, 2))
    is_page = status not in (401, 403, 429, 500)
    assert reply.status_code == status
    assert reply.headers["Content-Type"] == ("text/html" if is_page else "application/json")
    assert reply.text.startswith("<!DOCTYPE html>" if is_page else '{"data":null,"errors":[{"code":')
    assert len(simulator.store) == granted


def test_a_late_commit_is_applied_on_release(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "status", "status": 504, "when": "late", "times": 1})
    api.put(IMPORT, json=rows(1))
    assert len(simulator.store) == 0
    assert simulator.release_late() == 1
    assert [grant.customer_id for grant in simulator.store.grants()] == [1]
    assert simulator.release_late() == 0


def test_a_late_commit_is_applied_in_time(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "drop", "at": "late", "late_by": 0.01})
    with pytest.raises(requests.ConnectionError):
        api.put(IMPORT, json=rows(1))
    deadline = time.monotonic() + 20
    while not len(simulator.store) and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert len(simulator.store) == 1


def test_a_stopped_simulator_commits_nothing_late(api_of: ApiOf) -> None:
    with running_simulator(faults=[{"kind": "status", "status": 504, "when": "late", "late_by": 60}]) as simulator:
        api_of(simulator).put(IMPORT, json=rows(1))
    assert simulator.release_late() == 0
    assert len(simulator.store) == 0


def test_retry_after_is_seconds_a_date_or_missing(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with(
        {"kind": "status", "status": 429, "retry_after": 1.5, "numbers": [1]},
        {"kind": "status", "status": 429, "retry_after": 90, "retry_after_as": "date", "numbers": [2]},
        {"kind": "status", "status": 429, "numbers": [3]},
        clock=lambda: 1_704_067_200.0,
    )
    waits = [api.put(IMPORT, json=rows(1)).headers.get("Retry-After") for _ in range(3)]
    assert waits[0] == "1.5"
    assert parsedate_to_datetime(str(waits[1])).timestamp() == 1_704_067_290
    assert waits[2] is None


def test_a_body_above_a_size_gets_413(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "status", "status": 413, "min_bytes": 2_000})
    assert [api.put(IMPORT, json=rows(*range(size))).status_code for size in (10, 40)] == [200, 413]
    assert len(simulator.store) == 10


def test_too_many_rows_get_1060(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "status", "status": 400, "code": 1060, "min_rows": 11})
    replies = [api.put(IMPORT, json=rows(*range(size))) for size in (10, 11)]
    assert replies[0].status_code == 200
    assert replies[1].json()["errors"][0]["code"] == 1060


def test_one_poison_row_refuses_its_batches(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "status", "status": 400, "customer_id": 3})
    statuses = [api.put(IMPORT, json=rows(*batch)).status_code for batch in ((1, 2, 3, 4), (1, 2), (3,), (4,))]
    assert statuses == [400, 200, 400, 200]
    assert [grant.customer_id for grant in simulator.store.grants()] == [1, 2, 4]


def test_a_success_can_hold_an_error_envelope(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "status", "status": 200, "body": "envelope", "code": 1051, "message": "Something"})
    reply = api.put(IMPORT, json=rows(1))
    assert reply.status_code == 200
    assert reply.json()["errors"] == [{"code": 1051, "message": "Something", "reference": None}]


def test_faults_happen_to_reading_calls_too(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "status", "status": 503, "operation": "customer_badge", "customer_id": 7})
    paths = [f"/api_gateway/v1/badges/management/{customer}/badge/{BADGE}" for customer in (7, 8)]
    assert [api.get(path).status_code for path in paths] == [503, 200]


# --------------------------------------------------------------------------------------------------- cut connections


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    ("at", "granted"),
    [("before_reading", 0), ("after_reading", 0), ("after_applying", 1), ("mid_reply", 1), ("late", 0)],
)
def test_a_connection_is_really_cut(simulator_with: SimulatorWith, at: str, granted: int, reset: bool) -> None:
    simulator, api = simulator_with({"kind": "drop", "at": at, "reset": reset, "numbers": [1]})
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.put(IMPORT, json=rows(1))
    assert len(simulator.store) == granted
    assert api.put(IMPORT, json=rows(2)).status_code == 200


def test_a_dropped_body_is_not_read(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "drop", "at": "before_reading"})
    with pytest.raises(requests.ConnectionError):
        api.put(IMPORT, json=rows(*range(100_000)))
    assert len(simulator.store) == 0


def test_a_cut_reply_promises_more(simulator_with: SimulatorWith) -> None:
    simulator, _ = simulator_with({"kind": "drop", "at": "mid_reply", "reset": False})
    head, _, body = raw_reply(simulator, json.dumps(rows(1, 2)).encode()).partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < promised
    assert body.startswith(b'[{"data":')
    assert len(simulator.store) == 2


def test_a_reset_and_a_close_differ(simulator_with: SimulatorWith) -> None:
    simulator, _ = simulator_with(
        {"kind": "drop", "at": "after_applying", "reset": True, "numbers": [1]},
        {"kind": "drop", "at": "after_applying", "reset": False, "numbers": [2]},
    )
    with pytest.raises(ConnectionResetError):
        raw_reply(simulator, json.dumps(rows(1)).encode())
    assert raw_reply(simulator, json.dumps(rows(1)).encode()) == b""
    assert len(simulator.store) == 2


def test_a_hanging_call_runs_into_the_timeout(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "hang", "when": "after"})
    with pytest.raises(requests.ReadTimeout):
        api.put(IMPORT, json=rows(1), timeout=0.05)
    assert len(simulator.store) == 1


def test_a_hang_with_an_end_cuts_the_connection(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "hang", "seconds": 0.01})
    with pytest.raises(requests.ConnectionError, match=r"(?i)reset|aborted"):
        api.put(IMPORT, json=rows(1))
    assert len(simulator.store) == 0


@pytest.mark.parametrize("fault", [{"kind": "hang"}, {"kind": "slow", "seconds": 3_600, "pieces": 3}])
def test_stopping_does_not_wait_for_hanging_calls(api_of: ApiOf, fault: dict[str, Any]) -> None:
    def send(api: requests.Session) -> None:
        # A reply cut within its head is no error to http.client, so either end will do.
        with contextlib.suppress(requests.RequestException):
            api.put(IMPORT, json=rows(1), timeout=60)

    with running_simulator(faults=[fault]) as simulator:
        caller = threading.Thread(target=send, args=(api_of(simulator),))
        caller.start()
        while not simulator.simulator.summary()["faults"][0]["happened"]:
            threading.Event().wait(0.001)
        began = time.monotonic()
    assert time.monotonic() - began < 4
    caller.join(timeout=4)
    assert not caller.is_alive()


def test_a_slow_reply_is_complete(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "slow", "seconds": 0.05, "pieces": 5})
    began = time.monotonic()
    reply = api.put(IMPORT, json=rows(1, 2))
    assert time.monotonic() - began >= 0.05
    assert [entry["data"]["customerId"] for entry in reply.json()] == [1, 2]


def test_latency_is_added_to_every_call(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with(latency_ms=30)
    began = time.monotonic()
    api.put(IMPORT, json=rows(1))
    assert time.monotonic() - began >= 0.03


# ---------------------------------------------------------------------------------------------------- wrong contents


@pytest.mark.parametrize(
    ("change", "customers", "numbers"),
    [
        ("short", [1, 2], [1, 2]),
        ("long", [1, 2, 3, 3], [1, 2, 3, 3]),
        ("reordered", [3, 2, 1], [3, 2, 1]),
        ("renumbered", [3, 2, 1], [1, 2, 3]),
        ("duplicated", [1, 1, 3], [1, 1, 3]),
        ("misnumbered", [1, 2, 3], [2, 3, 4]),
    ],
)
def test_a_wrong_array_still_applies_all(
    simulator_with: SimulatorWith, change: str, customers: list[int], numbers: list[int]
) -> None:
    simulator, api = simulator_with({"kind": "array", "change": change})
    reply = api.put(IMPORT, json=rows(1, 2, 3))
    data = [entry["data"] for entry in reply.json()]
    assert [entry["customerId"] for entry in data] == customers
    assert [int(entry["requestId"].rpartition("_")[2]) for entry in data] == numbers
    assert '"expiresOn":1705828011.000000000' in reply.text
    assert len(simulator.store) == 3


@pytest.mark.parametrize(
    ("shape", "accepted", "refused"),
    [
        ("null", None, None),
        ("object", None, {"code": 1054, "message": "GLOBAL.BADGE_NOT_FOUND", "reference": None}),
        ("array", [], [{"code": 1054, "message": "GLOBAL.BADGE_NOT_FOUND", "reference": None}]),
    ],
)
def test_errors_come_in_every_shape_the_pages_name(
    simulator_with: SimulatorWith, shape: str, accepted: Any, refused: Any
) -> None:
    _, api = simulator_with({"kind": "errors_shape", "shape": shape})
    sent = [*rows(1), rows(2)[0] | {"badgeMetaId": "0" * 24}]
    assert [entry["errors"] for entry in api.put(IMPORT, json=sent).json()] == [accepted, refused]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("badge", {"badgeMetaId": BADGE[::-1]}),
        ("customer", {"customerId": 2}),
        ("expiry", {"expiresOn": 1705828011 + 86_400, "expiresOnISO": None}),
        ("thousandfold", {"expiresOn": 1705828011_000, "expiresOnISO": None}),
    ],
)
def test_an_echo_can_differ_from_what_was_sent(
    simulator_with: SimulatorWith, field: str, changed: dict[str, Any]
) -> None:
    _, api = simulator_with(
        {"kind": "echo", "field": field, "position": 2, "numbers": [1]}, {"kind": "echo", "field": field}
    )
    right, wrong = (entry["data"] for entry in api.put(IMPORT, json=rows(1, 1)).json())
    assert {name: wrong[name] for name in wrong if wrong[name] != right[name]}.items() >= changed.items()
    assert right["customerId"] == 1
    assert right["badgeMetaId"] == BADGE
    assert right["expiresOn"] == 1705828011
    again = api.put(IMPORT, json=rows(1, 1)).json()
    assert all(entry["data"].items() >= changed.items() for entry in again)


def test_a_row_error_refuses_a_customer_for_a_while(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "row_error", "customer_id": 2, "times": 1})
    first, second = (api.put(IMPORT, json=rows(1, 2, 3)).json() for _ in range(2))
    assert [entry["errors"] and entry["errors"][0]["code"] for entry in first] == [None, 521, None]
    assert [entry["errors"] for entry in second] == [None, None, None]
    assert [grant.customer_id for grant in simulator.store.grants()] == [1, 3, 1, 2, 3]


def test_a_success_can_have_another_status(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "success_status", "status": 201})
    reply = api.put(IMPORT, json=rows(1))
    assert (reply.status_code, len(reply.json()), len(simulator.store)) == (201, 1, 1)


def test_a_truncated_reply_is_broken_json(simulator_with: SimulatorWith) -> None:
    simulator, api = simulator_with({"kind": "truncated", "keep": 0.7})
    reply = api.put(IMPORT, json=rows(1, 2))
    assert reply.status_code == 200
    assert int(reply.headers["Content-Length"]) == len(reply.content)
    with pytest.raises(requests.JSONDecodeError):
        reply.json()
    assert len(simulator.store) == 2


def test_a_wrong_content_leaves_a_refused_call(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "array", "change": "short"})
    reply = api.put(IMPORT, data="[", headers={"Content-Type": "application/json"})
    assert reply.json()["errors"][0]["code"] == 400


# -------------------------------------------------------------------------------------------------------- the plan


def test_the_same_seed_fails_the_same_calls(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    def failed(seed: int) -> list[int]:
        plan = {"seed": seed, "faults": [{"kind": "status", "status": 503, "share": 0.3}]}
        api = api_of(start_capillary_simulator(faults=plan))
        return [number for number in range(40) if api.put(IMPORT, json=rows(1)).status_code == 503]

    first = failed(1)
    assert 0 < len(first) < 40
    assert failed(1) == first
    assert failed(2) != first


def test_other_operations_shift_no_numbers(simulator_with: SimulatorWith) -> None:
    _, api = simulator_with({"kind": "status", "status": 503, "numbers": [2]})
    api.get("/api_gateway/v1/badges/badgeMeta")
    assert [api.put(IMPORT, json=rows(1)).status_code for _ in range(3)] == [200, 503, 200]


def test_a_plan_can_be_given_as_structs(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(faults=FaultPlan(faults=(StatusFault(status=503, numbers=(1,)),)))
    assert api_of(simulator).put(IMPORT, json=rows(1)).status_code == 503
    simulator.use_faults([StatusFault(status=429)])
    assert api_of(simulator).put(IMPORT, json=rows(1)).status_code == 429
    simulator.use_faults(None)
    assert api_of(simulator).put(IMPORT, json=rows(1)).status_code == 200
