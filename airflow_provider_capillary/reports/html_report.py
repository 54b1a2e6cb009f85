"""Writes ``report.html``: one file that a person reads, prints or sends on. It uses no network and runs no script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_provider_capillary.reports import wording
from airflow_provider_capillary.reports.html_view import BAR, SHOWN_AT_ONCE, arrange
from airflow_provider_capillary.reports.report_facts import ReportFacts

_TEMPLATES = Path(__file__).parent / "templates"


def write_html_report(path: Path, facts: ReportFacts) -> None:
    """Write the page to a local file. The same facts give the same bytes. Its size grows with the jobs, not the rows.

    All values are escaped. In addition, the page's content security policy allows only its one style sheet, by its
    digest. Even markup that was not escaped could neither run, nor load anything, nor imitate the page's style.
    """
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = (
        _environment()
        .get_template("report.html.jinja2")
        .render(
            view=arrange(facts),
            wording=wording,
            style=style,
            style_digest=digest,
            bar_width=BAR,
            at_once=SHOWN_AT_ONCE,
        )
    )
    path.write_text(page, encoding="utf-8", newline="\n")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in ("shown", "number", "duration", "instant")}
    return environment
