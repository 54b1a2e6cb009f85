"""A ledger URL -> a SQLAlchemy engine with the durability that the guarantees rest on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from airflow_provider_capillary.exceptions import ConfigurationError, LedgerUnavailableError

SUPPORTED = ("sqlite", "postgresql")
_BUSY_SECONDS = 60


def make_engine(url: str | URL) -> sa.Engine:
    """Build the engine; nothing is opened yet. SQLite and PostgreSQL are supported, others are refused."""
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
    except ArgumentError as error:
        raise ConfigurationError(
            "the ledger's URL is not a SQLAlchemy URL such as sqlite:////path/ledger.db"
        ) from error
    if dialect not in SUPPORTED:
        raise ConfigurationError(f"a ledger on {dialect} is not supported; use PostgreSQL, or SQLite on one machine")
    if dialect == "postgresql":
        return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(
            "a ledger in memory would be forgotten; give a file, such as sqlite:////path/ledger.db"
        )
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # survives power loss too, and costs next to nothing in batches
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("capillary_write"):
        # IMMEDIATE: a reader that turns writer in mid-transaction would fail instead of waiting
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One durable transaction; what the database cannot do becomes ``LedgerUnavailableError``."""
    with (
        _translated(engine),
        engine.connect().execution_options(capillary_write=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for reading."""
    with _translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def _translated(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise LedgerUnavailableError(
            f"the ledger {where} cannot be used: {error.orig}. Nothing was sent that is not recorded; "
            "see that the database is reachable, writable and has space"
        ) from error
