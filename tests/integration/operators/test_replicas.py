"""A ledger in PostgreSQL with a real standby: an import warns once where a failover could lose its last commits."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.server import RunningSimulator
from dev.chaos.standby import let_commits_wait, standby_of

WARNING = "has 1 replicas and no synchronous_standby_names"
NO_WITNESS = "keeps no witness of this ledger, because there is no Airflow database"
ROW = {"badgeMetaId": "654e08f2041fd452b3ef5b2e", "earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}


@pytest.fixture
def night(
    task: Callable[..., Any],
    simulator: RunningSimulator,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], tuple[int, int]]:
    """Runs an import on a ledger without an Airflow around it; how often no witness and how often replicas are named.

    What Python's loggers take may be printed too, if a test before has set up Airflow's log.
    """

    def run(ledger: str) -> tuple[int, int]:
        monkeypatch.setenv("AIRFLOW_CONN_BOOKS", ledger)
        capfd.readouterr()
        caplog.clear()
        task(run_id=f"night {time.monotonic_ns()}").run([{**ROW, "customerId": 7}], ledger_conn_id="books")
        recorded = "\n".join(record.getMessage() for record in caplog.records)
        printed = "\n".join(capfd.readouterr())
        witness, replicas = (recorded.count(words) or printed.count(words) for words in (NO_WITNESS, WARNING))
        return witness, replicas

    return run


def test_an_unwaited_standby_is_warned_of_once(
    postgres_server: Any, simulator: RunningSimulator, night: Callable[[str], tuple[int, int]]
) -> None:
    ledger = postgres_server.uri_of(postgres_server.create_database())
    assert night(ledger) == (1, 0)
    with (
        standby_of(postgres_server.uri) as standby,
        psycopg.connect(postgres_server.uri, autocommit=True) as server,
        psycopg.connect(ledger, autocommit=True) as books,
    ):
        let_commits_wait(server, "")
        assert night(ledger) == (1, 1)
        books.execute("DROP ROLE IF EXISTS replica_clerk")
        books.execute("CREATE ROLE replica_clerk LOGIN IN ROLE pg_read_all_data")
        with closing(Ledger(ledger.replace("postgres:", "replica_clerk:"))) as of_another_role:
            assert of_another_role.unguarded_replicas() == 1  # who may not see what state a replica is in
        let_commits_wait(server, "*")
        try:
            assert night(ledger) == (1, 0)
        finally:
            let_commits_wait(server, "")
            books.execute("DROP ROLE replica_clerk")
        standby.cut_off()
        assert night(ledger) == (1, 0)  # it is a copy by now, and no replica
    assert len(list(simulator.store.grants())) == 1
