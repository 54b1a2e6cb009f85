"""One PostgreSQL server for all tests that want one: no Docker, no TCP port, gone afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from airflow_provider_capillary.jobs import import_job
from airflow_provider_capillary.jobs.pacing import lanes_for
from dev.postgres import Postgres
from dev.postgres import postgres_server as postgres_server_of_its_own


class PostgresServer:
    """A real server on a Unix socket. What it makes is gone with it."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.stop = server.stop  #: its connections break
        self.start = server.start  #: again, at the same address
        self.uri_of = server.uri

    @property
    def uri(self) -> str:
        """A libpq URI of the maintenance database."""
        return self.uri_of("postgres")

    def create_database(self, template: str = "template1", search_path: str = "public") -> str:
        """A new database, as a copy of another one; gives its name."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(
            # Copied as files: without flushing that takes a third of the time of copying through the log.
            f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy",
            f"ALTER DATABASE {name} SET search_path = {search_path}",
        )
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and cut off who is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, *statements: str) -> None:
        """Run statements in the maintenance database."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with postgres_server_of_its_own(durable=True) as server:
        found = PostgresServer(server)
        # The server's files do not outlive the tests, so they need not be flushed: twice as fast.
        found.execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield found


@pytest.fixture(scope="session")
def postgres_uri(postgres_server: PostgresServer) -> str:
    return postgres_server.uri


@pytest.fixture(autouse=True)
def one_lane_for_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one request at a time batches go one after the other, so that a test can say what happens to the third."""
    monkeypatch.setattr(import_job, "lanes_for", lambda requests: 1 if requests == 1 else lanes_for(requests))
