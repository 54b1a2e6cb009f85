"""Imports that are mapped, fail in part, never begin or are retried, under a real Airflow."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.demo.warehouse import BADGES
from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.settings import catalogue

DAGS = Path(__file__).with_name("dags") / "odd_imports.py"
BADGE = "654e08f2041fd452b3ef5b2e"
Run = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


@pytest.fixture
def run(airflow_process: Any, tmp_path: Path) -> Run:
    """Runs a DAG of ``odd_imports.py`` with these params, on a part of the ledger that no other test sees."""

    def start(dag_id: str, simulator: RunningSimulator, **params: Any) -> Any:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}
        return airflow_process.run(DAGS, dag_id, env, run_conf=params)

    return start


def errors_csv(ended: Any) -> list[dict[str, str]]:
    [returned] = ended.returned["report"]
    with Path(returned["errors_csv"].removeprefix("file://")).open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


def test_each_part_is_imported_by_a_task_of_its_own_and_one_report_tells_of_all(run: Run, tmp_path: Path) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = run("mapped_import", simulator, folder=tmp_path.as_uri() + "/set")
        granted = len(simulator.store)
    assert ended.state == "success", ended.log[-5_000:]
    assert ended.tasks["import_badges"] == ["success"] * 3
    summaries, [report] = ended.returned["import_badges"], ended.returned["report"]
    assert len({summary["job_id"] for summary in summaries}) == report["jobs"] == 3
    assert sum(summary["accepted"] for summary in summaries) == report["accepted"] == granted > 100
    assert sum(summary["rows_read"] for summary in summaries) == report["rows_read"]


def test_one_part_that_fails_fails_the_run_and_is_in_the_report_with_the_others(run: Run, tmp_path: Path) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = run("mapped_import", simulator, folder=tmp_path.as_uri() + "/set", max_rejected="0")
    assert ended.state == "failed"
    assert sorted(ended.tasks["import_badges"]) == ["failed", "success", "success"]
    assert ended.tries["import_badges"] == [1, 1, 1]
    assert (ended.tasks["report"], ended.tasks["badges_synced"]) == (["success"], ["upstream_failed"])
    assert len(ended.returned["import_badges"]) == 3
    assert ended.returned["report"][0]["jobs"] == 3
    assert [row["stage"] for row in errors_csv(ended)] == ["badge_check"]


def test_an_extract_that_a_person_must_fix_is_not_retried_and_leaves_nothing_to_report(
    run: Run, tmp_path: Path
) -> None:
    with running_simulator() as simulator:
        ended = run("mapped_import", simulator, conn_id="nowhere", folder=tmp_path.as_uri())
        assert simulator.simulator.request_counts() == {}
    assert ended.state == "failed"
    assert (ended.tasks["extract"], ended.tries["extract"]) == (["failed"], [1])
    assert ended.tasks["import_badges"] == ["upstream_failed"]
    assert ended.tasks["report"] == ["skipped"]


def test_a_retry_by_airflow_settles_what_the_first_try_left_and_grants_nothing_twice(run: Run, tmp_path: Path) -> None:
    dates = {"earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}
    rows = [{"badgeMetaId": BADGE, "customerId": 9_000_000 + number, **dates} for number in range(200)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with running_simulator(faults=[StatusFault(status=503, when="after", first=4, times=5)]) as simulator:
        ended = run("retried_import", simulator, dataset=str(tmp_path / "rows.jsonl"))
        assert len(simulator.store) == 200
        assert simulator.simulator.summary()["grantedTwice"] == 0
    assert ended.state == "success", ended.log[-5_000:]
    assert ended.tries["import_badges"] == [2]
    assert "Going on with job" in ended.log
    [summary] = ended.returned["import_badges"]
    assert (summary["rows_read"], summary["accepted"], summary["unknown"]) == (200, 200, 0)
