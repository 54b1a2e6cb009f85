"""``@task.capillary_badge_import`` under a real Airflow: retried, mapped, its rows kept out of Airflow's database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

FILE = Path(__file__).with_name("dags") / "decorated_imports.py"
Run = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


@pytest.fixture
def run(airflow_process: Any, tmp_path: Path) -> Run:
    """Runs a DAG on a part of the ledger that no other test sees."""

    def start(dag_id: str, simulator: RunningSimulator) -> Any:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}
        return airflow_process.run(FILE, dag_id, env)

    return start


def test_an_airflow_retry_grants_nothing_twice(run: Run) -> None:
    with running_simulator(faults=[StatusFault(status=503, when="after", first=4, times=6)]) as simulator:
        ended = run("decorated_retry", simulator)
        assert len(simulator.store) == 200
        assert simulator.simulator.summary()["grantedTwice"] == 0
    assert (ended.state, ended.tries["import_rows"]) == ("success", [2]), ended.log[-5_000:]
    assert "Going on with job" in ended.log
    [summary] = ended.returned["import_rows"]
    assert (summary["rows_read"], summary["accepted"], summary["unknown"]) == (200, 200, 0)


def test_a_bad_mapped_part_fails_alone(run: Run, airflow_process: Any) -> None:
    with running_simulator() as simulator:
        ended = run("decorated_parts", simulator)
        customers = sorted(grant.customer_id for grant in simulator.store.grants())
    assert ended.tasks["import_parts"] == ["success", "failed", "success"]
    assert customers == [1, 9_000_000, 9_000_001, 9_000_002, 9_000_100, 9_000_101, 9_000_102]
    summaries = ended.returned["import_parts"]
    assert [(one["accepted"], one["invalid"]) for one in summaries] == [(3, 0), (1, 2), (3, 0)]
    assert len({one["job_id"] for one in summaries}) == 3

    query = "SELECT rendered_map_index FROM task_instance WHERE run_id = ? ORDER BY map_index"
    assert airflow_process.rows(query, ended.run_id) == [
        (f"customers from {first}",) for first in (9_000_000, -1, 9_000_100)
    ]
    query = "SELECT rendered_fields FROM rendered_task_instance_fields WHERE run_id = ? AND map_index = 0"
    [(fields,)] = airflow_process.rows(query, ended.run_id)
    assert "dataset" not in json.loads(fields)
    assert "9000001" not in fields
    # what stands in a row is data: it was kept for the report as it is, and not run as a template
    query = "SELECT original FROM capillary_row_issue i JOIN capillary_job j ON j.id = i.job_id WHERE j.job_id = ?"
    with closing(sqlite3.connect(airflow_process.home / "capillary_ledger.db")) as ledger:
        kept = [json.loads(row)["note"] for (row,) in ledger.execute(query, [summaries[1]["job_id"]])]
    assert kept == ["{{ 7 * 191 }}"] * 2
