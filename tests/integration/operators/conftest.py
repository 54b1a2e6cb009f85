"""Operators as a worker runs them, but without one: connections from the environment, a dict as the context."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.simulator.server import RunningSimulator


class Task:
    """One task instance: the same ids again are a retry, another ``max_tries`` is a clear."""

    def __init__(self, **ids: Any) -> None:
        self.ids = {
            "dag_id": "nightly",
            "task_id": "import_badges",
            "run_id": "manual__2025-01-15T12:00:00+00:00",
            "map_index": -1,
            "try_number": 1,
            "max_tries": 3,
        } | ids
        self.operator: BadgeImportOperator | None = None

    def context(self) -> Context:
        """Holds ``ti`` with its ids, and nothing else."""
        return cast(Context, {"ti": SimpleNamespace(**self.ids)})

    def run(self, dataset: Any, **arguments: Any) -> dict[str, Any]:
        """Run one try, and give what it returned."""
        self.operator = BadgeImportOperator(task_id="import_badges", dataset=dataset, **arguments)
        return self.operator.execute(self.context())

    def fail(self, dataset: Any, **arguments: Any) -> tuple[AirflowException, dict[str, Any] | None]:
        """Run one try that must fail; give its error, and what it pushed to XCom (``None``: nothing)."""
        pushed: dict[str, Any] = {}
        self.operator = BadgeImportOperator(task_id="import_badges", dataset=dataset, **arguments)
        context: Any = self.context()
        context["ti"].xcom_push = lambda key, value: pushed.__setitem__(key, value)
        with pytest.raises(AirflowException) as failed:
            self.operator.execute(context)
        assert set(pushed) <= {"return_value"}
        return failed.value, pushed.get("return_value")


@pytest.fixture
def task() -> Callable[..., Task]:
    return Task


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """AIRFLOW_HOME, which holds the default ledger and the default reports."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def connect(
    home: Path, start_capillary_simulator: Callable[..., RunningSimulator], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunningSimulator]:
    """``connect(auth_type, simulator=..., **extra)``: a simulator behind the connection ``capillary_default``."""

    def start(auth_type: str = "basic", simulator: dict[str, Any] | None = None, **extra: Any) -> RunningSimulator:
        started = start_capillary_simulator(**(simulator or {}))
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", started.airflow_connection(auth_type, **extra))
        return started

    return start


@pytest.fixture
def simulator(connect: Callable[..., RunningSimulator]) -> RunningSimulator:
    """A simulator in good health, behind ``capillary_default``."""
    return connect()


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[int], str]:
    """``logged(level)``: what was logged from that level on, by Airflow's own loggers (INFO) or by Python's (DEBUG)."""
    caplog.set_level(logging.DEBUG)

    def read(level: int) -> str:
        ours = [record.getMessage() for record in caplog.records if record.levelno >= level]
        ours += [str(record.exc_info[1]) for record in caplog.records if record.exc_info and record.levelno >= level]
        return "\n".join((*ours, *capfd.readouterr()))

    return read
