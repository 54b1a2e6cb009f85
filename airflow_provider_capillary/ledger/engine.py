"""A ledger URL -> a SQLAlchemy engine with the durability that the guarantees rest on."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.pool import NullPool

from airflow_provider_capillary.exceptions import (
    ConfigurationError,
    LedgerUnavailableError,
    LedgerUnusableError,
    WrongLedgerError,
)
from airflow_provider_capillary.ledger import sqlite_file

SUPPORTED = ("sqlite", "postgresql")
PATIENCE_SECONDS = 60.0
_PURPOSE = "capillary_purpose"
_WRITING, _SNAPSHOT = "writing", "snapshot"
#: A server or a network that vanished is noticed within a minute, not after hours. A URL's own values win.
_POSTGRES_DEFAULTS = {
    "fallback_application_name": "airflow-provider-capillary",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "client_encoding": "utf8",  # else a text of the API may have no form that can be sent
}
# Local to the transaction, so that they hold behind a pooler too. A role's own stronger setting stays. Without the
# first two as they are by default, the server would take other bytes and nulls than those that were sent.
# Without two joins and the scan each row is looked up alone; by statistics that lag behind, the whole table would
# be read.
# BEGIN is ours, not the driver's: with the settings it takes one trip to the server.
_POSTGRES_BEGIN = """
    BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT set_config('standard_conforming_strings', 'on', true), set_config('array_nulls', 'on', true),
        set_config('lock_timeout', '{milliseconds}', true),
        set_config('idle_in_transaction_session_timeout', '{milliseconds}', true),
        set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
        set_config('enable_seqscan', 'off', true),
        CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')
            THEN set_config('synchronous_commit', 'on', true) END
"""
_TAKEN_BACK = ("40001", "40P01")  # serialization failure, deadlock: rolled back, and free to be tried again
_NO_RIGHT = "42501"  # insufficient privilege; since PostgreSQL 15 not everybody may make tables in public
_TRIES = 5
_WARM_SECONDS = 1.0  # a connection that was used so lately is not asked whether it is there
_USED_AT = "capillary_used_at"
#: What SQLite refuses for good: a wrong statement or a missing table, a right, a damaged file, another kind of file.
_SQLITE_REFUSALS = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
)

_Result = TypeVar("_Result")


def make_engine(url: str | URL, *, patience: float = PATIENCE_SECONDS) -> sa.Engine:
    """Build the engine; nothing is opened yet. SQLite and PostgreSQL are supported, others are refused.

    :param patience: seconds to wait for what another process has locked.
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
    sa.event.listen(engine, "begin", _begin(dialect, patience, watched))
    if file is not None:
        # the process that closes the file last must leave it so, also one that only read
        sa.event.listen(engine, "engine_disposed", lambda _: sqlite_file.end_wal(file))
    return engine


def make_reading_engine(url: URL, *, patience: float = PATIENCE_SECONDS) -> sa.Engine:
    """Build an engine that changes nothing, not even how an SQLite file is kept; it holds no file open."""
    if url.get_backend_name() != "sqlite":
        return make_engine(url, patience=patience)
    name = f"{sqlite_file.path_of(url.database or '').as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine(url.set(drivername="sqlite"), creator=connect, poolclass=NullPool, hide_parameters=True)
    sa.event.listen(engine, "begin", _begin("sqlite", patience, None))
    return engine


def file_of(engine: sa.Engine) -> Path | None:
    """The SQLite file; ``None`` on PostgreSQL."""
    return sqlite_file.path_of(engine.url.database or "") if engine.dialect.name == "sqlite" else None


def shown(url: URL) -> str:
    """The URL without its secrets, wherever they stand in it."""
    secrets = [name for name in url.query if "password" in name.lower()]
    return url.difference_update_query(secrets).render_as_string(hide_password=True)


