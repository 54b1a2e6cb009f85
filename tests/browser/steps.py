"""What the tests of the page do again and again: datasets, runs, faults, and the tab of a job."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from dev.sample_data.warehouse import BADGES
from tests.browser.conftest import Stack, Visitor

BADGE = next(iter(BADGES.values()))


def faults(stack: Stack, *plan: dict[str, Any]) -> None:
    reply = requests.put(f"{stack.simulator}/simulator/faults", json={"seed": 7, "faults": list(plan)}, timeout=10)
    reply.raise_for_status()


def dataset(stack: Stack, name: str, rows: int, first: int, *, bad: int = 0) -> str:
    """A file of rows for customers from ``first`` on; the last ``bad`` ones name no customer."""
    path = stack.folder / f"{name}.csv"
    earned = datetime(2026, 5, 1, tzinfo=UTC)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["badgeMetaId", "customerId", "earnEventDateISO", "earnExpiresOnISO"])
        for nth in range(rows):
            customer = f"mobile-{nth}" if nth >= rows - bad else str(first + nth)
            writer.writerow([BADGE, customer, earned.isoformat(), (earned + timedelta(days=9_000)).isoformat()])
    return str(path)


def run(stack: Stack, dag_id: str, name: str, **conf: str) -> str:
    stack.api.patch(f"dags/{dag_id}", {"is_paused": False})
    stack.api.post(f"dags/{dag_id}/dagRuns", {"dag_run_id": name, "logical_date": None, "conf": conf})
    return name


def eventually(look: Callable[[], Any], seconds: float = 90) -> Any:
    """What it finds in the end. Airflow's API reports nothing unasked, so it has to be asked again and again."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.3)
    return found


def ended(stack: Stack, dag_id: str, run_id: str) -> str:
    def end() -> str | None:
        state = str(stack.api.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
        return state if state in ("success", "failed") else None

    return str(eventually(end))


def runs_of(stack: Stack, dag_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.api.get(f"dags/{dag_id}/dagRuns", order_by="-run_after")["dag_runs"]
    return found


def open_job(visitor: Visitor, run_id: str) -> Any:
    """The tab of the import's task."""
    visitor.open(f"/dags/shop_badges/runs/{run_id}/tasks/import_badges/plugin/badge-import")
    return visitor.frame()


def job_address(visitor: Visitor, run_id: str) -> str:
    """The page of a run's job on its own, outside of Airflow's."""
    visitor.open(f"/badge-imports/dags/shop_badges/tab?run_id={run_id}&task_id=import_badges")
    address = visitor.page.get_by_role("link", name="Overview").get_attribute("href")
    return f"{visitor.stack.url}{address}"


def serious(page: Any) -> list[tuple[str, str]]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]
