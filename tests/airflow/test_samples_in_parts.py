"""The samples that divide their work: a night in parts, and a long range in many queries."""

from __future__ import annotations

import json
import runpy
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev.sample_data.warehouse import BADGES

DAGS = Path(__file__).parents[2] / "dags"
Run = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


@pytest.fixture
def run(airflow_process: Any, tmp_path: Path) -> Run:
    """Runs a sample against a simulator, on a part of the ledger that no other test sees."""

    def start(dag_id: str, simulator: RunningSimulator, **arguments: Any) -> Any:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}
        return airflow_process.run(DAGS / f"{dag_id}.py", dag_id, env, **arguments)

    return start


def names(airflow_process: Any, dag_id: str, run_id: str, task: str) -> list[str]:
    query = (
        "SELECT rendered_map_index FROM task_instance WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        " ORDER BY map_index"
    )
    return [name for (name,) in airflow_process.rows(query, dag_id, run_id, task)]


def events(airflow_process: Any, run_id: str) -> list[dict[str, Any]]:
    query = "SELECT extra FROM asset_event WHERE source_run_id = ?"
    return [json.loads(extra) for (extra,) in airflow_process.rows(query, run_id)]


def rows_by_customer(parts: list[str]) -> list[dict[int, list[str]]]:
    """Of each part: the badges of each customer, in the order of its rows."""
    found = []
    for part in parts:
        of_part: dict[int, list[str]] = defaultdict(list)
        for row in pq.read_table(part.removeprefix("file://")).to_pylist():
            of_part[int(row["customer_id"])].append(row["badge_meta_id"])
        found.append(of_part)
    return found


def granted_by_customer(simulator: RunningSimulator) -> dict[int, list[str]]:
    """The badges of each customer, in the order in which the simulator granted them."""
    found: dict[int, list[str]] = defaultdict(list)
    for grant in simulator.store.grants():
        found[grant.customer_id].append(grant.badge_meta_id)
    return found


def test_parts_keep_customer_order_and_share_an_event(run: Run, airflow_process: Any) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = run("sharded_badge_sync", simulator, logical_date="2025-02-02T03:00:00+00:00")
        granted = granted_by_customer(simulator)
    assert ended.state == "success", ended.log[-5_000:]
    assert ended.tasks["import_badges"] == ["success"] * 4

    [extract] = ended.returned["extract"]
    parts = rows_by_customer(extract["parts"])
    assert all(len(part) > 20 for part in parts)
    assert len(set().union(*parts)) == sum(len(part) for part in parts)  # no customer in two of them
    assert {customer: rows for part in parts for customer, rows in part.items()} == granted
    assert sum(len(badges) > 1 for badges in granted.values()) > 20

    shown = names(airflow_process, "sharded_badge_sync", ended.run_id, "import_badges")
    assert shown == [part.rpartition("/")[2] for part in extract["parts"]]
    [event] = events(airflow_process, ended.run_id)
    [report] = ended.returned["report"]
    assert event["accepted"] == report["accepted"] == sum(len(badges) for badges in granted.values())
    assert (event["succeeded"], len(event["job_ids"]), report["jobs"]) == (True, 4, 4)


def test_a_part_over_its_budget_fails_alone(run: Run, airflow_process: Any) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        night = {"logical_date": "2025-02-02T03:00:00+00:00"}
        [extract] = run("sharded_badge_sync", simulator, **night, mark_success_pattern="import_badges").returned[
            "extract"
        ]
    parts = rows_by_customer(extract["parts"])
    known = set().union(*(part for index, part in enumerate(parts) if index != 2))
    with running_simulator(badges=catalogue(BADGES.values()), customers=known) as simulator:
        ended = run("sharded_badge_sync", simulator, **night)
    assert ended.state == "failed"
    assert ended.tasks["import_badges"] == ["success", "success", "failed", "success"]
    assert ended.tries["import_badges"] == [1, 1, 1, 1]  # trying again would change nothing
    assert (ended.tasks["report"], ended.tasks["badges_synced"]) == (["success"], ["upstream_failed"])
    [report], [event] = ended.returned["report"], events(airflow_process, ended.run_id)
    assert report["jobs"] == 4
    assert report["rejected"] == sum(len(rows) for rows in parts[2].values())
    assert report["rows_read"] == extract["rows"]
    assert (event["rejected"], event["succeeded"]) == (report["rejected"], False)


def test_many_queries_are_one_import_in_customer_order(run: Run, airflow_process: Any) -> None:
    days = {"date_from": "2025-03-17", "date_to": "2025-03-20", "days_per_query": 2, "dry_run": False}
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        dry = run("backfill_badges", simulator, run_conf=days | {"dry_run": True})
        assert len(simulator.store) == 0
        ended = run("backfill_badges", simulator, run_conf=days)
        granted = granted_by_customer(simulator)
    assert (dry.state, ended.state) == ("success", "success"), ended.log[-5_000:]
    assert names(airflow_process, "backfill_badges", ended.run_id, "extract") == [
        "2025-03-17 to 2025-03-19",
        "2025-03-19 to 2025-03-20",
    ]
    extracts, [summary] = ended.returned["extract"], ended.returned["import_badges"]
    assert summary["rows_read"] == sum(extract["rows"] for extract in extracts)
    assert summary["accepted"] == sum(len(badges) for badges in granted.values()) == summary["rows_read"] - 2
    first, second = (rows_by_customer(extract["parts"])[0] for extract in extracts)
    both = first.keys() & second.keys() & granted.keys()
    assert len(both) >= 3
    assert {customer: granted[customer] for customer in both} == {
        customer: first[customer] + second[customer] for customer in both
    }


@pytest.mark.parametrize(
    ("given", "first", "end"),
    [
        ({}, "2026-11-21", "2026-11-28"),
        ({"date_to": "2025-03-08"}, "2025-03-01", "2025-03-08"),
        ({"date_from": "2026-11-01"}, "2026-11-01", "2026-11-28"),
    ],
    ids=["nothing", "the end", "the beginning"],
)
def test_the_default_range_is_the_last_week(given: dict[str, str], first: str, end: str) -> None:
    divide = runpy.run_path(str(DAGS / "backfill_badges.py"))["divide"].function
    params = {"date_from": None, "date_to": None, "days_per_query": 31, **given}

    ranges = divide(params=params, dag_run=SimpleNamespace(run_after=datetime(2026, 11, 28, 22, tzinfo=UTC)))

    assert (ranges[0]["date_from"], ranges[-1]["date_to"]) == (first, end)


@pytest.mark.parametrize(
    "days",
    [
        {"date_from": "2025-03-20", "date_to": "2025-03-20"},
        {"date_from": "2025-03-20", "date_to": "2025-03-17"},
        {"date_from": "2020-01-01", "date_to": "2025-01-01", "days_per_query": 1},
    ],
    ids=["no day", "in the wrong order", "too many queries"],
)
def test_an_indivisible_range_sends_nothing(run: Run, days: dict[str, Any]) -> None:
    with running_simulator() as simulator:
        ended = run("backfill_badges", simulator, run_conf=days)
        assert simulator.simulator.request_counts() == {}
    assert (ended.state, ended.tasks["divide"], ended.tries["divide"]) == ("failed", ["failed"], [1])
    assert "but at least 1 and at most" in ended.log
