"""The databases that a ledger may stand in, each with a clock that tests may put forward."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from airflow_provider_capillary.ledger.ledger import Ledger

NOON = 1_767_268_800.0


class Backend(Protocol):
    """One empty ledger in a database of its own."""

    name: str
    url: str

    def open(self, **arguments: Any) -> Ledger:
        """Open the ledger; it is closed after the test."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Put the ledger's clock forward."""
        ...

    def look(self) -> Any:
        """A connection of one's own, past the ledger's code."""
        ...


class _Opened:
    def __init__(self) -> None:
        self._opened: list[Ledger] = []

    def _keep(self, ledger: Ledger) -> Ledger:
        self._opened.append(ledger)
        return ledger

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """Each statement commits at once."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


class SqliteBackend(_Opened):
    """A file."""

    name = "sqlite"

    def __init__(self, folder: Path, template: Path | None) -> None:
        super().__init__()
        self.path = folder / "ledger.db"
        self.url = f"sqlite:///{self.path}"
        self._now = NOON
        if template is not None:
            shutil.copy(template, self.path)

    def open(self, **arguments: Any) -> Ledger:
        return self._keep(Ledger(arguments.pop("url", self.url), **self._clocks() | arguments))

    def _clocks(self) -> dict[str, Any]:
        return {"clock": lambda: self._now, "boot_id": lambda: "this boot", "steady": lambda: self._now}

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    def look(self) -> Any:
        return connected(self.url)


#: Named last in the search path, PostgreSQL's own functions yield to ours.
SEARCH_PATH = "public, pg_catalog"
CLOCK = (
    "CREATE TABLE public.clock_offset AS SELECT 0::float8 AS seconds",
    """
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
        SELECT pg_catalog.clock_timestamp() + make_interval(secs => seconds) FROM public.clock_offset
    $$
    """,
)
BEGUN_AGAIN = """
    CREATE FUNCTION public.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT pg_catalog.pg_postmaster_start_time() + interval '1 hour'
    $$
"""


class PostgresBackend(_Opened):
    """A database, whose clock_timestamp() is one that can be put forward."""

    name = "postgresql"

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.url = uri.replace("postgresql:", "postgresql+psycopg:", 1)
        self._passed = 0.0

    def open(self, **arguments: Any) -> Ledger:
        # clocks of machines go on with the server's, as far as they can be set
        clocks = {"boot_id": lambda: None, "clock": lambda: time.time() + self._passed}
        return self._keep(Ledger(arguments.pop("url", self.url), **clocks | arguments))

    def pass_time(self, seconds: float) -> None:
        self._passed += seconds
        self.set_clock(seconds)

    def set_clock(self, seconds: float) -> None:
        """Put the server's clock forward, and no other one."""
        with self.look() as connection:
            connection.execute(sa.text("UPDATE clock_offset SET seconds = seconds + :seconds"), {"seconds": seconds})

    def look(self) -> Any:
        return connected(self.url)

    def begin_again(self) -> None:
        """Be a server that began to run just now, as after a restart or a failover."""
        with self.look() as connection:
            connection.execute(sa.text(BEGUN_AGAIN))
