"""Renders the page's templates with the texts and colours of the reports, and says what a browser may load."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from airflow_provider_capillary.reports import wording
from airflow_provider_capillary.reports.html_view import BAR, SHOWN_AT_ONCE

_REPORTS = "airflow_provider_capillary.reports"
_HERE = "airflow_provider_capillary.plugins.badge_imports"
#: A page loads nothing from another host and has no inline script. Only Airflow itself may frame it.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a page; every value is escaped."""
    root = request.scope.get("root_path", "").rstrip("/")
    return HTMLResponse(render(template, root=root, airflow=_airflow_of(root), **values), status)


def render(template: str, **values: Any) -> str:
    """The text of a template."""
    return _environment().get_template(template).render(wording=wording, bar_width=BAR, at_once=SHOWN_AT_ONCE, **values)


@cache
def style() -> str:
    """The reports' style sheet with the palette of the user's theme in Airflow, and the page's own styles."""
    css = _text(_REPORTS, "templates/report.css")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    themes = (
        f':root[data-theme="light"] {{{light.replace("light dark", "light")}}}\n'
        f':root[data-theme="dark"] {{color-scheme: dark;{dark}}}\n'
    )
    return f"{css}\n{themes}\n{_text(_HERE, 'static/page.css')}"


@cache
def script() -> str:
    """The page's only script."""
    return _text(_HERE, "static/page.js")


def clock(seconds: float | None) -> str:
    """Epoch seconds as ISO 8601, UTC, for the filter ``instant``."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _airflow_of(root: str) -> str:
    """The path of Airflow itself: the page is mounted one step below it."""
    return root.rpartition("/")[0]


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(_HERE), PackageLoader(_REPORTS)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in ("shown", "number", "duration", "instant")}
    environment.filters["clock"] = clock
    return environment
