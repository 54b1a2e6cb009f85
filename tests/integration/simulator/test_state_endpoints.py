from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
import requests

from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings

Start = Callable[..., RunningSimulator]
ApiOf = Callable[[RunningSimulator], requests.Session]

IMPORT = "/api_gateway/v1/badges/import/customerBadges"
BADGE = "654e08f2041fd452b3ef5b2e"


def rows(*customers: int) -> list[dict[str, object]]:
    times = {"earnEventDate": 1674292011, "earnExpiresOn": 1705828011}
    return [{"badgeMetaId": BADGE, "customerId": customer, **times} for customer in customers]


def test_every_grant_is_listed_as_a_json_line(api: requests.Session) -> None:
    api.put(IMPORT, json=rows(1, 2), headers={"X-CAP-REQUEST-ID": "first"})
    api.put(IMPORT, json=rows(*range(3, 2503)))
    lines = [json.loads(line) for line in api.get("/simulator/grants").iter_lines()]
    assert [line["customerId"] for line in lines] == list(range(1, 2503))
    earned_badge_id, granted_on = lines[0].pop("earnedBadgeId"), lines[0].pop("grantedOn")
    assert earned_badge_id.startswith(f"{granted_on:08x}")
    assert lines[0] == {
        "customerId": 1,
        "badgeMetaId": BADGE,
        "earnEventDate": 1674292011,
        "expiresOn": 1705828011,
        "requestId": "first_1",
        "isActive": True,
    }


def test_no_grants_are_no_lines(api: requests.Session) -> None:
    assert api.get("/simulator/grants").content == b""


def test_the_summary_counts_grants_and_calls(api: requests.Session) -> None:
    api.put(IMPORT, json=rows(1, 1, 1, 2))
    api.get("/api_gateway/v1/badges/customer/1")
    api.get("/api_gateway/v1/badges/customer/2")
    summary = api.get("/simulator/summary").json()
    assert summary == {
        "grants": 4,
        "active": 4,
        "distinct": 2,
        "grantedTwice": 1,
        "requests": {f"PUT {IMPORT}": 1, "GET /api_gateway/v1/badges/customer/{customer_id}": 2},
        "faults": [],
    }


def test_a_sink_counts_grants_without_keeping_them(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(keep_grants=False)
    api = api_of(simulator)
    entries = api.put(IMPORT, json=rows(1, 1)).json()
    assert len({entry["data"]["earnedBadgeId"] for entry in entries}) == 2
    assert len(simulator.store) == 2
    assert list(simulator.store.grants()) == []
    assert api.get("/simulator/summary").json()["distinct"] is None


def test_reset_forgets_all_and_restores_the_first_plan(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    api = api_of(start_capillary_simulator(faults=[{"kind": "status", "status": 503, "numbers": [1]}]))
    statuses = [api.put(IMPORT, json=rows(1)).status_code for _ in range(2)]
    api.put("/simulator/faults", json={})
    assert api.post("/simulator/reset").status_code == 200
    assert api.get("/simulator/summary").json()["grants"] == 0
    statuses += [api.put(IMPORT, json=rows(1)).status_code for _ in range(2)]
    assert statuses == [503, 200, 503, 200]


def test_faults_can_be_changed_while_it_runs(api: requests.Session) -> None:
    plan = {"seed": 3, "faults": [{"kind": "status", "status": 429}]}
    assert api.put("/simulator/faults", json=plan).json() == {"faults": 1}
    assert api.get("/simulator/faults").json() == plan
    assert api.put(IMPORT, json=rows(1)).status_code == 429
    assert api.get("/simulator/summary").json()["faults"] == [{"kind": "status", "happened": 1}]


def test_a_wrong_fault_plan_keeps_the_old(api: requests.Session) -> None:
    api.put("/simulator/faults", json={"faults": [{"kind": "status", "status": 429}]})
    reply = api.put("/simulator/faults", json={"faults": [{"kind": "status", "stauts": 503}]})
    assert reply.status_code == 400
    assert "stauts" in reply.json()["errors"][0]["message"]
    assert api.put(IMPORT, json=rows(1)).status_code == 429


def test_health_and_unknown_paths(api: requests.Session) -> None:
    assert api.get("/simulator/health").status_code == 200
    assert api.get("/simulator/nothing").status_code == 404


def test_threads_lose_and_double_no_grant(capillary_simulator: RunningSimulator, api_of: ApiOf) -> None:
    def send(first: int) -> None:
        api = api_of(capillary_simulator)
        for customer in range(first, first + 100, 10):
            assert api.put(IMPORT, json=rows(*range(customer, customer + 10))).status_code == 200

    threads = [threading.Thread(target=send, args=(first,)) for first in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grants = list(capillary_simulator.store.grants())
    assert sorted(grant.customer_id for grant in grants) == list(range(800))
    assert len({grant.earned_badge_id for grant in grants}) == 800
    assert capillary_simulator.simulator.request_counts() == {f"PUT {IMPORT}": 80}


@pytest.mark.parametrize(
    ("auth_type", "login", "password"),
    [("basic", "simulated.till", "simulated-password"), ("oauth", "simulated-key", "simulated-secret")],
)
def test_an_airflow_connection_is_offered(
    capillary_simulator: RunningSimulator, auth_type: str, login: str, password: str
) -> None:
    connection = json.loads(capillary_simulator.airflow_connection(auth_type, import_method="PUT"))
    assert connection == {
        "conn_type": "capillary",
        "host": capillary_simulator.url,
        "login": login,
        "password": password,
        "extra": {"auth_type": auth_type, "import_method": "PUT"},
    }


def test_settings_and_single_fields_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="zone"), running_simulator(SimulatorSettings(), zone="UTC"):
        pass  # pragma: no cover - it does not come that far
