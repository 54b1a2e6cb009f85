"""Warehouses that cannot run here, imitated where their drivers meet Airflow: what a cursor takes, and what it gives.

Written from the documentation and sources of the drivers and hooks that ``docs/extraction.md`` names.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
from airflow.providers.common.sql.hooks.sql import DbApiHook

BADGE = "654e08f2041fd452b3ef5b2e"
EARNED = datetime(2025, 1, 31, 9, 0, tzinfo=UTC)
EXPIRES = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
COUNT = 7


class RefusedError(Exception):
    """What a server says of a statement that it does not understand."""

    pgcode = "42601"


class Warehouse(msgspec.Struct, frozen=True):
    """One product as its driver shows it."""

    conn_type: str
    names: Sequence[Any]  #: of the four columns, as ``cursor.description`` has them
    row: Callable[[int], Any]  #: the row of a customer id
    rows_in: type = list  #: what ``fetchmany`` gives the rows in
    refuses: tuple[str, ...] = ()  #: pieces of SQL that it does not understand
    most_fetched: int | None = None  #: rows that one FETCH may ask for
    splits: bool = False  #: its hook has a ``run`` of its own, that splits statements by default
    several: bool = False  #: it runs several statements, and gives the rows of the first
    further: bool | None = None  #: whether its cursor has ``nextset``; ``None``: it has, and raises
    arrow: bool = False  #: its cursor gives Arrow tables besides, of which it makes its rows
    named_rows: bool = False  #: its hook turns what a handler returns into rows of a class of its own


def naive(instant: datetime) -> datetime:
    """The same reading of the clock, without its zone."""
    return instant.replace(tzinfo=None)


UPPER = ("BADGE_META_ID", "CUSTOMER_ID", "EARN_EVENT_DATE", "EARN_EXPIRES_ON")
LOWER = tuple(name.lower() for name in UPPER)
PACIFIC = timezone(timedelta(hours=-8))
Row = namedtuple("Row", LOWER)  # type: ignore[misc]

# What each driver was read in: its version stands in docs/extraction.md.
WAREHOUSES = {
    # Unquoted names in capitals. NUMBER without a scale as int, or Decimal where it comes in 128 bits. TIMESTAMP_TZ
    # with a fixed offset, TIMESTAMP_NTZ without a zone. The hook, where it does not split, allows several statements.
    "Snowflake": Warehouse(
        "snowflake",
        UPPER,
        lambda id_: (BADGE, Decimal(id_), EARNED.astimezone(PACIFIC), naive(EXPIRES)),
        splits=True,
        several=True,
        further=True,
    ),
    # The hook's own cursor: lists, TIMESTAMP as seconds in a float, DATETIME and NUMERIC as text.
    "BigQuery": Warehouse(
        "gcpbigquery",
        LOWER,
        lambda id_: [BADGE, id_, EARNED.timestamp(), naive(EXPIRES).isoformat()],
        further=False,
    ),
    # Tuples of lists, the whole result in the client. A name stays bytes that the connection's encoding cannot read.
    "Redshift": Warehouse(
        "redshift",
        [*LOWER[:3], LOWER[3].encode()],
        lambda id_: [BADGE, id_, EARNED, naive(EXPIRES)],
        rows_in=tuple,
        further=False,
    ),
    # psycopg2 against Redshift: cursors without SCROLL, and at most 1,000 rows at a time on one node.
    "Redshift by postgres": Warehouse(
        "postgres", LOWER, lambda id_: (BADGE, id_, EARNED, naive(EXPIRES)), refuses=("SCROLL",), most_fetched=1_000
    ),
    # Rows of a class of their own, made through pandas of Arrow tables; TIMESTAMP in the session's zone, TIMESTAMP_NTZ
    # without one.
    "Databricks": Warehouse(
        "databricks",
        LOWER,
        lambda id_: Row._make((BADGE, id_, EARNED.astimezone(ZoneInfo("Etc/UTC")), naive(EXPIRES))),
        splits=True,
        arrow=True,
        named_rows=True,
        further=False,
    ),
    # Names in capitals, NUMBER as int, or Decimal where asked for, DATE without a zone, CHAR padded. The hook leaves
    # the semicolon where it is.
    "Oracle": Warehouse(
        "oracle",
        UPPER,
        lambda id_: (BADGE.ljust(32), Decimal(id_), naive(EARNED), naive(EXPIRES)),
        refuses=(";",),
        further=False,
    ),
    # decimal(19, 0) as Decimal, datetime2 without a zone, datetimeoffset with a fixed offset.
    "SQL Server": Warehouse(
        "mssql",
        LOWER,
        lambda id_: (BADGE, Decimal(id_), EARNED.astimezone(PACIFIC), naive(EXPIRES)),
        several=True,
        further=True,
    ),
    # Lists, timestamps with a named zone.
    "Trino": Warehouse(
        "trino",
        LOWER,
        lambda id_: [BADGE, id_, EARNED.astimezone(ZoneInfo("America/New_York")), EXPIRES],
        refuses=(";",),
        splits=True,
    ),
}


class NotSupportedError(Exception):
    """What PEP 249 has a driver raise whose database knows no further results."""


class Cursor:
    """Of a driver without cursors on the server, but for what calls itself postgres."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._left: list[Any] = []
        self._further = 0
        self.description: Any = None
        self.rowcount = -1
        self.statusmessage = ""

    def execute(self, sql: str, parameters: Any = None) -> None:
        """Run what is one statement of the product's own language."""
        wrong = [piece for piece in self._warehouse.refuses if piece in sql]
        if wrong:
            raise RefusedError(f'syntax error at or near "{wrong[0]}"')
        words = sql.split()
        if words[0] == "DECLARE":
            self.statusmessage = "DECLARE CURSOR"
            self._kept = self._rows()
            return
        if words[0] == "FETCH":
            size, most = int(words[2]), self._warehouse.most_fetched
            if most is not None and size > most:
                raise RefusedError(f"Fetch size {size} exceeds the limit of {most} for a single node configuration.")
            self._left, self._kept = self._kept[:size], self._kept[size:]
        else:
            self._left = self._rows()
            self._further = sql.rstrip(" ;\n").count(";") if self._warehouse.several else 0
        self.description = [(name, None, None, None, None, None, None) for name in self._warehouse.names]

    def fetchmany(self, size: int) -> Sequence[Any]:
        """The next rows."""
        given, self._left = self._left[:size], self._left[size:]
        made: Sequence[Any] = self._warehouse.rows_in(given)
        return made

    def __getattr__(self, name: str) -> Any:
        if name == "fetchmany_arrow" and self._warehouse.arrow:
            return self._table
        if name != "nextset" or self._warehouse.further is False:
            raise AttributeError(name)
        return self._next

    def _next(self) -> bool | None:
        if self._warehouse.further is None:
            raise NotSupportedError
        self._further, was = max(0, self._further - 1), self._further
        return was > 0 or None

    def _table(self, size: int) -> pa.Table:
        rows, columns = self.fetchmany(size), self._warehouse.names
        named = [dict(zip(map(str, columns), row, strict=True)) for row in rows]
        return pa.Table.from_pylist(named, schema=None if named else pa.schema([(name, pa.null()) for name in columns]))

    def fetchall(self) -> Sequence[Any]:
        """All that are left."""
        return self.fetchmany(len(self._left))

    def close(self) -> None:
        """Nothing to close."""

    def _rows(self) -> list[Any]:
        return [self._warehouse.row(id_) for id_ in range(1, COUNT + 1)]


