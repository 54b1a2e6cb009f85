"""The same contract for every database: a test that asks for ``backend`` runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import CLOCK, SEARCH_PATH, Backend, PostgresBackend, SqliteBackend, connected
from .building import begin


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger, upgraded once for all tests."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    Ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_clock(postgres_server: Any) -> str:
    """A database with nothing but a clock that can be put forward; its name."""
    name: str = postgres_server.create_database()
    with connected(postgres_server.uri_of(name).replace("postgresql:", "postgresql+psycopg:", 1)) as connection:
        for statement in CLOCK:
            connection.execute(sa.text(statement))
    return name


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Any, postgres_clock: str) -> str:
    """An empty ledger, upgraded once for all tests; a database's name."""
    name: str = postgres_server.create_database(postgres_clock)
    Ledger(postgres_server.uri_of(name)).close()
    return name


@pytest.fixture
def sqlite_backend(tmp_path: Path, sqlite_template: Path) -> Iterator[SqliteBackend]:
    with closing(SqliteBackend(tmp_path, sqlite_template)) as backend:
        yield backend


def _postgres(server: Any, template: str) -> Iterator[PostgresBackend]:
    database = server.create_database(template, SEARCH_PATH)
    with closing(PostgresBackend(server.uri_of(database))) as backend:
        yield backend
    server.drop_database(database)


@pytest.fixture
def postgres_backend(postgres_server: Any, postgres_template: str) -> Iterator[PostgresBackend]:
    yield from _postgres(postgres_server, postgres_template)


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """A ledger that is there, and empty."""
    found: Backend = request.getfixturevalue({"sqlite": "sqlite_backend"}.get(request.param, "postgres_backend"))
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A database where no ledger was yet."""
    if request.param == "sqlite":
        with closing(SqliteBackend(tmp_path, None)) as found:
            yield found
    else:
        yield from _postgres(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_clock"))


@pytest.fixture
def ledger(backend: Backend) -> Ledger:
    return backend.open()


@pytest.fixture
def job(ledger: Ledger) -> Job:
    """An open job of ``ledger``."""
    return begin(ledger)
