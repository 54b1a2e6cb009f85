"""The import operator once more: a retry goes on, a clear and a later run begin anew, and nothing is granted twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.simulator.fault_plan import DropFault, HangFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import ends, granted_twice, rows

Tasks = Callable[..., Any]


def test_a_retry_reads_back_and_grants_nothing_twice(simulator: RunningSimulator, task: Tasks) -> None:
    simulator.use_faults([DropFault(at="after_applying", numbers=(2,)), HangFault(numbers=(3,), seconds=0)])
    arguments = {"batch_size": 10, "canary": False, "concurrency": 1}
    _, pushed = task().fail(rows(30), on_unknown="hold", **arguments)
    assert pushed is not None
    assert ends(pushed) == {"accepted": 10, "unknown": 20}
    summary = task(try_number=2).run(rows(30), on_unknown="verify", verify_after=0, **arguments)
    assert ends(summary) == {"accepted": 30}
    assert simulator.simulator.summary()["grants"] == 30
    assert granted_twice(simulator) == []


@pytest.mark.parametrize(
    "other", [{"max_tries": 7}, {"run_id": "scheduled__2025-01-16"}, {"map_index": 1}, {"task_id": "again"}]
)
def test_a_clear_begins_a_job_that_resends_nothing(
    simulator: RunningSimulator, task: Tasks, other: dict[str, Any]
) -> None:
    first = task().run(rows(20))
    second = task(**other).run(rows(25))
    assert second["job_id"] != first["job_id"]
    assert ends(second) == {"already_accepted": 20, "accepted": 5}
    assert granted_twice(simulator) == []
    assert len(simulator.store) == 25


def test_a_kill_records_what_is_in_flight(simulator: RunningSimulator, task: Tasks) -> None:
    one = task()
    simulator.use_faults([HangFault(numbers=(3,), when="after", seconds=0.3)])
    killed = threading.Event()

    def kill() -> None:
        while simulator.simulator.request_counts().get("PUT /api_gateway/v1/badges/import/customerBadges", 0) < 3:
            killed.wait(0.01)
        one.operator.on_kill()
        killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    arguments = {"batch_size": 10, "canary": False, "concurrency": 1, "verify_after": 0}
    error, pushed = one.fail(rows(200), **arguments)
    killer.join()
    assert killed.is_set()
    assert not isinstance(error, AirflowFailException)
    assert "asked to stop" in str(error)
    assert pushed is not None
    assert pushed["not_sent"] > 0
    assert pushed["accepted"] + pushed["unknown"] + pushed["not_sent"] == 200
    assert len(simulator.store) == 30
    assert ends(task(try_number=2).run(rows(200), **arguments)) == {"accepted": 200}
    assert granted_twice(simulator) == []


def test_a_reused_run_id_says_what_is_not_sent(
    simulator: RunningSimulator, task: Callable[..., Any], logged: Callable[[int], str]
) -> None:
    dates = {"earn_event_date": "2025-01-15T12:00:00Z", "earn_expires_on": "2026-01-15T12:00:00Z"}
    badges = ("654e08f2041fd452b3ef5b2e", "0123456789abcdef01234567")
    given = [{"badge_meta_id": badge, "customer_id": 7, **dates} for badge in badges]
    first = task().run(given, max_rejected=1, check_badges=False)
    logged(logging.INFO)
    again = task().run(given, max_rejected=1, check_badges=False)
    text = logged(logging.INFO)
    assert (again["job_id"], again["accepted"], again["rejected"]) == (first["job_id"], 1, 1)
    assert again["requests"] == 0
    assert "these rows are not sent again. To send them, clear the task, or use another run id" in text
    assert "The task succeeds within its budgets, but 1 row is to be looked at." in text
    assert f"airflow capillary errors {first['job_id']}" in text
