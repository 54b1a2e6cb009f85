"""A decorated function as a worker runs it, but without one: connections from the environment, a dict as context."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Context

from airflow_provider_capillary.decorators.badge_import import badge_import_task
from airflow_provider_capillary.simulator.server import RunningSimulator

Try = Callable[..., dict[str, Any]]


@pytest.fixture
def simulator(
    capillary_simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> RunningSimulator:
    """A simulator in good health behind ``capillary_default``; the ledger is a file of this test."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", capillary_simulator.airflow_connection())
    return capillary_simulator


@pytest.fixture
def try_once() -> Try:
    """``try_once(function, *arguments, context={}, max_tries=3, **parameters)``; the same ``max_tries`` is a retry."""

    def run(
        function: Callable[..., Any],
        *arguments: Any,
        context: dict[str, Any] | None = None,
        max_tries: int = 3,
        **parameters: Any,
    ) -> dict[str, Any]:
        with DAG("nightly", schedule=None):
            output: Any = badge_import_task(task_id="import_badges", **parameters)(function)(*arguments)
        ti = SimpleNamespace(
            dag_id="nightly",
            task_id="import_badges",
            run_id="manual__2025-01-15T12:00:00+00:00",
            map_index=-1,
            try_number=1,
            max_tries=max_tries,
        )
        summary: dict[str, Any] = output.operator.execute(cast(Context, {"ti": ti, **(context or {})}))
        return summary

    return run
