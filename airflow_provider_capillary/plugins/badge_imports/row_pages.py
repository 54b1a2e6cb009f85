"""The routes for a job's rows: with search and paging, as ``errors.csv``, and as the report."""

from __future__ import annotations

import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.background import BackgroundTask

from airflow_provider_capillary.exceptions import UnknownJobError
from airflow_provider_capillary.ledger.facts import JobRecord
from airflow_provider_capillary.ledger.reader import NoLedgerError
from airflow_provider_capillary.operators.airflow_installation import option
from airflow_provider_capillary.operators.ledger_location import open_ledger
from airflow_provider_capillary.plugins.badge_imports import ledgers, rights
from airflow_provider_capillary.plugins.badge_imports.lists import job_of_dag
from airflow_provider_capillary.plugins.badge_imports.rendering import page
from airflow_provider_capillary.reports.error_report import write_error_report
from airflow_provider_capillary.reports.errors_csv import labelled_values
from airflow_provider_capillary.reports.report_facts import REPORTED_STATES

router = APIRouter()
ROWS_ON_A_PAGE = 50
LONGEST_TEXT = 2_000_000  #: characters of a file that is shown in a page
_MOST_DIGITS = 19
#: The files of a report, and how a browser gets them.
_FILES = {
    "errors.csv": ("text/csv; charset=utf-8", "attachment"),
    "may_be_granted_twice.csv": ("text/csv; charset=utf-8", "attachment"),
    "summary.json": ("application/json", "attachment"),
    "report.html": ("text/html; charset=utf-8", "inline"),
}
#: The report may run no script. It keeps Airflow's origin, because its links would else be opened without the login.
_REPORT_POLICY = (
    "sandbox allow-same-origin allow-downloads; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
)


@router.get("/dags/{dag_id}/jobs/{job_id}/rows")
def rows(
    request: Request,
    dag_id: str,
    job_id: str,
    user: rights.MayReadRows,
    ledger: str = "",
    search: str = Query("", max_length=200),
    state: str = "",
    page_number: int = Query(1, alias="page", ge=1, le=1_000_000),
) -> HTMLResponse:
    """The rows that were not accepted, a page at a time. A search for a customer's id also finds accepted rows."""
    where = ledgers.named(ledger)
    reader = where.open()
    found = job_of_dag(reader, dag_id, job_id)
    states = [one.value for one in REPORTED_STATES]
    issues = reader.find_issues(
        job_id,
        text=search,
        state=state if state in states else None,
        limit=ROWS_ON_A_PAGE + 1,
        offset=(page_number - 1) * ROWS_ON_A_PAGE,
    )
    text = search.strip()
    customer = int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else None
    held = reader.rows_of_customer(job_id, customer) if customer is not None else []
    return page(
        request,
        "rows.html.jinja2",
        job=found,
        ledger=where,
        issues=issues[:ROWS_ON_A_PAGE],
        labelled_values=labelled_values,
        has_more=len(issues) > ROWS_ON_A_PAGE,
        page_number=page_number,
        search=search,
        state=state,
        states=states,
        customer=customer,
        held=held,
        names=reader.badge_names([row["badge_meta_id"] for row in held]),
    )


@router.get("/dags/{dag_id}/jobs/{job_id}/{name}.{ending}")
def file(
    request: Request,
    dag_id: str,
    job_id: str,
    name: str,
    ending: str,
    user: rights.MayReadRows,
    ledger: str = "",
    as_text: bool = False,
) -> Response:
    """``errors.csv``, ``summary.json`` or ``report.html``, made from the ledger.

    ``as_text``: show the file in a page, because the frame of an older Airflow allows no downloads.
    """
    wanted = f"{name}.{ending}"
    if wanted not in _FILES:
        raise HTTPException(404, "A job has errors.csv, summary.json and report.html.")
    where = _ledger_of_file(dag_id, job_id, ledger)
    folder = tempfile.TemporaryDirectory(prefix="capillary-page-")
    try:
        with closing(open_ledger(where.conn_id or option("ledger_conn_id") or None)) as opened:
            report = write_error_report(opened, [job_id], Path(folder.name))
        paths = {path.name: path for path in report.files}
        if wanted not in paths:
            raise HTTPException(404, "This job has no such rows.")
        if as_text and wanted != "report.html":
            shown = _text_page(request, where, job_of_dag(where.open(), dag_id, job_id), paths[wanted])
            folder.cleanup()
            return shown
    except BaseException:
        folder.cleanup()
        raise
    return _as_file(paths[wanted], wanted, BackgroundTask(folder.cleanup))


def _ledger_of_file(dag_id: str, job_id: str, conn_id: str) -> ledgers.NamedLedger:
    """The ledger that holds the job. The report's own links name none, because the report is one file for any place."""
    first = ledgers.named(conn_id)
    for where in (first, *(one for one in ledgers.known_ledgers() if not conn_id and dag_id in one.dag_ids)):
        with suppress(UnknownJobError, NoLedgerError):
            job_of_dag(where.open(), dag_id, job_id)
            return where
    job_of_dag(first.open(), dag_id, job_id)
    return first


def _text_page(request: Request, where: ledgers.NamedLedger, job: JobRecord, path: Path) -> HTMLResponse:
    with path.open(encoding="utf-8", newline="") as opened:
        text = opened.read(LONGEST_TEXT + 1)
    return page(
        request,
        "text.html.jinja2",
        name=path.name,
        ledger=where,
        job=job,
        text=text[:LONGEST_TEXT],
        is_cut=len(text) > LONGEST_TEXT,
    )


def _as_file(path: Path, name: str, afterwards: BackgroundTask) -> FileResponse:
    kind, disposition = _FILES[name]
    headers: dict[str, Any] = {"Content-Security-Policy": _REPORT_POLICY} if name == "report.html" else {}
    return FileResponse(
        path,
        media_type=kind,
        filename=name,
        content_disposition_type=disposition,
        headers=headers,
        background=afterwards,
    )
