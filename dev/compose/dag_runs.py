"""Runs of one DAG, over Airflow's REST API."""

from __future__ import annotations

import time
from typing import Any

from dev.stack.airflow_api import AirflowApi

SECONDS_TO_BE_FOUND = 180.0
SECONDS_BETWEEN_LOOKS = 1.0


class RunDidNotEndError(AssertionError):
    """A run was still under way when the time to wait was over; the message has the states of its tasks."""


class DagRuns:
    """Starts runs of a DAG, and reports what became of them."""

    def __init__(self, api: AirflowApi, dag_id: str) -> None:
        self._api = api
        self.dag_id = dag_id
        self._dag = f"dags/{dag_id}"

    def unpause_and_wait(self, seconds: float) -> str:
        """Let a scheduled DAG run, and give the run that the scheduler makes of its last interval."""
        self.unpause()
        deadline = time.monotonic() + seconds
        while not (found := self._api.get(f"{self._dag}/dagRuns", run_type="scheduled")["dag_runs"]):
            assert time.monotonic() < deadline, f"no run of {self.dag_id} was scheduled"
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return str(found[0]["dag_run_id"])

    def unpause(self) -> None:
        """Wait until the DAG processor has found the DAG, then let it run."""
        deadline = time.monotonic() + SECONDS_TO_BE_FOUND
        while self.dag_id not in [dag["dag_id"] for dag in self._api.get("dags", limit=100)["dags"]]:
            errors = self._api.get("importErrors")["import_errors"]
            assert not errors, errors
            assert time.monotonic() < deadline, f"{self.dag_id} was not found"
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._api.patch(self._dag, {"is_paused": False})

    def start(self, conf: dict[str, Any] | None = None, logical_date: str | None = None) -> str:
        """Trigger a run, and give its id."""
        body = {"logical_date": logical_date, "conf": conf or {}}
        return str(self._api.post(f"{self._dag}/dagRuns", body)["dag_run_id"])

    def state(self, run_id: str) -> str:
        """How far a run is."""
        return str(self._api.get(f"{self._dag}/dagRuns/{run_id}")["state"])

    def wait_for_end(self, run_id: str, seconds: float) -> str:
        """Wait until a run has ended, and give the state in which it did."""
        deadline = time.monotonic() + seconds
        while (state := self.state(run_id)) not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise RunDidNotEndError(f"{run_id} is {state} after {seconds:.0f} s: {self.states(run_id)}")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return state

    def tasks(self, run_id: str, task_id: str | None = None) -> list[dict[str, Any]]:
        """Task instances of a run, or those of one task by their index."""
        found = self._api.get(f"{self._dag}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        chosen = [task for task in found if task_id in (None, task["task_id"])]
        return sorted(chosen, key=lambda task: (str(task["task_id"]), int(task["map_index"])))

    def tries(self, run_id: str, task_id: str, map_index: int) -> list[dict[str, Any]]:
        """All tries of a mapped task, the first one first."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/tries"
        found = self._api.get(path)["task_instances"]
        return sorted(found, key=lambda one: int(one["try_number"]))

    def states(self, run_id: str) -> list[tuple[str, int, str, int]]:
        """Task, index, state and try of each, for messages."""
        return [(task["task_id"], task["map_index"], task["state"], task["try_number"]) for task in self.tasks(run_id)]

    def returned(self, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What a task of the run returned."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._api.get(path, map_index=map_index)["value"]
