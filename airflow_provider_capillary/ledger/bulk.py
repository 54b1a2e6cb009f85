"""The three statements that touch every row, each for all rows of a batch at once, per database."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

#: (customer_id, badge_id, earned_at, occurrence, row_number, expires_at)
ClaimRow = tuple[int, int, int, int, int, int]
#: (customer_id, badge_id, earned_at, occurrence, earned_badge_id)
ChangeRow = tuple[int, int, int, int, str | None]
#: (customer_id, badge_id, earned_at)
Key = tuple[int, int, int]

_CLAIM_COLUMNS = """
    organisation_id, job_id, batch_id, attempt, state, customer_id, badge_id, earned_at, occurrence, row_number,
    expires_at
"""
# Only a row that is proven not to be at the API may be claimed; anything else stays, and the count tells.
_NOT_IN_DOUBT = "AND capillary_earned_badge.doubt IS NULL"
_ON_CONFLICT = f"""
    ON CONFLICT (organisation_id, customer_id, badge_id, earned_at, occurrence) DO UPDATE SET
        state = 'intent', job_id = excluded.job_id, row_number = excluded.row_number, batch_id = excluded.batch_id,
        attempt = excluded.attempt, expires_at = excluded.expires_at, earned_badge_id = NULL
    WHERE capillary_earned_badge.state IN ('planned', 'rejected') {_NOT_IN_DOUBT}
"""


class Known(Enum):
    """What the job knows of rows that it claims, and so what they may meet in the ledger."""

    NOTHING = "nobody looked them up: nothing of them may be there"
    FREE = "looked up: what is there is free, and in no doubt"
    DOUBT = "looked up: what is there is free, and may be granted twice"


_CONFLICTS = {
    Known.NOTHING: "ON CONFLICT (organisation_id, customer_id, badge_id, earned_at, occurrence) DO NOTHING",
    Known.FREE: _ON_CONFLICT,
    Known.DOUBT: _ON_CONFLICT.replace(_NOT_IN_DOUBT, ""),
}
#: As ``capillary_row`` tells it.
_STATE = """
    CASE WHEN t.state = 'intent' AND EXISTS (SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = t.batch_id)
        THEN 'accepted' ELSE t.state END
"""
#: ``{job}`` and ``{now}``: as the driver writes parameters.
_HELD_COLUMNS = """
    t.customer_id, t.badge_id, t.job_id, t.row_number, {state}, t.earned_at, t.occurrence, t.attempt, t.batch_id,
    CASE WHEN t.job_id <> {job} THEN
        (SELECT CASE WHEN j.state = 'open' AND j.lease_until > {now} THEN 1 ELSE 0 END
         FROM capillary_job j WHERE j.id = t.job_id) ELSE 0 END,
    CASE WHEN t.state IN ('intent', 'unknown') THEN
        (SELECT coalesce(b.settled_at, b.sent_at) FROM capillary_batch b WHERE b.id = t.batch_id) END,
    t.doubt,
    CASE WHEN t.state IN ('intent', 'unknown') THEN
        (SELECT CASE WHEN b.settled_at IS NULL THEN 1 ELSE 0 END FROM capillary_batch b WHERE b.id = t.batch_id)
        ELSE 0 END
