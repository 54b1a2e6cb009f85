"""An import that never begins, under a real Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

DAGS = Path(__file__).with_name("dags") / "odd_imports.py"
Run = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


@pytest.fixture
def run(airflow_process: Any, tmp_path: Path) -> Run:
    """Runs a DAG of ``odd_imports.py`` with these params, on a part of the ledger that no other test sees."""

    def start(dag_id: str, simulator: RunningSimulator, **params: Any) -> Any:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}
        return airflow_process.run(DAGS, dag_id, env, run_conf=params)

    return start


def test_an_unfixable_extract_is_not_retried(run: Run, tmp_path: Path) -> None:
    with running_simulator() as simulator:
        ended = run("mapped_import", simulator, conn_id="nowhere", folder=tmp_path.as_uri())
        assert simulator.simulator.request_counts() == {}
    assert ended.state == "failed"
    assert (ended.tasks["extract"], ended.tries["extract"]) == (["failed"], [1])
    assert ended.tasks["import_badges"] == ["upstream_failed"]
    assert (ended.tasks["report"], ended.tries["report"]) == (["failed"], [1])
    assert "import_badges began no job" in ended.log
