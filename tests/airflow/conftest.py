"""A real Airflow with a database of its own, in another process, for all DAG runs of these tests."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.operators.ledger_location import DEFAULT_FILE
from dev import airflow_home
from dev.demo.dag_test import airflow
from dev.sample_data.warehouse import load_warehouse
from tests.samples import write_dags

from .line_process import LineProcess

RUNNER = Path(__file__).with_name("dag_runs.py")
DAG_FOLDERS = (Path(__file__).parents[2] / "dags", Path(__file__).with_name("dags"))


class Ended(NamedTuple):
    """A DAG run that is over."""

    state: str
    run_id: str
    logical_date: str | None
    tasks: dict[str, list[str]]  #: states by task, in the order of map indexes
    tries: dict[str, list[int]]
    returned: dict[str, list[Any]]  #: XCom ``return_value`` by task, in the order of map indexes
    log: str  #: of all tasks, from DEBUG on, as Airflow prints it


class AirflowProcess:
    """Runs DAGs; ``env`` is what a run gets besides."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.database = home / "airflow.db"
        self._process = LineProcess(RUNNER, env, home / "dag_runs.log")

    def run(self, dag_file: Path, dag_id: str, env: dict[str, str], **arguments: Any) -> Ended:
        """Run a DAG once, with the arguments of ``dag.test()``; dates as ISO 8601 text."""
        self._add_organisation(env)
        before = self._process.log.stat().st_size
        reported = self._process.ask({"dag_file": str(dag_file), "dag_id": dag_id, "env": env, **arguments})
        log = self._process.log.read_bytes()[before:].decode("utf-8", "replace")
        assert "error" not in reported, reported
        tasks: dict[str, list[str]] = {}
        tries: dict[str, list[int]] = {}
        for one in sorted(reported.pop("tasks"), key=lambda task: task["map_index"]):
            tasks.setdefault(one["task"], []).append(one["state"])
            tries.setdefault(one["task"], []).append(one["tries"])
        return Ended(**reported, tasks=tasks, tries=tries, returned=self._returned(dag_id, reported["run_id"]), log=log)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Ask Airflow's database itself."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, values).fetchall()

    def _returned(self, dag_id: str, run_id: str) -> dict[str, list[Any]]:
        query = "SELECT task_id, value FROM xcom WHERE dag_id = ? AND run_id = ? AND key = ? ORDER BY map_index"
        found: dict[str, list[Any]] = {}
        for task, value in self.rows(query, dag_id, run_id, "return_value"):
            found.setdefault(task, []).append(_decoded(value))
        return found

    def _add_organisation(self, env: dict[str, str]) -> None:
        """Each test has an organisation of its own in the one ledger, which would refuse all but the first."""
        extra = json.loads(env.get("AIRFLOW_CONN_CAPILLARY_DEFAULT", "{}")).get("extra", {})
        if "organisation" in extra:
            with closing(Ledger(f"sqlite:///{self.home / DEFAULT_FILE}")) as ledger:
                ledger.add_organisation(extra["organisation"])

    def close(self) -> None:
        """End the process that was started here."""
        self._process.close()


def _decoded(value: Any) -> Any:
    """XCom's own serialiser may have made JSON within JSON."""
    decoded = json.loads(value)
    return json.loads(decoded) if isinstance(decoded, str) and decoded[:1] in ("[", "{") else decoded


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "warehouse.db"
    load_warehouse(path)
    return path


def bundle(folder: Path) -> dict[str, Any]:
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": folder.parent.name, "classpath": classpath, "kwargs": {"path": str(folder)}}


@pytest.fixture(scope="session")
def airflow_process(tmp_path_factory: pytest.TempPathFactory, warehouse: Path) -> Iterator[AirflowProcess]:
    home = tmp_path_factory.mktemp("airflow")
    env = airflow_home.environment(home, warehouse, "http://127.0.0.1:9", home / "reports")
    env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
    env["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] = "False"  # no event is kept for a paused DAG
    documented = write_dags(home / "documentation" / "dags")
    folders = [bundle(folder) for folder in (*DAG_FOLDERS, documented)]
    env["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(folders)
    subprocess.run(airflow("db", "migrate"), env=env, check=True, capture_output=True)
    process = AirflowProcess(home, env)
    yield process
    process.close()
