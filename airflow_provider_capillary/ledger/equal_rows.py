"""Counts equal rows on disk, so that memory stays flat however many rows there are: those of a dataset, of an export.

Each counter is a database without a name, in a file that is gone with the process however it ends. It is not durable on
purpose, because it can be counted again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges

_COUNT = """
    INSERT INTO seen (customer_id, badge_meta_id, earned_at, rows) VALUES (?, ?, ?, 1)
    ON CONFLICT DO UPDATE SET rows = rows + 1 RETURNING rows
"""
_TABLES = """
    PRAGMA temp_store=FILE; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;
    CREATE TABLE first (customer INTEGER, badge TEXT, earned INTEGER, id TEXT,
        PRIMARY KEY (customer, badge, earned)) WITHOUT ROWID;
    CREATE TABLE further (customer INTEGER, badge TEXT, earned INTEGER, id TEXT, occurrence INTEGER,
        PRIMARY KEY (customer, badge, earned, id)) WITHOUT ROWID;
"""
_FIRST = "INSERT OR IGNORE INTO first VALUES (?, ?, ?, ?)"
_FIRST_ID = "SELECT id FROM first WHERE customer = ? AND badge = ? AND earned = ?"
_FURTHER = """
    INSERT OR IGNORE INTO further SELECT ?1, ?2, ?3, ?4, 2 + count(*) FROM further
    WHERE customer = ?1 AND badge = ?2 AND earned = ?3 RETURNING occurrence
"""


class OccurrenceCounter:
    """Counts how often each identity was seen in a dataset."""

    def __init__(self, *, any_date: bool = False) -> None:
        self._any_date = any_date
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.executescript("PRAGMA temp_store=FILE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
        self._database.execute(
            "CREATE TABLE seen (customer_id INTEGER, badge_meta_id TEXT, earned_at INTEGER, rows INTEGER,"
            " PRIMARY KEY (customer_id, badge_meta_id, earned_at)) WITHOUT ROWID"
        )

    def count(self, badges: Sequence[EarnedBadge]) -> list[int]:
        """How often each row's identity was seen so far, this time included."""
        return [
            self._database.execute(
                _COUNT, (badge.customer_id, badge.badge_meta_id, 0 if self._any_date else badge.earned_at)
            ).fetchone()[0]
            for badge in badges
        ]

    def close(self) -> None:
        """Forget the counts, and give the disk back."""
        self._database.close()


class RepeatedRows:
    """Numbers equal rows with different ids, and finds those that only say again what an earlier one said.

    Two equal rows with two ids are two grants: the second is occurrence 2, so that the ledger counts as many as the
    API does. A row without an id, or with the id of an earlier one, adds nothing.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)

    def number(self, badges: EarnedBadges, ids: Sequence[str | None]) -> list[int]:
        """Give the occurrence of each row, from 1; 0 for a row that repeats another one."""
        rows = list(zip(badges.customer_ids, badges.badge_meta_ids, badges.earned_at, ids, strict=True))
        self._database.execute("BEGIN")
        found = self._database.executemany(_FIRST, rows)
        if found.rowcount == len(rows):  # as nearly always
            self._database.execute("COMMIT")
            return [1] * len(rows)
        self._database.execute("ROLLBACK")
        return [self._occurrence(row) for row in rows]

    def close(self) -> None:
        """Give the disk back."""
        self._database.close()

    def _occurrence(self, row: tuple[int, str, int, str | None]) -> int:
        if self._database.execute(_FIRST, row).rowcount:
            return 1
        (first,) = self._database.execute(_FIRST_ID, row[:3]).fetchone()
        if row[3] is None or first is None or row[3] == first:
            return 0
        further = self._database.execute(_FURTHER, row).fetchone()
        return 0 if further is None else int(further[0])
