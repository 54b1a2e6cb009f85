"""Lists what people started for a job: runs that review or undo it, and clears that ran it again."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_capillary.ledger.facts import JobRecord
from airflow_provider_capillary.plugins.badge_imports.airflow_api import AirflowApi, path_of

SETTLE_DAG, UNDO_DAG = "review_unknown_badges", "undo_badges"
RUNS_LOOKED_AT = 100
#: The name of a clear in Airflow's audit log.
_CLEAR = "post_clear_task_instances"


class Started(msgspec.Struct, frozen=True):
    """A run of a review or undo Dag that is about a job, or a clear of the job's task."""

    what: str  #: settle, undo, again
    dag_id: str
    run_id: str
    state: str  #: of the run; a clear has none of its own
    started_by: str
    started_at: str
    dry_run: bool = False


def started_runs(api: AirflowApi, job_id: str) -> list[Started]:
    """Runs about the job that the user may read, latest first."""
    runs: list[Started] = []
    for what, dag_id in (("settle", SETTLE_DAG), ("undo", UNDO_DAG)):
        found = api.find(path_of("dags", dag_id, "dagRuns"), limit=RUNS_LOOKED_AT, order_by="-run_after")
        runs += [_run(what, dag_id, run) for run in (found or {}).get("dag_runs", ()) if _is_about(run, job_id)]
    return sorted(runs, key=lambda run: run.started_at, reverse=True)


def clears(api: AirflowApi, job: JobRecord) -> list[Started]:
    """Clears of the job's task in its run, latest first, from here or from Airflow's own pages.

    They come from Airflow's audit log. A user who may not read it sees none.
    """
    found = api.find("eventLogs", dag_id=job.dag_id, event=_CLEAR, limit=RUNS_LOOKED_AT, order_by="-when")
    return [
        Started("again", job.dag_id, job.run_id, "", entry.get("owner") or "", entry.get("when") or "")
        for entry in (found or {}).get("event_logs", ())
        if _cleared(entry, job)
    ]


def _is_about(run: dict[str, Any], job_id: str) -> bool:
    return job_id in str(run.get("conf") or {})


def _run(what: str, dag_id: str, run: dict[str, Any]) -> Started:
    return Started(
        what,
        dag_id,
        run["dag_run_id"],
        run["state"],
        run.get("triggering_user_name") or "",
        run.get("queued_at") or run.get("run_after") or "",
        dry_run=what == "undo" and (run.get("conf") or {}).get("dry_run", True) is not False,
    )


def _cleared(entry: dict[str, Any], job: JobRecord) -> bool:
    """Whether the clear was of the job's task, or of all tasks of its run."""
    try:
        asked = msgspec.json.decode(entry.get("extra") or "{}")
    except msgspec.DecodeError:
        return False
    if not isinstance(asked, dict) or job.run_id not in (entry.get("run_id"), asked.get("dag_run_id")):
        return False
    tasks = asked.get("task_ids")
    if not tasks:
        return True
    own = (job.task_id, [job.task_id, job.map_index])
    return isinstance(tasks, list) and any(task in own for task in tasks)
