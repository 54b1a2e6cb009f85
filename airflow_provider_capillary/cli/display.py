"""Prints what the ledger holds: as a table for a person, or as JSON and YAML for a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from airflow.cli.simple_table import AirflowConsole

from airflow_provider_capillary.core import reasons
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.ledger.facts import Grants, JobRecord, UnprovenRow

WIDE = 2_000
_STRUCTURED = ("json", "yaml")


def print_rows(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Print a list, in one of the formats of Airflow's ``--output``."""
    plain = [dict(row) for row in rows]
    console = AirflowConsole()
    if not console.is_terminal:
        console.width = WIDE  # a file or a pipe has no right edge at which an id would have to be broken
    if output == "json":
        console.print_as_json(plain)  # type: ignore[arg-type]  # it takes whatever JSON takes
    elif output == "yaml":
        console.print_as_yaml(plain)  # type: ignore[arg-type]
    else:
        console.print_as([{name: _cell(value) for name, value in row.items()} for row in plain], output)


def print_details(facts: Mapping[str, Any], output: str) -> None:
    """Print one thing: for a program as a list of one, for a person one line for each property."""
    if output in _STRUCTURED:
        print_rows([facts], output)
    else:
        print_rows([{"property": name, "value": value} for name, value in _lines(facts)], output)


def job_row(job: JobRecord, standing: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A job in the list. ``settled_since`` counts rows that were unknown at its end and are settled since.

    :param standing: how many of its rows are in which state, if the job has not counted them itself.
    """
    counts: Mapping[str, Any] = (job.summary if standing is None else standing) or {}
    if job.state == "open":
        counts = {}
    return {
        "job_id": job.job_id,
        "dag_id": job.dag_id,
        "task_id": job.task_id if job.map_index < 0 else f"{job.task_id}[{job.map_index}]",
        "run_id": job.run_id,
        "state": job.state,
        "dry_run": job.dry_run,
        "started_at": _iso(job.started_at),
        "rows": job.rows,
        **{state.value: counts.get(state.value) for state in FINAL_STATES},
        "settled_since": dict((job.summary or {}).get("settled", {})),
    }


def job_details(job: JobRecord, grants: Grants, standing: Mapping[str, int] | None = None) -> dict[str, Any]:
    """All that the ledger holds of a job."""
    summary: Mapping[str, Any] = job.summary or {}
    return job_row(job, standing) | {
        "finished_at": None if job.finished_at is None else _iso(job.finished_at),
        "organisation": job.organisation,
        "sources": list(job.sources),
        "requests": summary.get("requests"),
        "batches": summary.get("batches"),
        "reasons": list(summary.get("reasons", ())),
        "revoked_since": grants.revoked,
        "revocable": sum(grants.with_id.values()),
    }


def unknown_row(row: UnprovenRow) -> dict[str, Any]:
    """A row without proof, with what a person needs to look it up in Capillary."""
    return {
        "row": row.badge.row_number,
        "customer_id": row.badge.customer_id,
        "badge_meta_id": row.badge.badge_meta_id,
        "earn_event_date": _iso(row.badge.earned_at),
        "earn_expires_on": _iso(row.badge.expires_at),
        "state": row.state.value,
        "sent_at": _iso(row.sent_at),
        "request_id": row.request_id,
        "message": row.message,
    }


def customer_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of one customer, with its instants as text."""
    return dict(row) | {"earned_at": _iso(row["earned_at"]), "sent_at": _iso(row["sent_at"])}


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The properties, with one line for each reason."""
    flat = [(name, value) for name, value in facts.items() if name != "reasons"]
    return flat + [("reason", _reason(each)) for each in facts.get("reasons", ())]


def _reason(reason: Mapping[str, Any]) -> str:
    code = "" if reason.get("code") is None else f" {reason['code']}"
    names = reasons.names(str(reason["stage"]), reason.get("code"), str(reason["message"]))
    return f"{reason['rows']:,} x {reason['stage']}{code}: {reason['message']} [{names}]"


def _cell(value: Any) -> str:
    """One line of printable text. What the API says may hold control characters, and a terminal would obey them."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
