"""Two PostgreSQL servers: one has Airflow's database, the other one ledgers."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from dev.postgres import Postgres
from dev.processes import Processes
from tests.faulty_calls import fault_seen

from .airflow_on_server import AirflowOnServer, Ended, Running

BADGE = "654e08f2041fd452b3ef5b2e"
EARNED = 1_736_942_400
SECONDS = 200.0


@contextmanager
def postgres_server() -> Iterator[tuple[Postgres, Processes]]:
    """A server of its own, and its processes; its files need not survive the machine."""
    # Not under pytest's own folder: the server of a root user runs as another one, who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="capillary-drill-"))
    processes = Processes(folder / "processes.json")
    server = Postgres(folder / "pg", folder / "pg.log", processes, durable=False)
    try:
        server.start()
        yield server, processes
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def ledgers() -> Iterator[Postgres]:
    with postgres_server() as (server, _):
        yield server


@pytest.fixture(scope="session")
def airflow_on_server(tmp_path_factory: pytest.TempPathFactory, warehouse: Path) -> Iterator[AirflowOnServer]:
    with postgres_server() as (metadata, _):
        started = AirflowOnServer(tmp_path_factory.mktemp("airflow") / "home", metadata, warehouse)
        yield started
        started.close()


class Drill:
    """One organisation, its simulator, its ledgers, and an Airflow; the rows are those of customers from 1 on."""

    def __init__(self, airflow: AirflowOnServer, ledgers: Postgres, simulator: RunningSimulator, folder: Path) -> None:
        self.airflow = airflow
        self.simulator = simulator
        self.folder = folder
        self.organisation = folder.name
        self.witness = airflow.witness(self.organisation)
        self._ledgers = ledgers
        connection = simulator.airflow_connection(organisation=self.organisation)
        self.env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": connection}

    def add_ledger(self, name: str, connection: dict[str, Any] | None = None) -> str:
        """Make an Airflow connection of a new database, or of what is given; give its id."""
        if connection is None:
            database = f"ledger_{uuid.uuid4().hex}"
            self._ledgers.create_database(database)
            connection = dict(self._ledgers.airflow_connection(database))
        self.env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
        return name

    def connection_of(self, ledger: str) -> dict[str, Any]:
        """The fields of the connection."""
        fields: dict[str, Any] = json.loads(self.env[f"AIRFLOW_CONN_{ledger.upper()}"])
        return fields

    def url_of(self, ledger: str) -> str:
        """The URL of a ledger on a server."""
        fields = self.connection_of(ledger)
        return f"postgresql+psycopg://{fields['login']}@/{fields['schema']}?host={fields['host']}"

    def add_file(self, name: str) -> str:
        """Make an Airflow connection of an SQLite file that is not there yet; give its id."""
        return self.add_ledger(name, {"conn_type": "sqlite", "host": str(self.folder / f"{name}.db")})

    def dataset(self, rows: int, first: int = 1) -> str:
        """A file of one row for each customer."""
        return self._written(
            {"badgeMetaId": BADGE, "customerId": customer, "earnEventDate": EARNED, "earnExpiresOn": EARNED + 86_400}
            for customer in range(first, first + rows)
        )

    def export(self) -> str:
        """A file of all that the API holds."""
        return self._written(
            {"badgeMetaId": one.badge_meta_id, "customerId": one.customer_id}
            | {"earnEventDate": int(one.earned_at), "earnId": one.earned_badge_id}
            for one in self.simulator.store.grants()
        )

    def _written(self, rows: Any) -> str:
        path = self.folder / f"{uuid.uuid4().hex}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return str(path)

    def begin(self, dag_id: str, dataset: str, ledger: str) -> Running:
        """Begin a run of a DAG of ``drilled.py``."""
        run = {"dag_file": str(self.airflow.dag_file), "dag_id": dag_id}
        return self.airflow.begin(self.env, dag=run | {"conf": {"dataset": dataset, "ledger": ledger}})

    def begun(self, dataset: str, ledger: str) -> Running:
        """An import at work."""
        return self.begin("drilled", dataset, ledger)

    def imported(self, dataset: str, ledger: str) -> Ended:
        """An import that must be a success."""
        return self.succeeded(self.begun(dataset, ledger))

    def succeeded(self, running: Running) -> Ended:
        """Wait for an import that must be a success, and be beside its witness."""
        ended = self.airflow.wait(running)
        assert "keeps no witness" not in ended.log
        assert ended.states["import_badges"][0] == "success", ended.log[-5_000:]
        return ended

    def refused(self, dataset: str, ledger: str) -> str:
        """An import that must fail at once, for good, and without a call that could grant; give its log."""
        before = self.grants()
        ended = self.airflow.wait(self.begun(dataset, ledger))
        assert ended.states["import_badges"] == ["failed", 1], ended.log[-5_000:]
        assert self.grants() == before
        return ended.log

    def command(self, *words: str) -> Ended:
        """A command that must succeed."""
        ended = self.airflow.command(self.env, *words)
        assert (ended.code, ended.result.get("code")) == (0, 0), ended.log
        return ended

    def begun_until(self, fault: dict[str, Any], dataset: str, ledger: str) -> Running:
        """An import at work, to which this fault has happened."""
        before = len(self.grants())
        self.simulator.use_faults([{"times": 1, **fault}])
        with fault_seen(self.simulator.simulator) as seen:
            running = self.begun(dataset, ledger)
            assert seen.wait(SECONDS), running.log.read_text("utf-8", "replace")[-9_000:]
        self.simulator.use_faults(None)
        assert before < len(self.grants())
        return running

    def kill(self, running: Running) -> None:
        """End an import with SIGKILL."""
        assert self.airflow.kill(running).code == -signal.SIGKILL

    def grants(self) -> Counter[int]:
        """How many badges were granted to each customer."""
        return Counter(one.customer_id for one in self.simulator.store.grants())


@pytest.fixture
def drill(airflow_on_server: AirflowOnServer, ledgers: Postgres, tmp_path: Path) -> Iterator[Drill]:
    with ExitStack() as stack:
        simulator = stack.enter_context(running_simulator())
        yield Drill(airflow_on_server, ledgers, simulator, tmp_path)