"""


_TOGETHER = 250  # rows in one statement of SQLite: with more, its program no longer fits the processor's cache


class Claims(NamedTuple):
    """The rows of one batch that is about to be sent."""

    batch: int
    attempt: int
    rows: Sequence[ClaimRow]


class Bulk(Protocol):
    """The statements of one database. Each gives the number of rows it changed, or the rows found."""

    def claim(
        self, connection: sa.Connection, organisation: int, job: int, claims: Sequence[Claims], known: Known
    ) -> int:
        """Note intents."""
        ...

    def change(
        self, connection: sa.Connection, organisation: int, batch: int, state: str, rows: Sequence[ChangeRow]
    ) -> int:
        """Change the state of rows that are an intent or unknown, and still of the given batch.

        A refusal that comes late, for a row that is unknown by now, proves that it is not there: planned.
        """
        ...

    def find(
        self, connection: sa.Connection, keys: Sequence[Key], *, any_date: bool, **values: Any
    ) -> Sequence[sa.Row[Any]]:
        """Find what is held of the keys. ``values``: organisation, job, now."""
        ...


class SqliteBulk:
    """Statements over many rows of values, some hundred at a time.

    ``executemany`` would let go of Python's lock, and wait for it, once for every row. Both joins of rows with the
    table are told in which order: CROSS JOIN, and an update that names the whole primary key.
    """

    _CLAIM = f"""
        INSERT INTO capillary_earned_badge ({_CLAIM_COLUMNS}) VALUES {{{{rows}}}} {{on_conflict}}
    """
    _CHANGE = """
        UPDATE capillary_earned_badge AS t
        SET state = CASE WHEN ?3 = 'rejected' AND t.state = 'unknown' THEN 'planned' ELSE ?3 END,
            earned_badge_id = coalesce(v.column5, t.earned_badge_id)
        FROM (VALUES {rows}) AS v
        WHERE t.organisation_id = ?1 AND t.customer_id = v.column1 AND t.badge_id = v.column2
            AND t.earned_at = v.column3 AND t.occurrence = v.column4
            AND t.batch_id = ?2 AND t.state IN ('intent', 'unknown')
    """
    _FIND = f"""
        SELECT {_HELD_COLUMNS.format(state=_STATE, job="?2", now="?3")}
        FROM (VALUES {{rows}}) k CROSS JOIN capillary_earned_badge t
        WHERE t.organisation_id = ?1 AND t.customer_id = k.column1 AND t.badge_id = k.column2
    """

    def claim(
        self, connection: sa.Connection, organisation: int, job: int, claims: Sequence[Claims], known: Known
    ) -> int:
        """Note intents."""
        statement = self._CLAIM.format(on_conflict=_CONFLICTS[known])
        return sum(
            result.rowcount
            for batch, attempt, rows in claims
            for result in _executed(
                connection, statement, (organisation, job, batch, attempt), rows, "?1, ?2, ?3, ?4, 'intent', "
            )
        )

    def change(
        self, connection: sa.Connection, organisation: int, batch: int, state: str, rows: Sequence[ChangeRow]
    ) -> int:
        """Change states."""
        return sum(
            result.rowcount for result in _executed(connection, self._CHANGE, (organisation, batch, state), rows)
        )

    def find(
        self, connection: sa.Connection, keys: Sequence[Key], *, any_date: bool, **values: Any
    ) -> Sequence[sa.Row[Any]]:
        """Find what is held."""
        statement = self._FIND + ("" if any_date else " AND t.earned_at = k.column3")
        first = (values["organisation"], values["job"], values["now"])
        return [row for result in _executed(connection, statement, first, keys) for row in result]


def _executed(
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
        numbered = _numbered(len(some), len(some[0]), len(first) + 1, of_each)
        yield connection.exec_driver_sql(statement.format(rows=numbered), (*first, *chain.from_iterable(some)))


@functools.lru_cache(maxsize=32)
def _numbered(rows: int, width: int, first: int, of_each: str) -> str:
    """The parameters of some rows, as in ``(?4, ?5), (?6, ?7)``."""
    starts = range(first, first + rows * width, width)
    return ", ".join(
        f"({of_each}{', '.join(f'?{number}' for number in range(start, start + width))})" for start in starts
    )


class PostgresBulk:
    """One statement for all rows: columns travel as arrays.

    OFFSET 0 and LATERAL: each key is looked up by itself. The planner, whose statistics lag behind a night's growth,
    would else read the whole table for every batch.
    """

    _CLAIM = f"""
        INSERT INTO capillary_earned_badge ({_CLAIM_COLUMNS})
        SELECT %s, %s, v.batch_id, v.attempt, 'intent', v.customer_id, v.badge_id, v.earned_at, v.occurrence,
            v.row_number, v.expires_at
        FROM unnest(
            %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[]
        ) AS v(customer_id, badge_id, earned_at, occurrence, row_number, expires_at, batch_id, attempt) {{on_conflict}}
    """
    _CHANGE = """
        UPDATE capillary_earned_badge AS t
        SET state = CASE WHEN %(state)s = 'rejected' AND t.state = 'unknown' THEN 'planned' ELSE %(state)s END,
            earned_badge_id = coalesce(v.granted, t.earned_badge_id)
        FROM (SELECT %(organisation)s::bigint AS organisation_id, %(batch)s::bigint AS batch_id, u.*
            FROM unnest(%(customers)s::bigint[], %(badges)s::bigint[], %(dates)s::bigint[], %(occurrences)s::int[],
                %(granted)s::text[]) AS u(customer_id, badge_id, earned_at, occurrence, granted) OFFSET 0) AS v
        WHERE t.organisation_id = v.organisation_id AND t.customer_id = v.customer_id AND t.badge_id = v.badge_id
            AND t.earned_at = v.earned_at AND t.occurrence = v.occurrence AND t.batch_id = v.batch_id
            AND t.state IN ('intent', 'unknown')
    """
    _FIND = f"""
        SELECT {_HELD_COLUMNS.format(state=_STATE, job="%(job)s", now="%(now)s")}
        FROM unnest(%(customers)s::bigint[], %(badges)s::bigint[], %(dates)s::bigint[])
            AS k(customer_id, badge_id, earned_at)
        CROSS JOIN LATERAL (
            SELECT * FROM capillary_earned_badge e WHERE e.organisation_id = %(organisation)s
            AND e.customer_id = k.customer_id AND e.badge_id = k.badge_id {{and_date}} OFFSET 0) t
    """

    def claim(
        self, connection: sa.Connection, organisation: int, job: int, claims: Sequence[Claims], known: Known
    ) -> int:
        """Note intents, in one order for all jobs: two of them do not wait in a circle."""
        rows = [(*row, claim.batch, claim.attempt) for claim in claims for row in claim.rows]
        if not rows:
            return 0
        rows.sort()
        statement = self._CLAIM.format(on_conflict=_CONFLICTS[known])
        numbers = map(_array, zip(*rows, strict=True))
        return connection.exec_driver_sql(statement, (organisation, job, *numbers)).rowcount

    def change(
        self, connection: sa.Connection, organisation: int, batch: int, state: str, rows: Sequence[ChangeRow]
    ) -> int:
        """Change states."""
        if not rows:
            return 0
        *numbers, granted = zip(*rows, strict=True)
        values: dict[str, Any] = dict(
            zip(("customers", "badges", "dates", "occurrences"), map(_array, numbers), strict=True)
        )
        values |= {"organisation": organisation, "batch": batch, "state": state, "granted": _text_array(granted)}
        return connection.exec_driver_sql(self._CHANGE, values).rowcount

    def find(
        self, connection: sa.Connection, keys: Sequence[Key], *, any_date: bool, **values: Any
    ) -> Sequence[sa.Row[Any]]:
        """Find what is held."""
        customers, badges, dates = map(_array, zip(*keys, strict=True))
        statement = self._FIND.format(and_date="" if any_date else "AND e.earned_at = k.earned_at")
        values |= {"customers": customers, "badges": badges, "dates": dates}
        return connection.exec_driver_sql(statement, values).all()


def _array(numbers: Sequence[int]) -> str:
    """PostgreSQL's own text of an array, which is JSON's but for the brackets; the driver would take its time."""
    return f"{{{msgspec.json.encode(numbers)[1:-1].decode()}}}"


def _text_array(texts: Sequence[str | None]) -> str | list[str | None]:
    """The same for ids of letters and digits; what would have to be escaped is left to the driver."""
    plain = [f'"{text}"' for text in texts if text and text.isalnum()]
    return f"{{{','.join(plain)}}}" if len(plain) == len(texts) else list(texts)


def bulk_for(dialect: str) -> Bulk:
    """The statements for a database."""
    return SqliteBulk() if dialect == "sqlite" else PostgresBulk()
