"""An Airflow whose database is a PostgreSQL server, and whose runs are processes that may be killed."""

from __future__ import annotations

import json
import os
import signal
from configparser import ConfigParser
from pathlib import Path
from typing import Any, NamedTuple

from dev import airflow_home
from dev.postgres import Postgres
from dev.stack.witness_notes import WitnessNotes, count_writes

from ..line_process import LineProcess

DATABASE = "airflow"
DRILLED = Path(__file__).parents[1] / "dags" / "drilled.py"


class Running(NamedTuple):
    """A process that was begun."""

    pid: int
    log: Path
    result: Path


class Ended(NamedTuple):
    """A process that has ended."""

    code: int  #: negative: the signal that killed it
    result: dict[str, Any]
    log: str

    @property
    def states(self) -> dict[str, list[Any]]:
        """State and number of tries, by task."""
        assert self.code == 0, self.log[-5_000:]
        tasks: dict[str, list[Any]] = self.result["tasks"]
        return tasks


class AirflowOnServer:
    """Runs the DAGs of ``drilled.py``, and commands."""

    def __init__(self, home: Path, postgres: Postgres, warehouse: Path) -> None:
        self._home = home
        self._count = 0
        postgres.create_database(DATABASE)
        self._metadata = postgres.connect(DATABASE)
        dags = home / "dags"
        dags.mkdir(parents=True)
        (dags / DRILLED.name).symlink_to(DRILLED)
        self.dag_file = dags / DRILLED.name
        bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
        env = airflow_home.environment(home, warehouse, "http://127.0.0.1:9", home / "reports") | {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.sqlalchemy_url(DATABASE),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
                [{"name": "drills", "classpath": bundle, "kwargs": {"path": str(dags)}}]
            ),
        }
        self._process = LineProcess(Path(__file__).with_name("forked_runs.py"), env, home / "forked_runs.log")
        self._process.next_line()
        count_writes(self._metadata)

    def begin(self, env: dict[str, str], **what: Any) -> Running:
        """Begin a DAG run or a command."""
        self._count += 1
        log, result = (self._home / f"{self._count}.{kind}" for kind in ("log", "json"))
        asked = {"env": env, "log": str(log), "result": str(result), **what}
        return Running(self._process.ask({"begin": asked})["pid"], log, result)

    def wait(self, running: Running) -> Ended:
        """Wait for its end."""
        code = self._process.ask({"wait": running.pid})["code"]
        result = json.loads(running.result.read_text("utf-8")) if running.result.exists() else {}
        return Ended(code, result, running.log.read_text("utf-8", "replace"))

    def kill(self, running: Running) -> Ended:
        """End it with SIGKILL."""
        os.kill(running.pid, signal.SIGKILL)
        return self.wait(running)

    def command(self, env: dict[str, str], *words: str) -> Ended:
        """Run a command of ``airflow capillary``."""
        return self.wait(self.begin(env, words=["capillary", *words]))

    def witness(self, organisation: str) -> WitnessNotes:
        """What it remembers of the ledger of an organisation."""
        config = ConfigParser(interpolation=None)
        config.read(self._home / "airflow.cfg")
        return WitnessNotes(self._metadata, config["core"]["fernet_key"], organisation)

    def close(self) -> None:
        """End it."""
        self._process.close()
        self._metadata.close()
