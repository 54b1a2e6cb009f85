from __future__ import annotations

import base64
import hashlib
import json
import threading
from typing import Any

import pytest

from airflow_provider_capillary.simulator.fault_actions import LateCommits
from airflow_provider_capillary.simulator.messages import Request
from airflow_provider_capillary.simulator.simulator import Simulator
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings, catalogue, numbered_badges

IMPORT = "/api_gateway/v1/badges/import/customerBadges"
BADGE = "654e08f2041fd452b3ef5b2e"


def send(simulator: Simulator, *customers: int) -> Any:
    """One import, without a socket."""
    times = {"earnEventDate": 1674292011, "earnExpiresOn": 1705828011}
    body = json.dumps([{"badgeMetaId": BADGE, "customerId": customer, **times} for customer in customers]).encode()
    password_md5 = hashlib.md5(simulator.settings.password.encode()).hexdigest()
    basic = base64.b64encode(f"{simulator.settings.username}:{password_md5}".encode()).decode()
    headers = {"authorization": f"Basic {basic}", "content-type": "application/json"}
    arrival = simulator.arrive("PUT", IMPORT, len(body))
    return simulator.exchange(arrival, Request("PUT", IMPORT, {}, headers, body, "base"))


@pytest.mark.parametrize("positions", [(1, 4), (2,)])
def test_a_row_error_refuses_the_given_positions(positions: tuple[int, ...]) -> None:
    simulator = Simulator(faults=[{"kind": "row_error", "code": 521, "positions": positions}])
    entries = json.loads(send(simulator, 1, 2, 3, 4).reply.content())
    assert tuple(place for place, entry in enumerate(entries, 1) if entry["errors"]) == positions
    assert [grant.request_id for grant in simulator.store.grants()] == [
        f"base_{position}" for position in range(1, 5) if position not in positions
    ]


def test_a_share_of_rows_is_refused() -> None:
    def refused(simulator: Simulator) -> list[int]:
        entries = json.loads(send(simulator, *range(1, 201)).reply.content())
        return [place for place, entry in enumerate(entries) if entry["errors"]]

    plan = {"seed": 1, "faults": [{"kind": "row_error", "row_share": 0.25}]}
    simulator, same = Simulator(faults=plan), Simulator(faults=plan)
    first, second = refused(simulator), refused(simulator)
    assert 25 < len(first) < 75
    assert first != second
    assert [refused(same), refused(same)] == [first, second]


def test_numbers_and_counts_of_faults_hold_over_threads() -> None:
    simulator = Simulator(faults=[{"kind": "status", "status": 503, "times": 5}])
    statuses: list[int] = []

    def send_ten() -> None:
        statuses.extend(send(simulator, 1).reply.status for _ in range(10))

    threads = [threading.Thread(target=send_ten) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(503), statuses.count(200), len(simulator.store)) == (5, 75, 75)
    assert simulator.arrive("PUT", IMPORT, 0).call.number == 81


def test_late_work_is_done_once_or_discarded() -> None:
    done: list[str] = []
    late = LateCommits()
    late.add(lambda: done.append("first"), None)
    assert [late.release(), late.release()] == [1, 0]
    late.add(lambda: done.append("second"), 3_600)
    late.discard()
    assert late.release() == 0
    assert done == ["first"]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="Mars"):
        SimulatorSettings(zone="Mars/Olympus")
    with pytest.raises(ValueError, match="methods"):
        SimulatorSettings(methods=())
    with pytest.raises(ValueError, match="PATCH"):
        SimulatorSettings(methods=("PATCH",))


def test_a_catalogue_is_given_in_several_ways() -> None:
    assert catalogue(3) == numbered_badges(3)
    assert len({badge.id for badge in numbered_badges(1_000)}) == 1_000
    assert all(len(badge.id) == 24 and int(badge.id, 16) for badge in numbered_badges(1_000))
    assert [badge.name for badge in catalogue(["a", {"id": "b", "name": "B"}, numbered_badges(1)[0]])] == [
        "",
        "B",
        "Badge 1",
    ]
