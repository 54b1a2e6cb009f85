"""Makes the SQLAlchemy engine for a ledger's URL, with the durability that the guarantees need."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger import sqlite_file
from airflow_provider_capillary.ledger.database import Watched, begin_of, file_of

SUPPORTED = ("sqlite", "postgresql")
PATIENCE_SECONDS = 60.0
#: With these a server or a network that is gone is noticed within a minute, not after hours. A URL's own values win.
_POSTGRES_DEFAULTS = {
    "fallback_application_name": "airflow-provider-capillary",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "client_encoding": "utf8",  # else some texts of the API could not be sent to the server
}
_WARM_SECONDS = 1.0  # a connection that was used so recently is not pinged
_USED_AT = "capillary_used_at"


def make_engine(url: str | URL, *, patience: float = PATIENCE_SECONDS) -> sa.Engine:
    """Build the engine; nothing is opened yet.

    :param url: of SQLite or PostgreSQL.
    :param patience: seconds to wait for what another process has locked.
    :raises ConfigurationError: it is no SQLAlchemy URL, or one of another database.
    """
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the ledger's URL is not a SQLAlchemy URL such as sqlite:////path/ledger.db"
        ) from error
    if dialect not in SUPPORTED:
        raise ConfigurationError(f"a ledger on {dialect} is not supported; use PostgreSQL, or SQLite on one machine")
    engine = _sqlite(parsed, patience) if dialect == "sqlite" else _postgres(parsed)
    watched = Watched(file) if (file := file_of(engine)) is not None else None
    sa.event.listen(engine, "begin", begin_of(dialect, patience, watched))
    if file is not None:
        # the process that closes the file last switches the WAL off, also if it only read
        sa.event.listen(engine, "engine_disposed", lambda _: sqlite_file.end_wal(file))
    return engine


def make_reading_engine(url: URL, *, patience: float = PATIENCE_SECONDS) -> sa.Engine:
    """Build an engine that changes nothing, not even the mode of an SQLite file, and keeps no file open."""
    if url.get_backend_name() != "sqlite":
        return make_engine(url, patience=patience)
    name = f"{sqlite_file.path_of(url.database or '').as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine(url.set(drivername="sqlite"), creator=connect, poolclass=NullPool, hide_parameters=True)
    sa.event.listen(engine, "begin", begin_of("sqlite", patience, None))
    return engine


def _postgres(url: URL) -> sa.Engine:
    defaults = {name: value for name, value in _POSTGRES_DEFAULTS.items() if name not in url.query}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        # A claim must see what others committed while it waited for a lock.
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        # Behind a pooler, prepared statements would be lost between two transactions.
        connect_args={"prepare_threshold": None, **defaults},
    )
    sa.event.listen(engine, "connect", _pass_lists_binary)
    sa.event.listen(engine, "checkout", _ping_unless_warm(engine))
    sa.event.listen(engine, "checkin", _note_use)
    return engine


def _pass_lists_binary(connection: Any, _pooled: Any) -> None:
    """As text, a list of packed rows takes 0.7 CPU ms a commit to write, and the server 0.4 to read."""
    from psycopg.types.array import ListBinaryDumper  # the driver of PostgreSQL only

    connection.adapters.register_dumper(list, ListBinaryDumper)


def _ping_unless_warm(engine: sa.Engine) -> Callable[[Any, Any, Any], None]:
    """Ping only connections that were idle: a ping costs about a tenth of a commit, and a warm one is rarely gone."""

    def ping(connection: Any, record: Any, _pooled: Any) -> None:
        used_at = record.info.get(_USED_AT)
        if used_at is None or time.monotonic() - used_at < _WARM_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error  # the pool makes a new one

    return ping


def _note_use(_connection: Any, record: Any) -> None:
    record.info[_USED_AT] = time.monotonic()


def _sqlite(url: URL, patience: float) -> sa.Engine:
    database = url.database or ""
    if not database or ":memory:" in database or url.query.get("mode") == "memory":
        raise ConfigurationError(
            "a ledger in memory would be forgotten; give a file, such as sqlite:////path/ledger.db"
        )
    Path(database.removeprefix("file:")).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url.set(drivername="sqlite"), hide_parameters=True, connect_args={"timeout": patience, "cached_statements": 32}
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _pooled: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    sqlite_file.begin_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")  # survives power loss too, and costs next to nothing in batches
    connection.execute("PRAGMA wal_autocheckpoint=2000")  # 8 MB; 32 MB would write a tenth less
    connection.execute("PRAGMA foreign_keys=ON")
