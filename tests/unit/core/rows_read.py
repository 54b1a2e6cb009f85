"""A good row, and the ways to read rows like it."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from airflow_provider_capillary.core.column_choice import Columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.field_mapping import RowReader

COLUMNS = Columns("badge", "customer", "earned", "expires")
BADGE_ID = "654e08f2041fd452b3ef5b2e"
GOOD: dict[str, Any] = {"badge": BADGE_ID, "customer": 382_442_802, "earned": 1_674_292_011, "expires": 1_705_828_011}
EXPECTED = EarnedBadge(7, BADGE_ID, 382_442_802, 1_674_292_011, 1_705_828_011)


def read(reader: RowReader, *rows: dict[str, Any], first: int = 7) -> list[EarnedBadge | InvalidRow]:
    columns = [[row[name] for row in rows] for name in ("badge", "customer", "earned", "expires")]
    return list(reader.read(first, *columns))


def read_one(zone: tzinfo | None = None, **changed: Any) -> EarnedBadge | InvalidRow:
    (result,) = read(RowReader(COLUMNS, zone), {**GOOD, **changed})
    return result
