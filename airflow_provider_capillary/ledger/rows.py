"""Executes the statements over many rows at once, for each database: add rows, find them, move them to another batch.

The rows of a batch are sorted by their key before they are written, and batches by their first row. So neighbours are
written together, and two jobs that write the same rows rarely deadlock; PostgreSQL ends a deadlock.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from airflow_provider_capillary.ledger.facts import IntentConflictError
from airflow_provider_capillary.ledger.packing import Key, KeyColumns, NewRows, number_array, text_array

_TOGETHER = 250  # rows in one statement of SQLite; with more, its program no longer fits the processor's cache
_NEW_TOGETHER = 500  # new rows in one statement; each releases Python's lock, and waits for the lanes to get it back

_UNIQUE_VIOLATION = "23505"  # PostgreSQL's code

_KEY = "{a}.customer_id = {b}.customer_id AND {a}.badge_id = {b}.badge_id AND {a}.earned_at = {b}.earned_at"
_SAME = _KEY + " AND {a}.occurrence = {b}.occurrence"
_FOUND = """
    t.customer_id, t.badge_id, t.earned_at, t.occurrence, t.batch_id, coalesce(x.state, b.state),
    coalesce(x.job_id, b.job_id), x.row_number, d.doubt, x.state IS NOT NULL, b.attempt
