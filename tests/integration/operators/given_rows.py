"""Rows to import, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_capillary.simulator.server import RunningSimulator

BADGE = "654e08f2041fd452b3ef5b2e"
DELETED = "0123456789abcdef01234567"
EARNED = 1_736_942_400  #: 2025-01-15T12:00:00Z
ENDS = ("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")


def rows(count: int, first: int = 1, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "badgeMetaId": BADGE,
            "customerId": 9_000_000 + number,
            "earnEventDate": EARNED,
            "earnExpiresOn": EARNED + 31_536_000,
        }
        | changes
        for number in range(first, first + count)
    ]


def ends(summary: dict[str, Any]) -> dict[str, int]:
    """Where the rows ended, without the zeros."""
    return {name: summary[name] for name in ENDS if summary[name]}


def granted_twice(simulator: RunningSimulator) -> list[tuple[int, float, str]]:
    """Grants one too many, with the request of each: where there is one, the requests show how it came about."""
    grants = list(simulator.store.grants())
    times = Counter((grant.customer_id, grant.badge_meta_id, grant.earned_at) for grant in grants)
    return [
        (grant.customer_id, grant.granted_at, grant.request_id)
        for grant in grants
        if times[grant.customer_id, grant.badge_meta_id, grant.earned_at] > 1
    ]


def parquet(path: Path, given: Sequence[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(list(given)), path)
    return path.as_uri()
