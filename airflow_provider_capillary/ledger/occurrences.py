"""Counts equal rows of one dataset on disk, so that memory stays flat however many rows there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from airflow_provider_capillary.core.earned_badge import EarnedBadge

_COUNT = """
    INSERT INTO seen (customer_id, badge_meta_id, earned_at, rows) VALUES (?, ?, ?, 1)
    ON CONFLICT DO UPDATE SET rows = rows + 1 RETURNING rows
"""


class OccurrenceCounter:
    """A database without a name, in a file that is gone with the process however it ends.

    Not durable on purpose: it can be counted again from the dataset.
    """

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
