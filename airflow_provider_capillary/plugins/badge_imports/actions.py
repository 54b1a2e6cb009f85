"""The actions of the page: settle a job's unknown rows, run the import again, undo it.

The page first shows how many rows an action is about and what it does, and the person confirms. Then Airflow does it,
by a Dag run or a clear that its own API starts for this user. The web server's process does none of the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.datamodels.task_instances import ClearTaskInstancesBody
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.ledger.facts import JobRecord
from airflow_provider_capillary.ledger.reader import LedgerReader
from airflow_provider_capillary.plugins.badge_imports import confirmation, ledgers, rights
from airflow_provider_capillary.plugins.badge_imports.airflow_api import AirflowApi, path_of
from airflow_provider_capillary.plugins.badge_imports.confirmation import SignedForm
from airflow_provider_capillary.plugins.badge_imports.dag_arguments import connection_of
from airflow_provider_capillary.plugins.badge_imports.job_view import badges
from airflow_provider_capillary.plugins.badge_imports.lists import job_of_dag
from airflow_provider_capillary.plugins.badge_imports.rendering import page
from airflow_provider_capillary.plugins.badge_imports.started_runs import SETTLE_DAG, UNDO_DAG, started_runs

router = APIRouter()
_JOB = "/dags/{dag_id}/jobs/{job_id}"


class ActionPlan(msgspec.Struct, frozen=True):
    """What an action would do; ``hindrance`` says why it is not possible now."""

    action: str
    title: str
    rows: int
    consequences: tuple[str, ...]
    button: str
    hindrance: str = ""
    is_paused: bool = False
    badges: Mapping[str, int] = {}
    where: Mapping[str, str] = {}  #: connection and ledger of the job, if they are not the defaults


class Target(msgspec.Struct, frozen=True):
    """The job that an action is about, and the user's access to Airflow's API."""

    job: JobRecord
    ledger: ledgers.NamedLedger
    reader: LedgerReader
    api: AirflowApi
    user: BaseUser


def _target(request: Request, dag_id: str, job_id: str, user: BaseUser, ledger: str) -> Target:
    where = ledgers.named(ledger)
    reader = where.open()
    return Target(job_of_dag(reader, dag_id, job_id), where, reader, AirflowApi(request), user)


def _to_change(request: Request, dag_id: str, job_id: str, user: rights.MayChange, ledger: str = "") -> Target:
    return _target(request, dag_id, job_id, user, ledger)


def _to_undo(request: Request, dag_id: str, job_id: str, user: rights.MayUndo, ledger: str = "") -> Target:
    return _target(request, dag_id, job_id, user, ledger)


#: The job that a route's path names, for a user who may do it.
ToChange = Annotated[Target, Depends(_to_change)]
ToUndo = Annotated[Target, Depends(_to_undo)]

# -- settle unknown rows ---------------------------------------------------------------------------------------------


@router.get(f"{_JOB}/settle")
def ask_settle(request: Request, target: ToChange) -> HTMLResponse:
    """Show what settling the job's unknown rows means."""
    return _ask(request, target, _plan_settle(target))


@router.post(f"{_JOB}/settle")
def settle(request: Request, target: ToChange, signed: SignedForm) -> Response:
    """Start the review of the job's unknown rows."""
    plan = _checked(request, signed, target, _plan_settle(target))
    return _started(request, target, plan, SETTLE_DAG, {"jobs": [target.job.job_id], **plan.where})


def _plan_settle(target: Target) -> ActionPlan:
    rows = target.reader.standing(target.job.job_id)["unknown"]
    return _with_dag(
        target,
        SETTLE_DAG,
        ActionPlan(
            "settle",
            "Settle unknown rows",
            rows,
            (
                f"Airflow starts the DAG {SETTLE_DAG}. It reads each of these badges back from Capillary, "
                "and settles what a read can prove. Nothing is sent.",
                "For rows that no read can settle it asks a person, under Required Actions in Airflow.",
            ),
            "Read them back",
            "" if rows else "This job has no unknown rows.",
        ),
    )


# -- run again -------------------------------------------------------------------------------------------------------


@router.get(f"{_JOB}/again")
def ask_again(request: Request, target: ToChange) -> HTMLResponse:
    """Show what running the import again means."""
    return _ask(request, target, _plan_again(target))


