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
from typing import Any, NamedTuple

import pytest
from airflow.sdk.execution_time import macros

from airflow_provider_capillary.demo import airflow_home
from airflow_provider_capillary.demo.corrections import DELETED_BADGE
from airflow_provider_capillary.demo.dag_test import DAG_ID, airflow, run_dag
from airflow_provider_capillary.demo.driver import report_files
from airflow_provider_capillary.demo.warehouse import BADGES, load_warehouse
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.settings import catalogue

DAGS = Path(__file__).parents[2] / "dags"
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


class Ended(NamedTuple):
    code: int
    returned: dict[str, Any]
    finished: list[str]
    log: str


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "warehouse.db"
    load_warehouse(path)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow with an empty metadata database, for all runs of this module."""
    home = tmp_path_factory.mktemp("airflow")
    env = airflow_home.environment(home, home / "unused.db", "http://127.0.0.1:9", home / "reports")
    subprocess.run(airflow("db", "migrate"), env=env, check=True, capture_output=True)
    return home


@pytest.fixture
def nightly(home: Path, warehouse: Path, tmp_path: Path) -> Callable[[RunningSimulator, str, str], Ended]:
    """Runs the nightly sample for a range of days, by Airflow's own command, with a ledger of its own."""

    def run(simulator: RunningSimulator, date_from: str, date_to: str) -> Ended:
        env = airflow_home.environment(home, warehouse, simulator.url, home / "reports")
        env["AIRFLOW_CONN_CAPILLARY_DEFAULT"] = simulator.airflow_connection(organisation=tmp_path.name)
        finished: list[str] = []
        log = tmp_path / "dags_test.log"
        code = run_dag(env, log, date_from, date_to, lambda task, _seconds: finished.append(task))
        return Ended(code, airflow_home.returned_values(home, DAG_ID), finished, log.read_text("utf-8"))

    return run


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sample_loads_in_under_a_second_without_network_and_without_a_database(file: Path, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", LOADS_ALONE, str(file)],
        env=airflow_home.environment(home, home / "unused.db", "http://127.0.0.1:9", home / "reports"),
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


def test_a_night_is_imported_once_however_often_it_runs(nightly: Callable[..., Ended]) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        first = nightly(simulator, "2025-03-18", "2025-03-19")
        assert first.code == 0, first.log[-5_000:]
        assert sorted(first.finished) == ["badges_synced", "extract", "import_badges", "report"]
        summary = first.returned["import_badges"]
        granted = len(simulator.store)
        assert granted == summary["accepted"] > 100
        assert (summary["rejected"], summary["invalid"], summary["unknown"]) == (1, 0, 0)
        with report_files(first.returned)["errors.csv"].open(encoding="utf-8-sig", newline="") as text:
            [row] = csv.DictReader(text)
        assert row["badge_meta_id"] == DELETED_BADGE

        second = nightly(simulator, "2025-03-18", "2025-03-19")
        assert second.code == 0, second.log[-5_000:]
        assert second.returned["import_badges"]["already_accepted"] == granted
        assert len(simulator.store) == granted


def test_a_failed_import_is_a_failed_run_although_the_report_is_written(nightly: Callable[..., Ended]) -> None:
    with running_simulator(badges=catalogue([BADGES["big_basket"]])) as simulator:
        ended = nightly(simulator, "2025-03-18", "2025-03-19")
    assert ended.code != 0
    assert "report" in ended.finished
    assert "badges_synced" not in ended.finished
    with report_files(ended.returned)["errors.csv"].open(encoding="utf-8-sig", newline="") as text:
        assert len(list(csv.DictReader(text))) > 50
