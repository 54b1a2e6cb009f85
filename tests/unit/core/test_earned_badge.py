from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LATEST_INSTANT, EarnedBadge

BADGE = EarnedBadge(7, "654e08f2041fd452b3ef5b2e", 382_442_802, 1_674_292_011, 1_705_828_011)


@pytest.mark.parametrize("changed", [{"row_number": 8}, {"expires_at": 1_800_000_000}], ids=["row number", "expiry"])
def test_place_and_expiry_are_no_identity(changed: dict[str, Any]) -> None:
    assert msgspec.structs.replace(BADGE, **changed).identity == BADGE.identity


@pytest.mark.parametrize(
    "changed",
    [{"badge_meta_id": "0" * 24}, {"customer_id": 1}, {"earned_at": 1_674_292_012}, {"occurrence": 2}],
    ids=["badge", "customer", "earn instant", "occurrence"],
)
def test_badge_customer_instant_and_occurrence_are_identity(changed: dict[str, Any]) -> None:
    assert msgspec.structs.replace(BADGE, **changed).identity != BADGE.identity


def test_a_checked_row_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        BADGE.customer_id = 1  # type: ignore[misc]  # the point of the test


def test_instants_lie_between_2000_and_2100() -> None:
    assert datetime(2000, 1, 1, tzinfo=UTC).timestamp() == EARLIEST_INSTANT
    assert datetime(2100, 1, 1, tzinfo=UTC).timestamp() == LATEST_INSTANT
