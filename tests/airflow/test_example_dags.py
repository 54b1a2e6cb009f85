"""Every file in dags/ loads fast and alone, and does against a simulator what its description says."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import macros

from airflow_provider_capillary.demo import airflow_home
from airflow_provider_capillary.demo.corrections import DELETED_BADGE
from airflow_provider_capillary.demo.warehouse import BADGES
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.settings import catalogue

DAGS = Path(__file__).parents[2] / "dags"
A_NIGHT = ("2025-03-18", "2025-03-19")
FILES = sorted(DAGS.glob("*.py"))

LOADS_ALONE = """
import runpy, sys, time
import airflow.sdk, airflow.providers.standard.operators.empty  # not the sample's own time
FORBIDDEN = {"socket.connect", "sqlite3.connect", "socket.getaddrinfo"}
def refuse(event, arguments):
    if event in FORBIDDEN:
        raise RuntimeError(f"the file wants {event} {arguments} while it is loaded")
sys.addaudithook(refuse)
began = time.process_time()
names = runpy.run_path(sys.argv[1])
seconds = time.process_time() - began
dags = {value.dag_id for value in names.values() if type(value).__name__ == "DAG"}
dags |= {value.dag.dag_id for value in names.values() if getattr(value, "task_id", None)}
print(len(dags), seconds)
"""


@pytest.fixture
def nightly(airflow_process: Any, tmp_path: Path) -> Callable[..., Any]:
    """Runs the nightly sample against a simulator, on a part of the ledger that no other test sees."""

    def run(
        simulator: RunningSimulator, days: tuple[str, str] | None = ("2025-03-18", "2025-03-19"), **dag: Any
    ) -> Any:
        connection = simulator.airflow_connection(organisation=tmp_path.name)
        if days is not None:
            dag["run_conf"] = {"date_from": days[0], "date_to": days[1]}
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": connection}
        return airflow_process.run(DAGS / "nightly_badge_sync.py", "nightly_badge_sync", env, **dag)

    return run


def without_connections(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("AIRFLOW_CONN")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sample_loads_in_under_a_second_without_network_and_without_a_database(file: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", LOADS_ALONE, str(file)],
        env=without_connections(airflow_home.environment(tmp_path, tmp_path, "http://127.0.0.1:9", tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    dags, seconds = done.stdout.split()[-2:]
    assert int(dags) >= 1
    assert float(seconds) < 1


@pytest.mark.parametrize(
    ("params", "interval", "expected"),
    [
        ({}, (datetime(2025, 1, 5, 2, tzinfo=UTC), datetime(2025, 1, 6, 2, tzinfo=UTC)), ("2025-01-05", "2025-01-06")),
        ({}, (None, None), ("2025-02-28", "2025-03-01")),
        ({"date_from": "2025-01-01", "date_to": "2025-04-01"}, (None, None), ("2025-01-01", "2025-04-01")),
    ],
    ids=["a night's run takes its interval", "a run without an interval takes yesterday", "the user's dates win"],
)
def test_the_range_of_days_comes_from(
    params: dict[str, str], interval: tuple[datetime | None, datetime | None], expected: tuple[str, str]
) -> None:
    extract = runpy.run_path(str(DAGS / "nightly_badge_sync.py"))["extract"]
    extract.render_template_fields(
        {
            "dag": extract.dag,
            "params": {"date_from": None, "date_to": None} | params,
            "dag_run": SimpleNamespace(
                data_interval_start=interval[0],
                data_interval_end=interval[1],
                run_after=datetime(2025, 3, 1, 14, tzinfo=UTC),
            ),
            "run_id": "manual__2025-03-01T14:00:00+00:00",
            "macros": macros,
            "var": SimpleNamespace(value={}),
        }
    )
    assert (extract.parameters["date_from"], extract.parameters["date_to"]) == expected
    assert extract.dataset_path.endswith("/nightly_badge_sync/manual__2025-03-01T140000_0000")


def errors_csv(ended: Any) -> list[dict[str, str]]:
    [returned] = ended.returned["report"]
    with Path(returned["errors_csv"].removeprefix("file://")).open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.timeout(300)  # Airflow starts here
def test_a_night_is_imported_once_however_often_it_runs(nightly: Callable[..., Any]) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        first = nightly(simulator)
        assert first.state == "success", first.log[-5_000:]
        assert first.tasks == {task: ["success"] for task in ("extract", "import_badges", "report", "badges_synced")}
        [summary] = first.returned["import_badges"]
        granted = len(simulator.store)
        assert granted == summary["accepted"] > 100
        assert (summary["rejected"], summary["invalid"], summary["unknown"]) == (1, 0, 0)
        [row] = errors_csv(first)
        assert row["badge_meta_id"] == DELETED_BADGE

        second = nightly(simulator)
        assert second.state == "success", second.log[-5_000:]
        [summary] = second.returned["import_badges"]
        assert (summary["accepted"], summary["already_accepted"], summary["requests"]) == (0, granted, 0)
        assert len(simulator.store) == granted


@pytest.mark.timeout(300)
def test_a_failed_import_is_a_failed_run_without_retries_although_the_report_is_written(
    nightly: Callable[..., Any],
) -> None:
    with running_simulator(badges=catalogue([BADGES["big_basket"]])) as simulator:
        ended = nightly(simulator)
    assert ended.state == "failed"
    assert ended.tasks["import_badges"] == ["failed"]
    assert ended.tries["import_badges"] == [1]
    assert ended.tasks["report"] == ["success"]
    assert ended.tasks["badges_synced"] == ["upstream_failed"]
    [summary] = ended.returned["import_badges"]
    assert len(errors_csv(ended)) == summary["rejected"] > 50
    assert "rows are refused" in ended.log


@pytest.mark.timeout(300)
def test_a_run_by_hand_without_a_date_of_its_own_imports_yesterday(nightly: Callable[..., Any]) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = nightly(simulator, None, logical_date=None, run_after="2025-03-19T14:00:00+00:00")
        assert ended.logical_date is None
        assert ended.state == "success", ended.log[-5_000:]
        days = {datetime.fromtimestamp(grant.earned_at, UTC).date().isoformat() for grant in simulator.store.grants()}
    assert days == {"2025-03-18"}