@router.post(f"{_JOB}/again")
def again(request: Request, target: ToChange, signed: SignedForm) -> Response:
    """Clear the import's task, and what follows it."""
    plan = _checked(request, signed, target, _plan_again(target))
    job = target.job
    _unpause(target, job.dag_id, plan)
    task: Any = job.task_id if job.map_index < 0 else [job.task_id, job.map_index]
    body: dict[str, Any] = {
        "dry_run": False,
        "dag_run_id": job.run_id,
        "task_ids": [task],
        "only_failed": False,
        "include_downstream": True,
        "prevent_running_task": True,
    }
    note = _note(target, "Run again")
    if "note" in ClearTaskInstancesBody.model_fields:  # Airflow 3.3
        body["note"] = note
    cleared = target.api.do("POST", path_of("dags", job.dag_id, "clearTaskInstances"), body)
    if not (cleared or {}).get("task_instances"):
        raise HTTPException(409, f"Airflow has no task {job.task_id} in the run {job.run_id} any more.")
    if "note" not in body:
        where = path_of("dags", job.dag_id, "dagRuns", job.run_id, "taskInstances", job.task_id)
        one = where if job.map_index < 0 else f"{where}/{job.map_index}"
        target.api.do("PATCH", f"{one}?update_mask=note", {"note": note})
    return _done(request, target, job.dag_id, job.run_id, plan)


def _plan_again(target: Target) -> ActionPlan:
    job = target.job
    counts = target.reader.standing(job.job_id) if not job.has_account else dict(job.summary or {})
    rows = sum(int(counts.get(state, 0)) for state in ("rejected", "invalid", "unknown", "not_sent"))
    return _with_dag(
        target,
        job.dag_id,
        ActionPlan(
            "again",
            "Run the import again",
            rows,
            (
                f"Airflow clears the task {job.task_id} of this run and what follows it. That begins a new job over "
                "the same dataset and the same ledger.",
                f"{job.rows - rows:,} rows that are accepted are not sent again. Of the {rows:,} others, those that "
                "were refused or not sent are sent; unknown ones are read back first.",
                "Correct what was wrong first, or the same rows are refused for the same reasons.",
            ),
            "Run it again",
            "The import is running. Wait until it has ended." if job.state == "open" else "",
        ),
        is_sample=False,
    )


# -- undo ------------------------------------------------------------------------------------------------------------


@router.get(f"{_JOB}/undo")
def ask_undo(request: Request, target: ToUndo) -> HTMLResponse:
    """Show what an undo takes back. The undo itself is offered only after a dry run of the same job."""
    return _ask(request, target, _plan_undo(target))


@router.post(f"{_JOB}/undo")
def undo(request: Request, target: ToUndo, signed: SignedForm) -> Response:
    """Start the dry run, or the undo itself after a successful dry run."""
    plan = _checked(request, signed, target, _plan_undo(target))
    settings = {"job": target.job.job_id, "dry_run": plan.action == "undo-dry-run", **plan.where}
    return _started(request, target, plan, UNDO_DAG, settings)


def _plan_undo(target: Target) -> ActionPlan:
    job = target.job
    grants = target.reader.grants(job.job_id)
    rows = sum(grants.with_id.values())
    runs = [run for run in started_runs(target.api, job.job_id) if run.dag_id == UNDO_DAG and run.dry_run]
    tried = any(run.state == "success" for run in runs)
    running = any(run.state in ("queued", "running") for run in runs)
    consequences = [f"Taken back: {badges(rows)} that this job granted, each by its id."]
    if grants.without_id:
        consequences.append(f"{grants.without_id:,} accepted rows have no id, and cannot be taken back in this way.")
    if grants.unknown:
        consequences.append(f"{grants.unknown:,} rows are unknown: settle them first, or they stay as they are.")
    if tried:
        consequences.append("Customers see at once that the badges are gone. A later import does not grant them again.")
    else:
        consequences.insert(0, "First a dry run: Airflow counts what would be taken back, and takes nothing back.")
    hindrance = "" if rows else "This job granted nothing that can be taken back."
    if job.state == "open":
        hindrance = "The import is running. Wait until it has ended."
    elif not tried and running:
        hindrance = "The dry run is running. Reload this page when it has ended."
    return _with_dag(
        target,
        UNDO_DAG,
        ActionPlan(
            "undo" if tried else "undo-dry-run",
            "Undo this import" if tried else "Undo this import: dry run",
            rows,
            tuple(consequences),
            f"Take {badges(rows)} back" if tried else "Start the dry run",
            hindrance,
            badges=dict(grants.with_id),
        ),
    )


