"""The ledger's server and the import die at the same time, and the standby takes the server's place."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from airflow_provider_capillary.simulator.server import running_simulator
from dev.chaos.standby import let_commits_wait, standby_of
from dev.postgres import NAME, USER

from .airflow_on_server import AirflowOnServer
from .conftest import Drill, postgres_server

pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


def test_a_synchronous_standby_knows_every_grant(airflow_on_server: AirflowOnServer, tmp_path: Path) -> None:
    with running_simulator() as simulator, postgres_server() as (primary, processes):
        drill = Drill(airflow_on_server, primary, simulator, tmp_path)
        ledger = drill.add_ledger("ledger")
        fields = drill.connection_of(ledger)
        drill.imported(drill.dataset(10), ledger)
        with (
            standby_of(f"postgresql://{USER}@/postgres?host={primary.socket_folder}") as standby,
            primary.connect("postgres") as server,
        ):
            let_commits_wait(server, "*")
            granted_without_reply = {"kind": "hang", "when": "after", "customer_id": 30}
            drill.kill(drill.begun_until(granted_without_reply, drill.dataset(40), ledger))
            processes.stop(NAME, number=signal.SIGKILL)
            granted = set(drill.grants())
            assert 30 in granted
            assert len(granted) < 40

            standby.promote()
            promoted = drill.add_ledger("promoted", fields | {"host": str(standby.folder)})
            with psycopg.connect(standby.url(str(fields["schema"]))) as books:
                known = {row[0] for row in books.execute("SELECT customer_id FROM capillary_row")}
            assert granted <= known  # what was granted and not answered too: a retry reads it back
            drill.imported(drill.dataset(10, 41), promoted)
            assert drill.grants() == Counter(granted | set(range(41, 51)))