class Connection:
    """Of the driver."""

    autocommit = False

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.committed = False

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self._warehouse)

    def commit(self) -> None:
        """Note it."""
        self.committed = True

    def rollback(self) -> None:
        """Nothing was done."""

    def close(self) -> None:
        """Nothing to close."""


class Hook(DbApiHook):
    """As Airflow's providers derive theirs: ``DbApiHook`` runs the statement, over the product's own cursor."""

    conn_name_attr = "imitated_conn_id"

    def __init__(self, warehouse: Warehouse, **params: Any) -> None:
        super().__init__()
        self.warehouse, self.params = warehouse, params
        self.conn_type = warehouse.conn_type

    def get_conn(self) -> Any:
        """A connection of the driver."""
        return Connection(self.warehouse)

    def run(self, sql: Any, autocommit: bool = False, parameters: Any = None, **named: Any) -> Any:  # type: ignore[override]
        """Split by default where the product's own hook does."""
        named.setdefault("split_statements", self.warehouse.splits)
        return super().run(sql, autocommit=autocommit, parameters=parameters, **named)

    def _make_common_data_structure(self, data: Any) -> Any:
        if not self.warehouse.named_rows:
            return super()._make_common_data_structure(data)
        return [tuple.__new__(Row, row) for row in data] if isinstance(data, list) else Row(*data)