# -- parts -----------------------------------------------------------------------------------------------------------


def _with_dag(target: Target, dag_id: str, plan: ActionPlan, *, is_sample: bool = True) -> ActionPlan:
    """The plan, with a hindrance if the DAG that does it is missing or cannot use the job's ledger or connection."""
    if plan.hindrance:
        return plan
    found = target.api.find(path_of("dags", dag_id, "details") if is_sample else path_of("dags", dag_id))
    if found is None:
        text = (
            f"The DAG {dag_id} is not in this Airflow, or you may not see it. It comes with the provider's samples: "
            "copy it from airflow_provider_capillary/example_dags into your DAGs."
        )
        return msgspec.structs.replace(plan, hindrance=text)
    where = _where(target) if is_sample else {}
    if missing := sorted(where.keys() - (found.get("params") or {}).keys()):
        needed = ", ".join(f"{name} {where[name]!r}" for name in missing)
        text = (
            f"This job needs the {needed}, but the form of {dag_id} does not ask for it. Use the sample of "
            "this version of the provider, or give the operators of your copy these connections."
        )
        return msgspec.structs.replace(plan, hindrance=text)
    return msgspec.structs.replace(plan, is_paused=bool(found.get("is_paused")), where=where)


def _where(target: Target) -> dict[str, str]:
    """The values for the samples' forms if a job does not use the defaults. The operators check the organisation."""
    where = {"ledger": target.ledger.conn_id} if target.ledger.conn_id else {}
    connection = connection_of(target.job.dag_id, target.job.task_id)
    if connection is not None and connection != CapillaryBadgeHook.default_conn_name:
        where["connection"] = connection
    return where


def _ask(request: Request, target: Target, plan: ActionPlan) -> HTMLResponse:
    return page(
        request,
        "confirm.html.jinja2",
        job=target.job,
        ledger=target.ledger,
        plan=plan,
        names=target.reader.badge_names(list(plan.badges)),
        path=plan.action.partition("-")[0],
        signed=confirmation.sign(target.user, plan.action, target.job.job_id, plan.rows),
    )


def _checked(request: Request, signed: str, target: Target, plan: ActionPlan) -> ActionPlan:
    confirmation.check(request, signed, target.user, plan.action, target.job.job_id, plan.rows)
    if plan.hindrance:
        raise HTTPException(409, f"{plan.hindrance} Nothing was changed.")
    return plan


def _started(
    request: Request, target: Target, plan: ActionPlan, dag_id: str, settings: Mapping[str, Any]
) -> RedirectResponse:
    _unpause(target, dag_id, plan)
    now = datetime.now(UTC)
    body = {
        "dag_run_id": f"badge_imports__{plan.action}__{target.job.job_id[:8]}__{now:%Y-%m-%dT%H:%M:%S.%f}",
        "logical_date": None,
        "conf": dict(settings),
        "note": _note(target, plan.title),
    }
    run = target.api.do("POST", path_of("dags", dag_id, "dagRuns"), body)
    return _done(request, target, dag_id, run["dag_run_id"], plan)


def _unpause(target: Target, dag_id: str, plan: ActionPlan) -> None:
    if plan.is_paused:
        target.api.do("PATCH", path_of("dags", dag_id), {"is_paused": False})


def _note(target: Target, what: str) -> str:
    """The note on the run: who started it, and when. Airflow's audit log has it too."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return f"{what}: from the page Badge imports, by {target.user.get_name()}, {now}, job {target.job.job_id}"


def _done(request: Request, target: Target, dag_id: str, run_id: str, plan: ActionPlan) -> RedirectResponse:
    root = request.scope.get("root_path", "")
    path = path_of("dags", target.job.dag_id, "jobs", target.job.job_id, "history")
    query = urlencode({"started": plan.title, "of": dag_id, "run": run_id})
    return RedirectResponse(f"{root}/{path}?ledger={target.ledger.conn_id}&{query}", 303)
