"""What the import operator raises to Airflow when the API asks to wait, and when a person must fix something first."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.hooks.errors import BadgeTaskInterrupted
from airflow_provider_capillary.jobs import organisation
from airflow_provider_capillary.jobs.pacing import Backoff
from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.routing import IMPORT
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import granted_twice, rows

policies = pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow has retry policies since 3.3")
RetryAction = policies.RetryAction
Tasks = Callable[..., Any]
SMALL = {"batch_size": 10, "canary": False, "concurrency": 1}
#: An import and a look-up give up after six refusals; what the last of them asked for is what Airflow hears of.
LAST = 6


def decided(task: Any, error: BaseException) -> Any:
    """As Airflow 3.3 asks the task that failed."""
    return task.operator.retry_policy.evaluate(exception=error, try_number=1, max_tries=3)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits within a job that the API does not ask for take no time."""
    monkeypatch.setattr(organisation, "Backoff", lambda _: Backoff(lambda: 0.0))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("operation", "status"), [(IMPORT, 429), ("badge", 429), ("badge", 503)], ids=str)
@pytest.mark.parametrize("written_as", ["seconds", "date"])
def test_airflow_waits_as_the_api_asked_last(
    simulator: RunningSimulator, task: Tasks, operation: str, status: int, written_as: Any
) -> None:
    asked: dict[str, Any] = {"operation": operation, "status": status}
    simulator.use_faults(
        [
            StatusFault(numbers=(LAST,), retry_after=90, retry_after_as=written_as, **asked),
            StatusFault(times=LAST - 1, retry_after=0, **asked),
        ]
    )
    one = task(try_number=1)
    error, _ = one.fail(rows(30), **SMALL)
    assert isinstance(error, BadgeTaskInterrupted)
    assert "s before the next try" in str(error)
    decision = decided(one, error)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is not None
    # a date has whole seconds, so that up to one of them is gone already
    assert timedelta(seconds=88) <= decision.retry_delay <= timedelta(seconds=100)
    assert task(try_number=2).run(rows(30), **SMALL)["accepted"] == 30
    assert granted_twice(simulator) == []


def test_a_wrong_password_leaves_no_job_and_no_retry(
    simulator: RunningSimulator, task: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = json.loads(simulator.airflow_connection()) | {"password": "not this one"}
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", json.dumps(wrong))
    one = task()
    error, pushed = one.fail(rows(1), **SMALL)
    assert isinstance(error, AirflowFailException)
    assert decided(one, error).action is RetryAction.FAIL
    assert pushed is None
    assert "not this one" not in str(error)
    assert len(simulator.store) == 0


def test_a_dags_own_policy_is_asked(simulator: RunningSimulator, task: Tasks) -> None:
    simulator.use_faults([StatusFault(status=503, when="after")])
    one = task()
    error, _ = one.fail(rows(200), on_unknown="hold", max_unknown="100%", retry_policy=None, **SMALL)
    assert one.operator.retry_policy is None
    assert not isinstance(error, AirflowFailException)


@pytest.mark.parametrize("operation", [IMPORT, "badge"])
@pytest.mark.parametrize("asked", [301, 7_200])
def test_a_long_wait_is_left_to_airflow(simulator: RunningSimulator, task: Tasks, asked: int, operation: Any) -> None:
    simulator.use_faults([StatusFault(operation=operation, status=429, retry_after=asked)])
    one = task()
    error, _ = one.fail(rows(30), **SMALL)
    assert sum(simulator.simulator.request_counts().values()) == (2 if operation == IMPORT else 1)
    decision = decided(one, error)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay >= timedelta(seconds=asked)


def test_a_503_says_how_long_to_wait_too(simulator: RunningSimulator, task: Tasks) -> None:
    simulator.use_faults([StatusFault(status=503, when="after", retry_after=60)])
    one = task()
    error, _ = one.fail(rows(200), on_unknown="hold", max_unknown="100%", **SMALL)
    assert timedelta(seconds=60) <= decided(one, error).retry_delay <= timedelta(seconds=66)