def durably(engine: sa.Engine, work: Callable[[sa.Connection], _Result]) -> _Result:
    """Do the work in one durable transaction.

    It is done anew where the database took it back to end a deadlock, or the connection broke before the work began.
    """
    for _ in range(_TRIES - 1):
        begun = False
        try:
            with _writing(engine) as connection:
                begun = True
                return work(connection)
        except LedgerUnavailableError as error:
            if not (_was_taken_back(error) if begun else _was_cut_off(error)):
                raise
    with _writing(engine) as connection:
        return work(connection)


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for reading. What the database cannot do now becomes ``LedgerUnavailableError``, what it refuses
    for good ``LedgerUnusableError``.
    """
    with _translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """The same, where all that is read is of one moment."""
    options: dict[str, Any] = {_PURPOSE: _SNAPSHOT}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with _translated(engine), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextmanager
def _writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    options: dict[str, Any] = {_PURPOSE: _WRITING}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "AUTOCOMMIT"  # no BEGIN of the driver's before ours
    with _translated(engine), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextmanager
def _translated(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if "the ledger is sealed" in str(error.orig):
            raise WrongLedgerError(
                f"the ledger {shown(engine.url)} is sealed: it was copied to another place. Nothing was sent that is "
                "not recorded. Set ledger_conn_id to that place"
            ) from error
        raise  # a defect of the caller, not trouble of the database
    except (DBAPIError, sa.exc.TimeoutError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(error, DBAPIError) and _is_refused_for_good(error):
            raise LedgerUnusableError(
                f"the ledger {shown(engine.url)} refuses a statement: {cause}. Another try would fail in the same way. "
                f"{_advice(cause, engine.url)}. Nothing was sent that is not recorded"
            ) from error
        raise LedgerUnavailableError(
            f"the ledger {shown(engine.url)} cannot be used: {cause}. Nothing was sent that is not recorded; "
            "see that the database is reachable, writable and has space"
        ) from error


def _advice(refusal: BaseException | None, url: URL) -> str:
    if getattr(refusal, "sqlstate", None) != _NO_RIGHT:
        return (
            "See that its user may read and write, that its tables are those of this version of the provider, and "
            "that the file or schema is the right one"
        )
    user = url.username or "its user"
    return (
        "Let the owner of the schema make or upgrade the tables, with `airflow capillary ledger upgrade` and a "
        "connection of the owner's, and grant SELECT, INSERT, UPDATE and DELETE on them, and USAGE on their sequences, "
        f"to {user}; or let {user} make them: GRANT CREATE ON SCHEMA public TO {user}, where public is the schema"
    )


def _is_refused_for_good(error: DBAPIError) -> bool:
    if isinstance(error, (ProgrammingError, DataError, NotSupportedError)):
        return not error.connection_invalidated
    code = getattr(error.orig, "sqlite_errorcode", None)
    # The other read-only codes speak of locks and recovery, or of a file that was moved.
    return code is not None and (code & 0xFF in _SQLITE_REFUSALS or code == sqlite3.SQLITE_READONLY)


def _was_taken_back(error: LedgerUnavailableError) -> bool:
    return getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) in _TAKEN_BACK


def _was_cut_off(error: LedgerUnavailableError) -> bool:
    """Whether a connection that was there is gone; one that could not be made is another matter."""
    return isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated


def _postgres(url: URL) -> sa.Engine:
    defaults = {name: value for name, value in _POSTGRES_DEFAULTS.items() if name not in url.query}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        # Claims rest on seeing what others committed while this one waited.
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        # Prepared statements would be lost between two transactions behind a pooler.
        connect_args={"prepare_threshold": None, **defaults},
    )
    sa.event.listen(engine, "checkout", _ping_unless_warm(engine))
    sa.event.listen(engine, "checkin", _note_use)
    return engine


def _ping_unless_warm(engine: sa.Engine) -> Callable[[Any, Any, Any], None]:
    """Each question to the server costs a commit of an import about a tenth, and a warm connection is seldom gone."""

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


class Watched:
    """Sees that the name still leads to the file that is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None

    def look(self) -> None:
        """Raise ``LedgerUnusableError`` where the file was removed or replaced since the first look."""
        try:
            found = os.stat(self._path)
            file = (found.st_dev, found.st_ino)
        except OSError:
            file = None
        if self._file is None:
            self._file = file
        elif file != self._file:
            raise LedgerUnusableError(
                f"the ledger's file {self._path} was removed or replaced while it was in use. What was sent since the "
                "last commit is not recorded. Put the right file back"
            )


def _begin(dialect: str, patience: float, watched: Watched | None) -> Callable[[sa.Connection], None]:
    # IMMEDIATE: a reader that turns writer in mid-transaction would fail instead of waiting
    on_postgres = {_WRITING: _POSTGRES_BEGIN.format(milliseconds=int(patience * 1000))}
    statements = {_WRITING: "BEGIN IMMEDIATE", _SNAPSHOT: "BEGIN"} if dialect == "sqlite" else on_postgres

    def begin(connection: sa.Connection) -> None:
        purpose = connection.get_execution_options().get(_PURPOSE, "")
        if watched is not None and purpose == _WRITING:
            watched.look()
        statement = statements.get(purpose)
        if statement:
            connection.exec_driver_sql(statement)

    return begin
