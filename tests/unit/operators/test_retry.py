"""When Airflow is to try again: every error of the package has its decision, and the server's wish is kept."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import math
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_capillary import exceptions
from airflow_provider_capillary.core.summary import UnaccountedRowsError
from airflow_provider_capillary.exceptions import ApiUnavailableError, CapillaryError, RetryableError
from airflow_provider_capillary.hooks.errors import as_airflow_error
from airflow_provider_capillary.ledger.facts import IntentConflictError
from airflow_provider_capillary.operators import airflow_installation, retry
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.operators.retry import CapillaryRetryPolicy

policies = pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow has retry policies since 3.3")
ExceptionRetryPolicy, RetryAction = policies.ExceptionRetryPolicy, policies.RetryAction
AGAIN, FAIL = RetryAction.DEFAULT, RetryAction.FAIL
#: What becomes of a task that failed with this, where no wait was asked for. An error without a line here fails a test.
TABLE = {
    "CapillaryError": FAIL,
    "FixableError": FAIL,
    "ConfigurationError": FAIL,
    "UnknownJobError": FAIL,
    "UnknownOrganisationError": FAIL,
    "DatasetError": FAIL,
    "AuthenticationError": FAIL,
    "RequestRefusedError": FAIL,
    "JobMismatchError": FAIL,
    "WrongLedgerError": FAIL,
    "LedgerUnusableError": FAIL,
    "ImportStoppedError": FAIL,
    "BudgetExceededError": FAIL,
    "ApiError": FAIL,
    "RetryableError": AGAIN,
    "ApiUnavailableError": AGAIN,
    "JobIsRunningError": AGAIN,
    "ControlMissingError": AGAIN,
    "LeaseLostError": AGAIN,
    "LedgerUnavailableError": AGAIN,
    "WitnessUnavailableError": AGAIN,
    "ImportInterruptedError": AGAIN,
}
ASKING = (
    "RetryableError",
    "ApiUnavailableError",
    "JobIsRunningError",
    "LeaseLostError",
    "LedgerUnavailableError",
    "WitnessUnavailableError",
)


def decide(error: BaseException, chance: float = 0.0) -> Any:
    return CapillaryRetryPolicy(chance=lambda: chance).evaluate(error, 1, 3)


def test_every_error_has_a_decision() -> None:
    errors = {
        name
        for name, one in inspect.getmembers(exceptions, inspect.isclass)
        if one.__module__ == exceptions.__name__ and issubclass(one, Exception)
    }
    assert errors == set(TABLE)


@pytest.mark.parametrize(("name", "action"), TABLE.items())
def test_an_error_is_decided_alike_everywhere(name: str, action: Any) -> None:
    error = getattr(exceptions, name)("reported")
    assert decide(error).action is action
    reported = as_airflow_error(error)
    assert decide(reported).action is action
    # Airflow 3.2 asks no policy: there the class alone says whether there is another try
    assert isinstance(reported, AirflowFailException) is (action is FAIL)


@pytest.mark.parametrize("error", [UnaccountedRowsError("sum"), IntentConflictError("both")])
def test_defects_are_not_tried_again(error: CapillaryError) -> None:
    assert decide(error).action is FAIL
    assert isinstance(as_airflow_error(error), AirflowFailException)


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), AirflowException("other"), AirflowTaskTimeout("late"), SystemExit(1)]
)
def test_errors_of_others_are_left_to_airflow(error: BaseException) -> None:
    assert decide(error).action is RetryAction.DEFAULT


# -- How long


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize(("asked", "chance"), [(0.25, 0.999), (59.4, 0.0), (86_400.0, 0.5)])
def test_the_wait_is_hardly_longer_than_asked(name: str, chance: float, asked: float) -> None:
    error = getattr(exceptions, name)("reported", retry_after=asked)
    for one in (error, as_airflow_error(error)):
        decision = decide(one, chance)
        assert decision.action is RetryAction.RETRY
        assert timedelta(seconds=asked) <= decision.retry_delay <= timedelta(seconds=asked * 1.1)


@pytest.mark.parametrize("asked", [86_401.0, 1e12, 1e300])
def test_more_than_a_day_is_a_day(asked: float) -> None:
    assert decide(RetryableError("reported", retry_after=asked)).retry_delay == timedelta(hours=24)


@pytest.mark.parametrize("asked", [None, 0.0, -0.0, -5.0, math.nan, math.inf, -math.inf])
def test_a_missing_wait_uses_the_tasks_delay(asked: float | None) -> None:
    error = ApiUnavailableError("reported", retry_after=asked)
    for one in (error, as_airflow_error(error)):
        decision = decide(one)
        assert (decision.action, decision.retry_delay) == (RetryAction.DEFAULT, None)


def test_airflow_keeps_only_our_own_reason() -> None:
    error = ApiUnavailableError("customer 9000017 of jane@example.org", retry_after=2.0)
    assert decide(error).reason == "asked to wait 2.0 s before the next try"
    assert "9000017" not in str(decide(exceptions.AuthenticationError("customer 9000017")).reason)


# -- Which policy a task has

OTHER = ExceptionRetryPolicy(rules=[])


@pytest.mark.parametrize(
    "operator",
    [partial(BadgeImportOperator, dataset=[]), partial(BadgeErrorReportOperator, job="b")],
    ids=["import", "report"],
)
def test_an_operator_has_the_policy_by_default(operator: Callable[..., Any]) -> None:
    assert isinstance(operator(task_id="a").retry_policy, CapillaryRetryPolicy)
    assert operator(task_id="b", retry_policy=OTHER).retry_policy is OTHER
    assert operator(task_id="c", retry_policy=None).retry_policy is None


def test_the_task_overrides_default_args() -> None:
    own = CapillaryRetryPolicy()
    with DAG("nightly", schedule=None, default_args={"retry_policy": OTHER, "retries": 2}):
        assert BadgeImportOperator(task_id="a", dataset=[]).retry_policy is OTHER
        assert BadgeImportOperator(task_id="b", dataset=[], retry_policy=own).retry_policy is own
        mapped: Any = BadgeImportOperator.partial(task_id="c").expand(dataset=["a"])
        assert mapped.unmap({"dataset": "a"}).retry_policy is OTHER


def test_a_mapped_task_has_the_policy_too() -> None:
    with DAG("nightly", schedule=None):
        mapped: Any = BadgeImportOperator.partial(task_id="a").expand(dataset=["a", "b"])
        other: Any = BadgeImportOperator.partial(task_id="b", retry_policy=OTHER).expand(dataset=["a", "b"])
    assert isinstance(mapped.unmap({"dataset": "a"}).retry_policy, CapillaryRetryPolicy)
    assert other.unmap({"dataset": "a"}).retry_policy is OTHER


def test_a_stored_dag_names_the_policy() -> None:
    with DAG("nightly", schedule=None) as dag:
        BadgeImportOperator(task_id="plain", dataset=[])
        BadgeImportOperator.partial(task_id="mapped").expand(dataset=["a", "b"])
        BadgeImportOperator(task_id="without", dataset=[], retry_policy=None)
    stored = json.dumps(DagSerialization.serialize_dag(copy.deepcopy(dag)))
    assert "CapillaryRetryPolicy" not in stored
    restored = DagSerialization.deserialize_dag(json.loads(stored))
    has = {name: restored.get_task(name).has_retry_policy for name in ("plain", "mapped", "without")}
    assert has == {"plain": True, "mapped": True, "without": False}


# -- Airflow 3.2, which has no policies


@pytest.fixture
def airflow_3_2(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Our modules as they are when ``airflow.sdk`` lacks the names that came with 3.3."""
    import airflow.sdk

    without = ModuleType("airflow.sdk")
    for name in set(airflow.sdk.__all__) - {"RetryPolicy", "RetryDecision"}:
        if name in vars(airflow.sdk):
            setattr(without, name, getattr(airflow.sdk, name))
    monkeypatch.setitem(sys.modules, "airflow.sdk", without)
    loaded: dict[str, Any] = {}
    for module in (airflow_installation, retry):
        assert module.__file__ is not None
        spec = importlib.util.spec_from_file_location(module.__name__, Path(module.__file__))
        assert spec is not None
        assert spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module.__name__, fresh)
        spec.loader.exec_module(fresh)
        loaded[module.__name__.rpartition(".")[2]] = fresh
    return loaded


def test_airflow_3_2_gets_no_policy(airflow_3_2: dict[str, Any]) -> None:
    versions, policies = airflow_3_2["airflow_installation"], airflow_3_2["retry"]
    assert versions.HAS_RETRY_POLICIES is False
    assert versions.retry_arguments(OTHER) == {}
    assert policies.RETRY_POLICY is None
    assert policies.CapillaryRetryPolicy()
