"""The result of one query, streamed from any ``DbApiHook``; where there are cursors on the server, through one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pyarrow as pa
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError
from airflow_provider_capillary.transfers.duckdb_arrow import arrow_cursors, in_sizes

_CURSOR = "capillary_badge_dataset"
# A syntax error, a feature that is not supported (such as data changed in a WITH), a cursor that cannot be.
_NO_CURSOR_STATES = frozenset({"42601", "0A000", "42P11"})
_BINDING_WORDS = ("placeholder", "parameter", "binding", "format string")
_SEVERAL = (
    "The SQL holds more than one statement. Give one SELECT, and what must be run before it to a task of its own."
)

Rows = Sequence[Any] | pa.RecordBatch
Consumer = Callable[[tuple[str, ...], Iterator[Rows]], None]


class Query(msgspec.Struct, frozen=True):
    """One query, as the driver gets it.

    :param parameters: bound by the driver, never formatted into the SQL
    :param fetch_size: rows in memory at a time
    """

    sql: str
    parameters: Mapping[str, Any] | Sequence[Any] | None
    fetch_size: int
    server_side_cursor: bool = True


def read_result(hook: DbApiHook, query: Query, consume: Consumer) -> None:
    """Run the query; ``consume`` gets the columns once, and the rows ``fetch_size`` at a time.

    A query that fails has changed nothing where the database has transactions: it is committed only when ``consume``
    has taken the last row.

    :raises ConfigurationError: it is not one query, or its parameters do not fit. What else the database raises
        comes as it is
    """
    declared = query.server_side_cursor and hook.conn_type == "postgres"
    text = _without_semicolon(query.sql)
    sql = f"DECLARE {_CURSOR} CURSOR FOR {text}" if declared else text
    begun = False

    def take(cursor: Any) -> list[Any]:
        nonlocal begun
        if begun or _has_more_statements(cursor, declared):
            raise ConfigurationError(_SEVERAL)
        begun = True
        shares = _shares(cursor, query.fetch_size, declared)
        first = next(shares)
        consume(_columns_of(cursor, hook.conn_type), _all(first, shares))
        if _has_further_result(cursor):
            raise ConfigurationError(_SEVERAL)
        return []  # hooks with rows of their own class take nothing else that is no row

    with _explained(declared, bool(query.parameters), lambda: begun), arrow_cursors(hook):
        # Hooks that split by themselves would give the rows of several statements one after another.
        hook.run(sql, parameters=query.parameters, handler=take, split_statements=False)


def _without_semicolon(sql: str) -> str:
    """Oracle and Trino refuse the semicolon that ends a statement. Trino's hook removes it where it splits, Oracle's
    never does; the other databases do not need it.
    """
    return sql.rstrip().removesuffix(";")


def _has_more_statements(cursor: Any, declared: bool) -> bool:
    """PostgreSQL's drivers run them all, and only the first may be the cursor."""
    if declared and cursor.statusmessage != "DECLARE CURSOR":
        return True
    # psycopg2 knows no further results: it keeps the last one's status only, which is compared above.
    return type(cursor).__module__.split(".")[0] == "psycopg" and bool(cursor.nextset())


def _has_further_result(cursor: Any) -> bool:
    """Snowflake and SQL Server run several statements, and give the rows of the first: those of others would be lost.

    Asked behind the last row, because it takes the cursor to the next result.
    """
    further = getattr(cursor, "nextset", None)
    try:
        return further is not None and bool(further())
    except Exception as error:
        if type(error).__name__ != "NotSupportedError":  # what PEP 249 provides for drivers that have none
            raise
        return False


def _shares(cursor: Any, size: int, declared: bool) -> Iterator[Rows]:
    if not declared:
        _must_have_result(cursor)  # some drivers say less clearly that a statement has none
    by_arrow = cursor.shares(size) if hasattr(cursor, "shares") else _tables(cursor, size)
    if by_arrow is not None:
        yield from by_arrow
        yield []
        return
    while True:
        if declared:
            cursor.execute(f"FETCH FORWARD {size} FROM {_CURSOR}")
        rows = cursor.fetchall() if declared else cursor.fetchmany(size)
        yield rows
        if not rows:
            return


def _tables(cursor: Any, size: int) -> Iterator[Rows] | None:
    """Databricks' cursor makes its rows out of Arrow tables, and gives these too; ``None``: not by Arrow.

    A column whose type says nothing of its values, such as a nested one, becomes Python values in the writer.
    """
    if not hasattr(cursor, "fetchmany_arrow"):
        return None
    try:
        first = cursor.fetchmany_arrow(size)
    except NotImplementedError:  # the server sent JSON; nothing was taken of it
        return None
    return _batches(first, cursor, size)


def _batches(table: Any, cursor: Any, size: int) -> Iterator[Rows]:
    while table.num_rows:
        yield from in_sizes(iter(table.combine_chunks().to_batches()), size)
        table = cursor.fetchmany_arrow(size)


def _all(first: Rows, others: Iterator[Rows]) -> Iterator[Rows]:
    yield first
    yield from others


def _must_have_result(cursor: Any) -> None:
    if not cursor.description:
        raise ConfigurationError("The SQL gives no rows at all: it is not a query. Give one SELECT.")


def _columns_of(cursor: Any, conn_type: str) -> tuple[str, ...]:
    _must_have_result(cursor)
    columns = tuple(_text(column[0]) for column in cursor.description)
    if conn_type == "duckdb" and columns == ("Count",):
        # What DuckDB answers to a statement that changes or creates something.
        raise ConfigurationError("The SQL gives a count only: it is not a query. Give one SELECT.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigurationError(f"The query gives the column {twice[0]!r} twice. Name each with AS.")
    return columns


def _text(name: Any) -> str:
    # redshift_connector leaves a name as bytes that the connection's encoding cannot read
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


@contextmanager
def _explained(declared: bool, has_parameters: bool, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Say what to do where the driver speaks of things that the user has not written, or in riddles."""
    try:
        yield
    except CapillaryError:
        raise
    except Exception as error:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if "fetch size" in str(error).lower() and "limit" in str(error).lower():  # Redshift's words
            raise ConfigurationError(
                f"{str(error).strip()}\nRedshift gives fewer rows at a time, on one node 1,000: set fetch_size=1000."
            ) from error
        if declared and state in _NO_CURSOR_STATES:
            raise ConfigurationError(
                f"{str(error).strip()}\nOn PostgreSQL the SQL must be one SELECT, WITH, VALUES or TABLE: it is read "
                "through a cursor. For another statement that gives rows set server_side_cursor=False."
            ) from error
        if state is None and type(error).__name__ == "DataError":  # psycopg 3, of endless and very early instants
            raise ConfigurationError(
                f"{error}. Python has no such value: replace it in the SQL, as in NULLIF(earn_expires_on, 'infinity')."
            ) from error
        if "one statement at a time" in str(error):  # SQLite's words
            raise ConfigurationError(_SEVERAL) from error
        if has_parameters and not has_begun() and _is_about_binding(error):
            raise ConfigurationError(
                f"The parameters do not fit the placeholders of the SQL ({type(error).__name__}: {error}). Give a list "
                "for placeholders by position and a dict for named ones, as the driver wants them: %s and %(name)s "
                "for PostgreSQL and MySQL, where every other % is written %%; ? and :name for SQLite; ? and $name for "
                "DuckDB."
            ) from error
        raise


def _is_about_binding(error: Exception) -> bool:
    if isinstance(error, (TypeError, IndexError, KeyError)):  # psycopg2 formats with Python's own %
        return True
    text = str(error).lower()
    return any(word in text for word in _BINDING_WORDS)
