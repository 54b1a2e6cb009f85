"""The Dag runs that review or undo a job, and what became of them."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_capillary.plugins.badge_imports.airflow_api import AirflowApi, path_of

SETTLE_DAG, UNDO_DAG = "review_unknown_badges", "undo_badges"
RUNS_LOOKED_AT = 100


class StartedRun(msgspec.Struct, frozen=True):
    """A run of one of the two Dags that is about a job."""

    dag_id: str
    run_id: str
    state: str
    started_by: str
    started_at: str
    dry_run: bool


def started_runs(api: AirflowApi, job_id: str) -> list[StartedRun]:
    """Runs about the job, latest first; those that the user may read."""
    runs: list[StartedRun] = []
    for dag_id in (SETTLE_DAG, UNDO_DAG):
        found = api.find(path_of("dags", dag_id, "dagRuns"), limit=RUNS_LOOKED_AT, order_by="-run_after")
        runs += [_run(dag_id, run) for run in (found or {}).get("dag_runs", ()) if _is_about(run, job_id)]
    return sorted(runs, key=lambda run: run.started_at, reverse=True)


def _is_about(run: dict[str, Any], job_id: str) -> bool:
    return job_id in str(run.get("conf") or {})


def _run(dag_id: str, run: dict[str, Any]) -> StartedRun:
    return StartedRun(
        dag_id=dag_id,
        run_id=run["dag_run_id"],
        state=run["state"],
        started_by=run.get("triggering_user_name") or "",
        started_at=run.get("queued_at") or run.get("run_after") or "",
        dry_run=dag_id == UNDO_DAG and (run.get("conf") or {}).get("dry_run", True) is not False,
    )
