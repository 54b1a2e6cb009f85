"""DuckDB's results as Arrow, many times as fast as row by row, wherever that gives the very same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from airflow.providers.common.sql.hooks.sql import DbApiHook

#: Types whose Arrow values are those that the driver gives row by row. Not: HUGEINT, whose Arrow decimals are too
#: narrow for it; TIMESTAMP_NS, which rows have in microseconds; INTERVAL, TIME and nested ones, which become text.
_SAME_TYPES = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT"}
    | {"DOUBLE", "VARCHAR", "BLOB", "UUID", "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"}
    | {"TIMESTAMP WITH TIME ZONE"}
)
_SAME_KINDS = ("DECIMAL(", "ENUM(")
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  #: of Python's calendar, counted from 1970
_TICKS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000}


@contextmanager
def arrow_cursors(hook: DbApiHook) -> Iterator[None]:
    """Let a hook for DuckDB give cursors that have ``shares``; any other hook stays as it is.

    The hook keeps running the statement, so that its lineage, its log and its transaction are what they are.
    """
    if hook.conn_type != "duckdb":
        yield
        return
    connect: Callable[[], Any] = hook.get_conn
    hook.get_conn = lambda: _Connection(connect())  # type: ignore[method-assign] # of this one hook, for this query
    try:
        yield
    finally:
        hook.get_conn = connect  # type: ignore[method-assign]


class _Connection:
    """A connection whose cursors are ``_Cursor``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        cursor = self._connection.cursor()
        return _Cursor(self._connection, cursor) if hasattr(cursor, "extract_statements") else cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Cursor:
    """DuckDB's cursor, which would hold a whole result in memory to give it as Arrow; a relation streams it."""

    def __init__(self, connection: Any, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor
        self._relation: Any = None

    def execute(self, sql: str, parameters: Any = None) -> None:
        self._relation = _relation(self._cursor, sql, parameters)
        if self._relation is None:
            self._cursor.execute(sql, parameters)

    @property
    def description(self) -> Any:
        return self._cursor.description if self._relation is None else self._relation.description

    def shares(self, size: int) -> Iterator[pa.RecordBatch | Sequence[Any]] | None:
        """The rows, ``size`` at a time, each share as Arrow or as a list of rows; ``None``: not by Arrow."""
        return None if self._relation is None else self._batches(size)

    def _batches(self, size: int) -> Iterator[pa.RecordBatch | Sequence[Any]]:
        reader = self._relation.to_arrow_reader(size)
        try:
            for batch in in_sizes(reader, size):
                yield batch if all(map(_fits_python, batch.columns)) else self._as_rows(batch)
        finally:
            reader.close()

    def _as_rows(self, batch: pa.RecordBatch) -> Sequence[Any]:
        """As DuckDB itself gives instants such as infinity, and those of the year 20250, to Python."""
        rows: Sequence[Any] = self._connection.cursor().from_arrow(pa.Table.from_batches([batch])).fetchall()
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _relation(cursor: Any, sql: str, parameters: Any) -> Any:
    """One SELECT, not begun yet, all of whose types are the same by Arrow; else ``None``, and nothing has run."""
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1 or "SELECT" not in str(statements[0].type) or (parameters and not _is_lazy(cursor)):
            return None
        relation = cursor.sql(sql, params=parameters) if parameters else cursor.sql(sql)
        types = [str(kind) for kind in relation.types]
    except Exception:  # noqa: BLE001 - what is wrong with the statement is said where it runs
        return None
    same = all(kind in _SAME_TYPES or (kind.startswith(_SAME_KINDS) and not kind.endswith("]")) for kind in types)
    return relation if same and hasattr(relation, "to_arrow_reader") else None


def _is_lazy(cursor: Any) -> bool:
    """Whether a relation with parameters streams: before DuckDB 2 it ran at once, and was held in memory."""
    return str(cursor.execute("SELECT version()").fetchall()[0][0]).lstrip("v").split(".")[0] not in ("0", "1")


def in_sizes(batches: Iterator[pa.RecordBatch] | pa.RecordBatchReader, size: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of one size, whatever sizes they come in: the same rows are the same parts."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= size:
            joined = _joined(waiting)
            yield joined.slice(0, size)
            rows -= size
            waiting = [joined.slice(size)]
    if rows:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    [joined] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined


def _fits_python(column: pa.Array[Any]) -> bool:
    """Whether its days are of the years 1 to 9999, beyond which the driver gives other values than instants."""
    kind = column.type
    if pa.types.is_date32(kind):
        bounds, per_day = pc.min_max(column.view(pa.int32())), 1
    elif pa.types.is_timestamp(kind):
        bounds, per_day = pc.min_max(column.view(pa.int64())), _TICKS_PER_DAY[kind.unit]
    else:
        return True
    lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
    return lowest is None or _FIRST_DAY * per_day <= lowest <= highest < (_LAST_DAY + 1) * per_day
