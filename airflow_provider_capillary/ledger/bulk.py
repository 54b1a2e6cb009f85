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
        """Change the state of rows that are an intent or unknown, and still of the given batch."""
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
        UPDATE capillary_earned_badge SET state = ?, earned_badge_id = coalesce(?, earned_badge_id)
        WHERE organisation_id = ? AND customer_id = ? AND badge_id = ? AND earned_at = ? AND occurrence = ?
            AND batch_id = ? AND state IN ('intent', 'unknown')
    """
    # CROSS JOIN: SQLite then reads the keys first and looks each up, whatever its statistics say
    _FIND = f"""
        SELECT {_HELD_COLUMNS} FROM json_each(:keys) k CROSS JOIN capillary_earned_badge t
        WHERE t.organisation_id = :organisation AND t.customer_id = json_extract(k.value, '$[0]')
            AND t.badge_id = json_extract(k.value, '$[1]')
    """

    def claim(self, connection: sa.Connection, rows: Sequence[ClaimRow]) -> int:
        """Note intents."""
        return connection.exec_driver_sql(self._CLAIM, list(rows)).rowcount

    def change(self, connection: sa.Connection, rows: Sequence[ChangeRow]) -> int:
        """Change states."""
        return connection.exec_driver_sql(self._CHANGE, list(rows)).rowcount

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
        UPDATE capillary_earned_badge AS t SET state = v.state, earned_badge_id = coalesce(v.granted, t.earned_badge_id)
        FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[],
            %s::bigint[]) AS v(state, granted, organisation_id, customer_id, badge_id, earned_at, occurrence, batch_id)
        WHERE t.organisation_id = v.organisation_id AND t.customer_id = v.customer_id AND t.badge_id = v.badge_id
            AND t.earned_at = v.earned_at AND t.occurrence = v.occurrence AND t.batch_id = v.batch_id
            AND t.state IN ('intent', 'unknown')
    """
    _FIND = f"""
        SELECT {_HELD_COLUMNS}
        FROM unnest(CAST(:customers AS bigint[]), CAST(:badges AS bigint[]), CAST(:dates AS bigint[]))
            AS k(customer_id, badge_id, earned_at)
        JOIN capillary_earned_badge t ON t.customer_id = k.customer_id AND t.badge_id = k.badge_id
        WHERE t.organisation_id = :organisation
    """

    def claim(self, connection: sa.Connection, rows: Sequence[ClaimRow]) -> int:
        """Note intents."""
        return connection.exec_driver_sql(self._CLAIM, tuple(map(list, zip(*rows, strict=True)))).rowcount

    def change(self, connection: sa.Connection, rows: Sequence[ChangeRow]) -> int:
        """Change states."""
        return connection.exec_driver_sql(self._CHANGE, tuple(map(list, zip(*rows, strict=True)))).rowcount

    def find(
        self, connection: sa.Connection, keys: Sequence[Key], *, any_date: bool, **values: Any
    ) -> Sequence[sa.Row[Any]]:
        """Find what is held."""
        customers, badges, dates = (list(column) for column in zip(*keys, strict=True))
        statement = self._FIND + ("" if any_date else " AND t.earned_at = k.earned_at")
        values |= {"customers": customers, "badges": badges, "dates": dates}
        return connection.execute(sa.text(statement), values).all()


def bulk_for(dialect: str) -> Bulk:
    """The statements for a database."""
    return SqliteBulk() if dialect == "sqlite" else PostgresBulk()