"""


class Found(NamedTuple):
    """A row, its state (its own or its batch's), and the job that it counts for."""

    customer: int
    badge: int
    earned: int
    occurrence: int
    batch: int
    state: str
    job: int
    row_number: int | None  #: only if it has a state of its own
    doubt: str | None
    is_odd: bool
    attempt: int

    @property
    def key(self) -> Key:
        """The row's identity."""
        return self[:4]


class OwnState(NamedTuple):
    """A row with the state of its own that it gets."""

    customer: int
    badge: int
    earned: int
    occurrence: int
    state: str
    job: int
    row_number: int
    expires_at: int
    earned_badge_id: str | None
    proof: str | None


_TEXTS = frozenset({"state", "earned_badge_id", "proof"})  #: the fields of ``OwnState`` that are no numbers


class Rows(Protocol):
    """The statements of one database."""

    def insert(self, connection: sa.Connection, new: Sequence[NewRows]) -> None:
        """Add rows that the ledger does not hold.

        :raises IntentConflictError: it holds one of them.
        """
        ...

    def lock(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        """Keep others from moving those of the rows that exist."""
        ...

    def find(
        self, connection: sa.Connection, keys: Sequence[tuple[int, ...]], *, any_date: bool
    ) -> Iterator[tuple[Any, ...]]:
        """Find all occurrences of (customer, badge, earn instant); ``any_date``: whatever the earn instant.

        Gives the fields of ``Found``, a few rows at a time, because short-lived objects cost little.
        """
        ...

    def move(self, connection: sa.Connection, batch: int, keys: Sequence[Key]) -> None:
        """Move rows to another batch. The schema refuses it if one of them is not free to be sent."""
        ...

    def add_odd(self, connection: sa.Connection, batch: int, rows: Sequence[OwnState]) -> None:
        """Give rows of a batch states of their own. The schema refuses what the table of transitions does not have."""
        ...

    def change_odd(self, connection: sa.Connection, rows: Sequence[OwnState]) -> None:
        """Change the state of rows that have one of their own.

        If no id or proof is given, the recorded one stays. Job, row number and expiry always stay.
        """
        ...


class SqliteRows:
    """Statements over many rows of values, hundreds at a time.

    ``executemany`` would release Python's lock, and wait for it, once for every row. CROSS JOIN fixes SQLite's join
    order: values first, then one look-up by key for each.
    """

    _INSERT = """
        INSERT INTO capillary_earned_badge (batch_id, occurrence, customer_id, badge_id, earned_at) VALUES {rows}
    """
    _MOVE = """
        UPDATE capillary_earned_badge AS t SET batch_id = ?1 FROM (VALUES {rows}) AS v
        WHERE t.customer_id = v.column1 AND t.badge_id = v.column2 AND t.earned_at = v.column3
            AND t.occurrence = v.column4
    """
    _ADD_ODD = """
        INSERT INTO capillary_odd_row (batch_id, customer_id, badge_id, earned_at, occurrence, state, job_id,
            row_number, expires_at, earned_badge_id, proof) VALUES {rows}
    """
    _CHANGE_ODD = """
        UPDATE capillary_odd_row AS x SET state = v.column5, earned_badge_id = coalesce(v.column9, x.earned_badge_id),
            proof = coalesce(v.column10, x.proof)
        FROM (VALUES {rows}) AS v
        WHERE x.customer_id = v.column1 AND x.badge_id = v.column2 AND x.earned_at = v.column3
            AND x.occurrence = v.column4
    """
    _FIND = f"""
        SELECT {_FOUND} FROM (VALUES {{rows}}) k CROSS JOIN capillary_earned_badge t
        CROSS JOIN capillary_batch b ON b.id = t.batch_id
        LEFT JOIN capillary_odd_row x ON {_SAME.format(a="x", b="t")} AND x.batch_id = t.batch_id
        LEFT JOIN capillary_doubt d ON {_SAME.format(a="d", b="t")}
        WHERE t.customer_id = k.column1 AND t.badge_id = k.column2
    """

    def insert(self, connection: sa.Connection, new: Sequence[NewRows]) -> None:
        """Note rows."""
        for batch, keys in new:
            rows = len(keys.customers)
            is_first = keys.occurrences.count(1) == rows  # as nearly always; what is written into the text costs less
            columns, of_each = (keys[:3], "?1, 1, ") if is_first else ((keys.occurrences, *keys[:3]), "?1, ")
            width = len(columns)
            values: list[int] = [0] * (width * rows)
            for position, column in enumerate(columns):
                values[position::width] = column
            try:
                for start in range(0, rows, _NEW_TOGETHER):
                    some = values[width * start : width * (start + _NEW_TOGETHER)]
                    text = _with_rows(self._INSERT, len(some) // width, width, 2, of_each)
                    connection.exec_driver_sql(text, (batch, *some))
            except IntegrityError as error:
                raise conflict_of(error) from error

    def lock(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        """Nothing: SQLite has one writer at a time."""

    def find(
        self, connection: sa.Connection, keys: Sequence[tuple[int, ...]], *, any_date: bool
    ) -> Iterator[tuple[Any, ...]]:
        """Find rows."""
        statement = self._FIND + ("" if any_date else " AND t.earned_at = k.column3")
        return chain.from_iterable(result.cursor.fetchall() for result in executed(connection, statement, (), keys))

    def move(self, connection: sa.Connection, batch: int, keys: Sequence[Key]) -> None:
        """Move rows."""
        for _ in executed(connection, self._MOVE, (batch,), keys):
            pass

    def add_odd(self, connection: sa.Connection, batch: int, rows: Sequence[OwnState]) -> None:
        """Give rows states of their own."""
        for _ in executed(connection, self._ADD_ODD, (batch,), rows, "?1, "):
            pass

    def change_odd(self, connection: sa.Connection, rows: Sequence[OwnState]) -> None:
        """Change states."""
        for _ in executed(connection, self._CHANGE_ODD, (), rows):
            pass


def executed(
    connection: sa.Connection,
    statement: str,
    first: tuple[Any, ...],
    rows: Sequence[tuple[Any, ...]],
    of_each: str = "",
) -> Iterator[sa.CursorResult[Any]]:
    """Execute the statement for some rows after the other.

    :param first: the parameters before those of the rows.
    :param of_each: what each row begins with.
    """
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        text = _with_rows(statement, len(some), len(some[0]), len(first) + 1, of_each)
        yield connection.exec_driver_sql(text, (*first, *chain.from_iterable(some)))


@functools.lru_cache(maxsize=64)
def _with_rows(statement: str, rows: int, width: int, first: int, of_each: str) -> str:
    """The statement with the parameters of some rows, as in ``(?4, ?5), (?6, ?7)``."""
    starts = range(first, first + rows * width, width)
    numbered = (f"({of_each}{', '.join(f'?{number}' for number in range(start, start + width))})" for start in starts)
    return statement.format(rows=", ".join(numbered))


class PostgresRows:
    """One statement for all rows, with their columns as arrays.

    OFFSET 0 and LATERAL make PostgreSQL look each key up alone. Its statistics lag behind a night's growth, so the
    planner would else read a whole table for every batch.
    """

    _KEYS = """
        unnest(%(customer)s::bigint[], %(badge)s::int[], %(earned)s::bigint[], %(occurrence)s::int[])
            AS k(customer_id, badge_id, earned_at, occurrence)
    """
    _INSERT = """
        INSERT INTO capillary_earned_badge (customer_id, earned_at, batch_id, badge_id, occurrence)
        SELECT unnest(%(customers)s::bigint[]), unnest(%(dates)s::bigint[]),
            (%(batches)s::bigint[])[unnest(%(places)s::int[])], unnest(%(badges)s::int[]),
            unnest(%(occurrences)s::int[])
    """
    _LOCK = f"""
        SELECT 1 FROM {_KEYS} CROSS JOIN LATERAL (
            SELECT 1 FROM capillary_earned_badge e WHERE {_SAME.format(a="e", b="k")} OFFSET 0 FOR UPDATE) t
    """
    _MOVE = f"""
        UPDATE capillary_earned_badge AS t SET batch_id = %(batch)s FROM (SELECT * FROM {_KEYS} OFFSET 0) v
        WHERE {_SAME.format(a="t", b="v")}
    """
    _ODD = """
        unnest(%(customer)s::bigint[], %(badge)s::int[], %(earned)s::bigint[], %(occurrence)s::int[],
            %(state)s::text[], %(job)s::bigint[], %(row_number)s::bigint[], %(expires_at)s::bigint[],
            %(earned_badge_id)s::text[], %(proof)s::text[])
            AS k(customer_id, badge_id, earned_at, occurrence, state, job_id, row_number, expires_at,
                earned_badge_id, proof)
    """
    _ADD_ODD = f"""
        INSERT INTO capillary_odd_row (batch_id, customer_id, badge_id, earned_at, occurrence, state, job_id,
            row_number, expires_at, earned_badge_id, proof)
        SELECT %(batch)s, k.* FROM {_ODD}
    """
    _CHANGE_ODD = f"""
        UPDATE capillary_odd_row AS x SET state = v.state,
            earned_badge_id = coalesce(v.earned_badge_id, x.earned_badge_id), proof = coalesce(v.proof, x.proof)
        FROM (SELECT * FROM {_ODD} OFFSET 0) v WHERE {_SAME.format(a="x", b="v")}
    """
    _FIND = f"""
        SELECT {_FOUND} FROM
            unnest(%(customer)s::bigint[], %(badge)s::int[], %(earned)s::bigint[])
                AS k(customer_id, badge_id, earned_at)
        CROSS JOIN LATERAL (SELECT * FROM capillary_earned_badge e WHERE {{same}} OFFSET 0) t
        CROSS JOIN LATERAL (SELECT * FROM capillary_batch b WHERE b.id = t.batch_id OFFSET 0) b
        LEFT JOIN LATERAL (SELECT * FROM capillary_odd_row x
            WHERE {_SAME.format(a="x", b="t")} AND x.batch_id = t.batch_id OFFSET 0) x ON true
        LEFT JOIN LATERAL (SELECT * FROM capillary_doubt d WHERE {_SAME.format(a="d", b="t")} OFFSET 0) d ON true
    """
    _FIND_AT_DATE = _FIND.format(same=_KEY.format(a="e", b="k"))
    _FIND_ANY_DATE = _FIND.format(same="e.customer_id = k.customer_id AND e.badge_id = k.badge_id")

    def insert(self, connection: sa.Connection, new: Sequence[NewRows]) -> None:
        """Note rows."""
        values = row_arrays([keys for _, keys in new]) | {"batches": number_array([batch for batch, _ in new])}
        try:
            connection.exec_driver_sql(self._INSERT, values)
        except IntegrityError as error:
            raise conflict_of(error) from error

    def lock(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        """Lock rows."""
        if keys:
            connection.exec_driver_sql(self._LOCK, _arrays(keys))

    def find(
        self, connection: sa.Connection, keys: Sequence[tuple[int, ...]], *, any_date: bool
    ) -> Iterator[tuple[Any, ...]]:
        """Find rows."""
        if not keys:
            return
        found = connection.exec_driver_sql(self._FIND_ANY_DATE if any_date else self._FIND_AT_DATE, _arrays(keys))
        yield from found.cursor.fetchall()

    def move(self, connection: sa.Connection, batch: int, keys: Sequence[Key]) -> None:
        """Move rows."""
        if keys:
            connection.exec_driver_sql(self._MOVE, {"batch": batch, **_arrays(keys)})

    def add_odd(self, connection: sa.Connection, batch: int, rows: Sequence[OwnState]) -> None:
        """Give rows states of their own."""
        if rows:
            connection.exec_driver_sql(self._ADD_ODD, {"batch": batch, **_arrays(rows)})

    def change_odd(self, connection: sa.Connection, rows: Sequence[OwnState]) -> None:
        """Change states."""
        if rows:
            connection.exec_driver_sql(self._CHANGE_ODD, _arrays(rows))


def _arrays(rows: Sequence[tuple[Any, ...]]) -> dict[str, str]:
    """The columns of rows as arrays. The values of a key are the first fields of ``OwnState``."""
    return {
        name: text_array(column) if name in _TEXTS else number_array(column)
        for name, column in zip(OwnState._fields, zip(*rows, strict=True), strict=False)
    }


def row_arrays(keys: Sequence[KeyColumns]) -> dict[str, str]:
    """The rows of several batches, the batch with the first row first; ``places``: the batch of each row, from 1."""
    order = sorted((at for at, each in enumerate(keys) if each.customers), key=lambda at: keys[at].customers[0])
    columns = ([*chain.from_iterable(keys[at][column] for at in order)] for column in range(4))
    customers, badges, dates, occurrences = map(number_array, columns)
    places = number_array([at + 1 for at in order for _ in keys[at].customers])
    return {"customers": customers, "badges": badges, "dates": dates, "occurrences": occurrences, "places": places}


def conflict_of(error: IntegrityError) -> Exception:
    """What an error means that new rows met: nearly always that one of them is held already."""
    is_held = "UNIQUE constraint failed: capillary_earned_badge." in str(error.orig)  # SQLite
    if is_held or getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION:
        return IntentConflictError("a row of the batch is held by another batch or another job")
    return error


def rows_for(dialect: str) -> Rows:
    """The statements for a database."""
    return SqliteRows() if dialect == "sqlite" else PostgresRows()
