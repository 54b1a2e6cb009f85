"""The list of jobs, the tab on Dag runs and task instances, and the page of one job."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from airflow_provider_capillary.exceptions import CapillaryError, UnknownJobError
from airflow_provider_capillary.ledger.facts import JobRecord
from airflow_provider_capillary.ledger.reader import JobFilter, LedgerReader
from airflow_provider_capillary.plugins.badge_imports import job_view, ledgers, rights
from airflow_provider_capillary.plugins.badge_imports.airflow_api import AirflowApi, path_of
from airflow_provider_capillary.plugins.badge_imports.rendering import page, script, style
from airflow_provider_capillary.plugins.badge_imports.started_runs import clears, started_runs

router = APIRouter()
JOBS_ON_A_PAGE = 25
STATES = ("finished", "failed", "dead", "open")


class Chosen(msgspec.Struct, frozen=True):
    """The filters of the list as its form sends them."""

    dag: str
    state: str
    organisation: str
    day_from: str
    day_to: str
    ledger: str


@router.get("/")
def list_of_jobs(
    request: Request,
    user: rights.LoggedIn,
    ledger: str = "",
    dag: str = "",
    state: str = "",
    organisation: str = "",
    day_from: str = "",
    day_to: str = "",
    page_number: int = Query(1, alias="page", ge=1, le=100_000),
) -> HTMLResponse:
    """Jobs of the Dags that the user may see, newest first."""
    chosen = Chosen(dag, state if state in STATES else "", organisation, day_from, day_to, ledger)
    reader = ledgers.named(ledger).open()
    reader.check()
    dag_ids = rights.readable(user, reader.dag_ids())
    begin, end = _days(day_from, day_to)
    wanted = JobFilter(dag_ids, dag or None, chosen.state or None, organisation or None, begin, end)
    offset = (page_number - 1) * JOBS_ON_A_PAGE
    jobs = reader.jobs(wanted, limit=JOBS_ON_A_PAGE + 1, offset=offset)
    return page(
        request,
        "jobs.html.jinja2",
        jobs=[_line(reader, job) for job in jobs[:JOBS_ON_A_PAGE]],
        has_more=len(jobs) > JOBS_ON_A_PAGE,
        page_number=page_number,
        chosen=chosen,
        is_filtered=any((dag, state, organisation, day_from, day_to)),
        dag_ids=dag_ids,
        states=STATES,
        organisations=reader.organisations(dag_ids),
        ledgers=_ledgers_for(user),
        where=reader.description,
    )


@router.get("/dags/{dag_id}/tab")
def tab(
    request: Request,
    dag_id: str,
    user: rights.MayReadCounts,
    run_id: str = "",
    task_id: str = "",
    map_index: str = "",
) -> Response:
    """What a Dag run or a task instance imported. Airflow 3.3 shows the tab on every task, also on other operators'."""
    run_id = run_id.replace(" ", "+")  # Airflow 3.2 writes it into the address as it is
    found = list(_jobs_of(user, dag_id, run_id))
    own = [pair for pair in found if not task_id or pair[1].task_id == task_id]
    if map_index.isdigit():
        own = [pair for pair in own if pair[1].map_index in (-1, int(map_index))]
    if len(own) == 1:
        ledger, job = own[0]
        return _job_page(request, user, ledger, job)
    return page(
        request,
        "tab.html.jinja2",
        jobs=[(ledger, _line(ledger.open(), job)) for ledger, job in own or found],
        is_foreign=bool(task_id) and not own,
        task_id=task_id,
        run_id=run_id,
    )


@router.get("/dags/{dag_id}/jobs/{job_id}")
def job(
    request: Request, dag_id: str, job_id: str, user: rights.MayReadCounts, ledger: str = "", part: str = ""
) -> HTMLResponse:
    """One job; with ``part=live`` only what changes while it runs."""
    where = ledgers.named(ledger)
    found = job_of_dag(where.open(), dag_id, job_id)
    return _job_page(request, user, where, found, template="live.html.jinja2" if part == "live" else "job.html.jinja2")


@router.get("/dags/{dag_id}/jobs/{job_id}/history")
def history(
    request: Request,
    dag_id: str,
    job_id: str,
    user: rights.MayReadCounts,
    ledger: str = "",
    started: str = "",
    of: str = "",
    run: str = "",
) -> HTMLResponse:
    """Who settled or revoked what, and when; and the runs that were started from here."""
    where = ledgers.named(ledger)
    reader = where.open()
    found = job_of_dag(reader, dag_id, job_id)
    api = AirflowApi(request)
    of_task = [
        one for one in reader.jobs_of_run(dag_id, found.run_id, found.task_id) if one.map_index == found.map_index
    ]
    settled, revoked = reader.history(job_id)
    return page(
        request,
        "history.html.jinja2",
        job=found,
        ledger=where,
        settled=settled,
        revoked=revoked,
        runs=sorted([*started_runs(api, job_id), *clears(api, found)], key=lambda run: run.started_at, reverse=True),
        of_task=[_line(reader, one) for one in of_task],
        just_started=(started, of, run) if started and of and run else None,
        may=_may(user, dag_id),
    )


