"""The three statements that touch every row, each for all rows of a batch at once, per database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

#: (organisation_id, customer_id, badge_id, earned_at, occurrence, job_id, row_number, batch_id, attempt, expires_at)
ClaimRow = tuple[int, int, int, int, int, int, int, int, int, int]
#: (state, earned_badge_id, organisation_id, customer_id, badge_id, earned_at, occurrence, batch_id)
ChangeRow = tuple[str, str | None, int, int, int, int, int, int]
#: (customer_id, badge_id, earned_at)
Key = tuple[int, int, int]

_CLAIM_COLUMNS = (
    "organisation_id, customer_id, badge_id, earned_at, occurrence, job_id, row_number, batch_id, attempt, expires_at"
)
# Only a row that is proven not to be at the API may be claimed; anything else stays, and the count tells.
_ON_CONFLICT = """
    ON CONFLICT (organisation_id, customer_id, badge_id, earned_at, occurrence) DO UPDATE SET
        state = 'intent', job_id = excluded.job_id, row_number = excluded.row_number, batch_id = excluded.batch_id,
        attempt = excluded.attempt, expires_at = excluded.expires_at, earned_badge_id = NULL
    WHERE capillary_earned_badge.state IN ('planned', 'rejected')
"""
_HELD_COLUMNS = """
    t.customer_id, t.badge_id, t.job_id, t.row_number, t.state, t.earned_at, t.occurrence, t.attempt, t.batch_id,
    CASE WHEN t.job_id <> :job THEN
        (SELECT CASE WHEN j.state = 'open' AND j.lease_until > :now THEN 1 ELSE 0 END
         FROM capillary_job j WHERE j.id = t.job_id) ELSE 0 END,
    CASE WHEN t.state IN ('intent', 'unknown') THEN
        (SELECT coalesce(b.settled_at, b.sent_at) FROM capillary_batch b WHERE b.id = t.batch_id) END
"""


class Bulk(Protocol):
    """The statements of one database. Each gives the number of rows it changed, or the rows found."""

    def claim(self, connection: sa.Connection, rows: Sequence[ClaimRow]) -> int:
        """Note intents."""
        ...

    def change(self, connection: sa.Connection, rows: Sequence[ChangeRow]) -> int:
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
    """``executemany`` for writes; keys come in as one JSON array, joined by primary key."""

    _CLAIM = f"""
        INSERT INTO capillary_earned_badge ({_CLAIM_COLUMNS}, state)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'intent') {_ON_CONFLICT}
    """
    _CHANGE = """
        UPDATE capillary_earned_badge
        SET state = CASE WHEN ?1 = 'rejected' AND state = 'unknown' THEN 'planned' ELSE ?1 END,
            earned_badge_id = coalesce(?2, earned_badge_id)
        WHERE organisation_id = ?3 AND customer_id = ?4 AND badge_id = ?5 AND earned_at = ?6 AND occurrence = ?7
            AND batch_id = ?8 AND state IN ('intent', 'unknown')
    """
    # CROSS JOIN: SQLite then reads the keys first and looks each up, whatever its statistics say
    _FIND = f"""
        SELECT {_HELD_COLUMNS} FROM json_each(:keys) k CROSS JOIN capillary_earned_badge t
        WHERE t.organisation_id = :organisation AND t.customer_id = json_extract(k.value, '$[0]')
            AND t.badge_id = json_extract(k.value, '$[1]')
    """

    def claim(self, connection: sa.Connection, rows: Sequence[ClaimRow]) -> int:
        """Note intents."""
        return connection.exec_driver_sql(self._CLAIM, list(rows)).rowcount if rows else 0

    def change(self, connection: sa.Connection, rows: Sequence[ChangeRow]) -> int:
        """Change states."""
        return connection.exec_driver_sql(self._CHANGE, list(rows)).rowcount if rows else 0

    def find(
        self, connection: sa.Connection, keys: Sequence[Key], *, any_date: bool, **values: Any
    ) -> Sequence[sa.Row[Any]]:
        """Find what is held."""
        statement = self._FIND + ("" if any_date else " AND t.earned_at = json_extract(k.value, '$[2]')")
        return connection.execute(sa.text(statement), {**values, "keys": msgspec.json.encode(keys).decode()}).all()


class PostgresBulk:
    """One statement for all rows: columns travel as arrays."""

    _CLAIM = f"""
        INSERT INTO capillary_earned_badge ({_CLAIM_COLUMNS}, state)
        SELECT v.*, 'intent' FROM unnest(
            %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[],
            %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[]) AS v {_ON_CONFLICT}
    """
    _CHANGE = """
        UPDATE capillary_earned_badge AS t
        SET state = CASE WHEN v.state = 'rejected' AND t.state = 'unknown' THEN 'planned' ELSE v.state END,
            earned_badge_id = coalesce(v.granted, t.earned_badge_id)
        FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[],
            %s::bigint[]) AS v(state, granted, organisation_id, customer_id, badge_id, earned_at, occurrence, batch_id)
        WHERE t.organisation_id = v.organisation_id AND t.customer_id = v.customer_id AND t.badge_id = v.badge_id
            AND t.earned_at = v.earned_at AND t.occurrence = v.occurrence AND t.batch_id = v.batch_id
            AND t.state IN ('intent', 'unknown')
    """
    # LATERAL with OFFSET 0: each key is looked up by itself. The planner, whose statistics lag behind a night's
    # growth, would else read the whole table for every batch.
    _FIND = f"""
        SELECT {_HELD_COLUMNS}
        FROM unnest(CAST(:customers AS bigint[]), CAST(:badges AS bigint[]), CAST(:dates AS bigint[]))
            AS k(customer_id, badge_id, earned_at)
        CROSS JOIN LATERAL (
            SELECT * FROM capillary_earned_badge e WHERE e.organisation_id = :organisation
            AND e.customer_id = k.customer_id AND e.badge_id = k.badge_id {{and_date}} OFFSET 0) t
    """

    def claim(self, connection: sa.Connection, rows: Sequence[ClaimRow]) -> int:
        """Note intents."""
        return connection.exec_driver_sql(self._CLAIM, _columns(rows)).rowcount if rows else 0

    def change(self, connection: sa.Connection, rows: Sequence[ChangeRow]) -> int:
        """Change states."""
        return connection.exec_driver_sql(self._CHANGE, _columns(rows)).rowcount if rows else 0

    def find(
        self, connection: sa.Connection, keys: Sequence[Key], *, any_date: bool, **values: Any
    ) -> Sequence[sa.Row[Any]]:
        """Find what is held."""
        customers, badges, dates = _columns(keys)
        statement = self._FIND.format(and_date="" if any_date else "AND e.earned_at = k.earned_at")
        values |= {"customers": customers, "badges": badges, "dates": dates}
        return connection.execute(sa.text(statement), values).all()


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))


def bulk_for(dialect: str) -> Bulk:
    """The statements for a database."""
    return SqliteBulk() if dialect == "sqlite" else PostgresBulk()
