"""A real scheduler, asked over Airflow's REST API: what a person does with buttons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from dev.stack.airflow_api import AirflowApi, AirflowApiError

SECONDS = 600.0
SECONDS_BETWEEN_LOOKS = 0.5
UNFINISHED = ("queued", "running")
CONFLICT = 409


class Scheduler:
    """One DAG of an Airflow with a scheduler at work."""

    def __init__(self, api: AirflowApi, dag_id: str) -> None:
        self._api = api
        self._dag_id = dag_id
        self._dag = f"dags/{dag_id}"

    def wait_until(self, what: str, is_so: Callable[[], Any], seconds: float = SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := is_so()):
            assert time.monotonic() < deadline, f"not so after {seconds:.0f} s: {what}"
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return found

    def unpause(self) -> None:
        self.wait_until("the DAG is loaded", lambda: self._dag_id in self._dag_ids())
        self._api.patch(self._dag, {"is_paused": False})

    def trigger(self, logical_date: str | None = None, **conf: Any) -> str:
        body = {"logical_date": logical_date, "conf": conf}
        return str(self._api.post(f"{self._dag}/dagRuns", body)["dag_run_id"])

    def backfill(self, first: date, last: date, reprocess: str, **settings: Any) -> list[str]:
        """Make a backfill, wait until its runs have ended, and give their ids in the order in which they began."""
        queued_before = {run["dag_run_id"]: run["queued_at"] for run in self.runs()}
        body = {
            "dag_id": self._dag_id,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "reprocess_behavior": reprocess,
            **settings,
        }
        made = self._api.post("backfills", body)
        self.wait_for_all()
        self._end_backfill(made["id"])
        its = [run for run in self.runs() if run["queued_at"] != queued_before.get(run["dag_run_id"])]
        return [run["dag_run_id"] for run in sorted(its, key=began)]

    def _end_backfill(self, number: int) -> None:
        """Let there be another one: the scheduler looks only every 30 s whether a backfill is over."""
        try:
            if self._api.get(f"backfills/{number}")["completed_at"] is None:
                self._api.put(f"backfills/{number}/cancel")
        except AirflowApiError as error:
            if error.status != CONFLICT:  # the scheduler was quicker
                raise

    def clear_task(self, run_id: str, *task_ids: str) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": task_ids, "only_failed": False}
        self._api.post(f"{self._dag}/clearTaskInstances", body)

    def clear_run(self, run_id: str) -> None:
        self._api.post(f"{self._dag}/dagRuns/{run_id}/clear", {"dry_run": False})

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.get(f"{self._dag}/dagRuns", limit=100)["dag_runs"]
        return found

    def run(self, run_id: str) -> dict[str, Any]:
        return next(run for run in self.runs() if run["dag_run_id"] == run_id)

    def states(self, run_ids: Iterable[str]) -> dict[str, str]:
        wanted = set(run_ids)
        return {run["dag_run_id"]: run["state"] for run in self.runs() if run["dag_run_id"] in wanted}

    def most_at_once(self, run_ids: Iterable[str]) -> int:
        """How many of these runs there were at the same time, at most."""
        wanted = set(run_ids)
        runs = [run for run in self.runs() if run["dag_run_id"] in wanted]
        return max(sum(began(other) <= began(run) < ended(other) for other in runs) for run in runs)

    def wait_for_all(self) -> None:
        """Wait until no run is unfinished."""
        self.wait_until("all runs have ended", lambda: not any(run["state"] in UNFINISHED for run in self.runs()))

    def task(self, run_id: str, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get(f"{self._dag}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def summary(self, run_id: str) -> dict[str, Any]:
        """What the import reported of itself."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/import_badges/xcomEntries/return_value"
        found: dict[str, Any] = self._api.get(path)["value"]
        return found

    def _dag_ids(self) -> list[str]:
        return [dag["dag_id"] for dag in self._api.get("dags")["dags"]]


def began(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["start_date"])


def ended(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["end_date"])


def logs_of_tasks(home: Path, dag_id: str, lines: int = 40) -> str:
    """The ends of the logs of a DAG's imports, newest last."""
    files = sorted((home / "logs").glob(f"dag_id={dag_id}/*/task_id=*/*.log"), key=lambda file: file.stat().st_mtime)
    reported = [
        f"==> {file} <==\n" + "\n".join(file.read_text("utf-8", "replace").splitlines()[-lines:]) for file in files
    ]
    return "\n".join(reported[-12:])