@router.get("/static/{name}")
def static(name: str, user: rights.LoggedIn) -> Response:
    """The style sheet and the script."""
    if name == "page.css":
        return Response(style(), media_type="text/css", headers={"Cache-Control": "private, max-age=3600"})
    if name == "page.js":
        return Response(script(), media_type="text/javascript", headers={"Cache-Control": "private, max-age=3600"})
    raise HTTPException(404, "There is no such file.")


@router.get("/jobs/{job_id}")
def job_by_id(request: Request, job_id: str, user: rights.LoggedIn) -> Response:
    """Redirect a job's id, as logs and messages name it, to the job's page."""
    for ledger in ledgers.known_ledgers():
        try:
            dag_id = ledger.open().job(job_id).dag_id
        except CapillaryError:
            continue
        if rights.may_read_counts(user, dag_id):
            root = request.scope.get("root_path", "")
            return RedirectResponse(f"{root}/{path_of('dags', dag_id, 'jobs', job_id)}?ledger={ledger.conn_id}")
    raise UnknownJobError(f"no ledger of this Airflow shows you a job {job_id!r}")


def job_of_dag(reader: LedgerReader, dag_id: str, job_id: str) -> JobRecord:
    """The job, if it belongs to this Dag, because the user's right was checked for this Dag only.

    :raises UnknownJobError: the ledger has no such job of this Dag.
    """
    found = reader.job(job_id)
    if found.dag_id != dag_id:
        raise UnknownJobError(f"the ledger {reader.description} holds no job {job_id!r} of DAG {dag_id!r}")
    return found


def _job_page(
    request: Request,
    user: BaseUser,
    ledger: ledgers.NamedLedger,
    job: JobRecord,
    template: str = "job.html.jinja2",
) -> HTMLResponse:
    reader = ledger.open()
    progress = _progress(request, job) if job.state == "open" else None
    view = job_view.view_of(reader, job, progress)
    return page(
        request,
        template,
        view=view,
        job=job,
        ledger=ledger,
        running=job_view.running(reader, job, view, progress),
        badges=job_view.badges_of(reader, job, view),
        taken_back=job_view.taken_back(job),
        may=_may(user, job.dag_id),
    )


def _may(user: BaseUser, dag_id: str) -> dict[str, bool]:
    return {
        "rows": rights.may_read_rows(user, dag_id),
        "change": rights.may_change(user, dag_id),
        "undo": rights.may_undo(user, dag_id),
    }


def _progress(request: Request, job: JobRecord) -> Any:
    """The task's last progress value (Airflow 3.3, and only if the user may read it)."""
    path = path_of("dags", job.dag_id, "dagRuns", job.run_id, "taskInstances", job.task_id, "state-store", "progress")
    found = AirflowApi(request).find(path, map_index=job.map_index)
    return found["value"] if found and isinstance(found.get("value"), dict) else None


def _line(reader: LedgerReader, job: JobRecord) -> job_view.Line:
    return job_view.line_of(reader, job)


def _jobs_of(user: BaseUser, dag_id: str, run_id: str) -> list[tuple[ledgers.NamedLedger, JobRecord]]:
    found: list[tuple[ledgers.NamedLedger, JobRecord]] = []
    problem: CapillaryError | None = None
    for ledger in ledgers.known_ledgers():
        if ledger.conn_id and dag_id not in ledger.dag_ids:
            continue
        try:
            latest: dict[tuple[str, int], JobRecord] = {}
            for job in ledger.open().jobs_of_run(dag_id, run_id):
                latest.setdefault((job.task_id, job.map_index), job)
        except CapillaryError as error:
            problem = error
            continue
        found += [(ledger, latest[key]) for key in sorted(latest)]
    if not found and problem is not None:
        raise problem
    return found


def _ledgers_for(user: BaseUser) -> list[ledgers.NamedLedger]:
    """The default ledger, and those of Dags that the user may see."""
    return [one for one in ledgers.known_ledgers() if not one.conn_id or rights.readable(user, sorted(one.dag_ids))]


def _days(day_from: str, day_to: str) -> tuple[float, float]:
    """The epoch seconds between which the jobs began; a day that cannot be read is no limit."""
    first, last = _day(day_from), _day(day_to)
    begin = datetime.combine(first, time(), UTC).timestamp() if first else 0.0
    end = datetime.combine(last + timedelta(days=1), time(), UTC).timestamp() if last else 4e9
    return begin, end


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
