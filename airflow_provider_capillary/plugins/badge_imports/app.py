"""Builds the page as a FastAPI application: its routes, and the pages that explain an error."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_capillary.exceptions import (
    CapillaryError,
    ConfigurationError,
    LedgerUnavailableError,
    UnknownJobError,
)
from airflow_provider_capillary.ledger.reader import NoLedgerError
from airflow_provider_capillary.plugins.badge_imports import actions, lists, row_pages
from airflow_provider_capillary.plugins.badge_imports.ledgers import UnknownLedgerError
from airflow_provider_capillary.plugins.badge_imports.rendering import HEADERS, page
from airflow_provider_capillary.plugins.badge_imports.rights import LOGIN

log = logging.getLogger(__name__)

_TITLES = {
    401: "Log in to Airflow first",
    403: "Your role may not do this",
    404: "There is no such page",
    409: "Something has changed since",
}
_LOGIN_FIRST = "This page uses your login to Airflow. Log in there, then come back."


def build_app() -> FastAPI:
    """Build the application. Every route asks for a login and a right."""
    app = FastAPI(title="Badge imports", openapi_url=None, docs_url=None, redoc_url=None, dependencies=[LOGIN])
    for module in (lists, row_pages, actions):
        app.include_router(module.router)
    app.middleware("http")(_with_headers)
    app.exception_handler(StarletteHTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_not_understood)
    app.exception_handler(CapillaryError)(_no_ledger)
    return app


async def _with_headers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, StarletteHTTPException)
    text = _LOGIN_FIRST if error.status_code == 401 else str(error.detail)
    title = _TITLES.get(error.status_code, "Airflow did not do it")
    return page(request, "message.html.jinja2", error.status_code, title=title, text=text, detail="")


async def _not_understood(request: Request, error: Exception) -> HTMLResponse:
    return await _refused(request, HTTPException(400, "This address or form has a value that cannot be read."))


async def _no_ledger(request: Request, error: Exception) -> HTMLResponse:
    """The page for a ledger that is empty, missing, unreachable or of another connection, with what to do."""
    status, title, text = 503, "The ledger cannot be read at this moment", "Reload the page to try again."
    if isinstance(error, NoLedgerError):
        status, title = 200, "No badge was imported yet"
        text = (
            "The first import makes the ledger, and its job is then shown here. If imports have run, the API server "
            "reads another ledger than the workers write. Give both the same [capillary] ledger_conn_id."
        )
    elif isinstance(error, (UnknownJobError, UnknownLedgerError)):
        status, title, text = 404, "This ledger has no such job", "See the list of imports for the jobs that it has."
    elif isinstance(error, ConfigurationError):
        status, title, text = 503, "The ledger is not set up here", "Correct [capillary] ledger_conn_id, or create it."
    elif not isinstance(error, LedgerUnavailableError):
        log.error("Badge imports: the page could not be made", exc_info=error)
    return page(request, "message.html.jinja2", status, title=title, text=text, detail=str(error))
