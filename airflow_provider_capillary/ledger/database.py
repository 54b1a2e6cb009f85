"""Opens transactions on a ledger's database, with the durability that the guarantees need, and reads its clock."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.exceptions import LedgerUnavailableError, LedgerUnusableError, WrongLedgerError
from airflow_provider_capillary.ledger import sqlite_file
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import rows_for

_PURPOSE = "capillary_purpose"
_WRITING, _SNAPSHOT = "writing", "snapshot"
# The settings are local to the transaction, so that they also hold behind a pooler. A role's stronger setting stays. If
# the first two were not at their defaults, the server would store other bytes and nulls than those that were sent.
# Without two joins and the scan, each row is looked up alone. With statistics that lag behind, the planner would else
# read the whole table. BEGIN is ours, not the driver's, because with the settings it takes one trip to the server.
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
_TAKEN_BACK = ("40001", "40P01")  # serialization failure, deadlock: rolled back, and may be tried again
_NO_RIGHT = "42501"  # insufficient privilege; since PostgreSQL 15 not every role may make tables in public
_TRIES = 5
#: SQLite refuses these for good: a wrong statement or a missing table, a right, a damaged file, another kind of file.
_SQLITE_REFUSALS = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
)

_Result = TypeVar("_Result")


class Database:
    """The database that the parts of a ledger share; for the parameters see ``Ledger``."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        clock: Callable[[], float] | None,
        boot_id: str | None,
        steady: Callable[[], float],
        without_wal: bool,
    ) -> None:
        self.engine = engine
        self.file = file_of(engine)  #: of an SQLite ledger, else ``None``
        if self.file is not None:
            sqlite_file.refuse_unfit(self.file, without_wal=without_wal)
        self.description = shown(engine.url)  #: where it is, without credentials
        self.rows = rows_for(engine.dialect.name)  #: the statements over many rows
        self._clock = clock or time.time
        self._boot_id = boot_id
        self._steady = steady

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a file, which has no clock of its own."""
        return self.engine.dialect.name == "sqlite"

    def durably(self, work: Callable[[sa.Connection], _Result]) -> _Result:
        """Do the work in one durable transaction; see ``durably``."""
        return durably(self.engine, work)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection for reading."""
        return reading(self.engine)

    def snapshot(self) -> AbstractContextManager[sa.Connection]:
        """A connection whose reads all show the same moment."""
        return snapshot(self.engine)

    def now(self, connection: sa.Connection) -> float:
        """Epoch seconds: by the database's clock, or by this machine's if the ledger is a file."""
        return self._clock() if self.is_sqlite else float(connection.execute(QUERIES["now"]).scalar_one())

    def moment(self, connection: sa.Connection) -> Moment:
        """This moment, by all clocks that there are."""
        at, server = self._clock(), None
        if not self.is_sqlite:
            at, server = connection.execute(QUERIES["now_by_server"]).one()
        return self.moment_at(at, server)

    def moment_at(self, at: float, server: float | None) -> Moment:
        """A moment for which the database's clocks were read already."""
        time_of_day = None if server is None else self._clock()
        boot_seconds = None if self._boot_id is None else self._steady()
        return Moment(at, server, self._boot_id, boot_seconds, time_of_day)

    def close(self) -> None:
        """Give connections back."""
        self.engine.dispose()


def moment_values(now: Moment) -> dict[str, Any]:
    """A moment as columns of a batch."""
    return {
        "now": now.at,
        "server": now.server,
        "boot_id": now.boot_id,
        "boot_time": now.boot_seconds,
        "time_of_day": now.time_of_day,
    }


# -- transactions ------------------------------------------------------------------------------------------------------


def durably(engine: sa.Engine, work: Callable[[sa.Connection], _Result]) -> _Result:
    """Do the work in one durable transaction.

    If the database rolled it back to end a deadlock, or the connection broke before the work began, it is done again.
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
    """A connection for reading.

    :raises LedgerUnavailableError: the database cannot be used now.
    :raises LedgerUnusableError: the database refuses a statement, and would refuse it again.
    """
    with _translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose reads all show the same moment. It raises as ``reading`` does."""
    options: dict[str, Any] = {_PURPOSE: _SNAPSHOT}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with _translated(engine), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextmanager
def _writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    options: dict[str, Any] = {_PURPOSE: _WRITING}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "AUTOCOMMIT"  # so that the driver sends no BEGIN before ours
    with _translated(engine), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


class Watched:
    """Checks that the ledger's name still leads to the file that is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None

    def look(self) -> None:
        """Compare the file with that of the first look.

        :raises LedgerUnusableError: it was removed or replaced since.
        """
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


def begin_of(dialect: str, patience: float, watched: Watched | None) -> Callable[[sa.Connection], None]:
    """Give the function that a connection calls when a transaction begins."""
    # IMMEDIATE, because a reader that becomes a writer within a transaction would fail instead of waiting
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


# -- its errors --------------------------------------------------------------------------------------------------------


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
        raise  # a defect of the caller, not of the database
    except (DBAPIError, sa.exc.TimeoutError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(error, DBAPIError) and _is_refused_for_good(error):
            raise LedgerUnusableError(
                f"the ledger {shown(engine.url)} refuses a statement: {cause}. Another try would fail in the same way. "
                f"{_advice(cause, engine.url)}. Nothing was sent that is not recorded"
            ) from error
        raise LedgerUnavailableError(
            f"the ledger {shown(engine.url)} cannot be used: {cause}. Nothing was sent that is not recorded. "
            "Check that the database is reachable, writable and has space"
        ) from error


def _advice(refusal: BaseException | None, url: URL) -> str:
    if getattr(refusal, "sqlstate", None) != _NO_RIGHT:
        return (
            "Check that its user may read and write, that its tables are those of this version of the provider, and "
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
    # The other read-only codes are about locks and recovery, or a file that was moved.
    return code is not None and (code & 0xFF in _SQLITE_REFUSALS or code == sqlite3.SQLITE_READONLY)


def _was_taken_back(error: LedgerUnavailableError) -> bool:
    return getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) in _TAKEN_BACK


def _was_cut_off(error: LedgerUnavailableError) -> bool:
    """Whether an open connection broke; a connection that could not be made does not count."""
    return isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated


def shown(url: URL) -> str:
    """The URL without its secrets, also those in its query."""
    secrets = [name for name in url.query if "password" in name.lower()]
    return url.difference_update_query(secrets).render_as_string(hide_password=True)


def file_of(engine: sa.Engine) -> Path | None:
    """The SQLite file; ``None`` on PostgreSQL."""
    return sqlite_file.path_of(engine.url.database or "") if engine.dialect.name == "sqlite" else None
