"""What a row that was granted elsewhere means, and which columns say so."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.seeding import SeedPlan, SeedReader, plan_seed, seed_choices
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

BADGE = "654e08f2041fd452b3ef5b2e"
EARNED = 1_736_942_400
NAMES = ["badgeMetaId", "customerId", "earnEventDate"]


@pytest.mark.parametrize(
    ("state", "alive", "plan"),
    [
        (None, False, SeedPlan.NOTE),
        (RowState.PLANNED, False, SeedPlan.NOTE),
        (RowState.PLANNED, True, SeedPlan.NOTE),
        (RowState.REJECTED, False, SeedPlan.NOTE),
        (RowState.REJECTED, True, SeedPlan.NOTE),
        (RowState.UNKNOWN, False, SeedPlan.SETTLE),
        (RowState.INTENT, False, SeedPlan.SETTLE),
        (RowState.UNKNOWN, True, SeedPlan.IN_FLIGHT),
        (RowState.INTENT, True, SeedPlan.IN_FLIGHT),
        (RowState.ACCEPTED, False, SeedPlan.HELD),
        (RowState.ACCEPTED, True, SeedPlan.HELD),
        (RowState.REVOKED, False, SeedPlan.HELD),
    ],
)
def test_what_becomes_of_a_row_by_its_state(state: RowState | None, alive: bool, plan: SeedPlan) -> None:
    assert plan_seed(state, job_is_alive=alive) is plan


@pytest.mark.parametrize("name", ["earnedBadgeId", "earned_badge_id", "earnId", "earn_id", "EARNID"])
def test_an_id_is_found_under_export_names(name: str) -> None:
    assert seed_choices(None).resolve([*NAMES, name, "earnExpiresOn"]).earned_badge_id == name


def test_neither_id_nor_expiry_need_be_there() -> None:
    columns = seed_choices({"earnExpiresOn": "gone"}).resolve(NAMES)
    assert columns.earned_badge_id is None
    assert columns.earned_at == "earnEventDate"


@pytest.mark.parametrize(
    ("mapping", "found", "named"),
    [
        (None, ["badgeMetaId", "customerId", "earnedOn"], "earnEventDate"),
        ({"earnedBadgeId": "uid"}, NAMES, "uid"),
        (None, [*NAMES, "earnId", "earnedBadgeId"], "'earnedBadgeId', 'earnId'"),
        (None, [*NAMES, "customer_id"], "'customer_id'"),
    ],
)
def test_columns_that_lack_or_compete_are_named(mapping: dict[str, str] | None, found: list[str], named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        seed_choices(mapping).resolve(found)


def test_a_mapping_of_unknown_fields_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="earnDate"):
        seed_choices({"earnDate": "x"})


def read(ids: list[Any], **columns: list[Any]) -> Any:
    reader = SeedReader(seed_choices(None).resolve([*NAMES, "earnId"]), None, "s")
    rows = len(ids)
    return reader.read(
        1,
        columns.get("badges", [BADGE] * rows),
        columns.get("customers", list(range(1, rows + 1))),
        columns.get("earned", [EARNED] * rows),
        (),
        ids,
    )


@pytest.mark.parametrize("ids", [["a1", "b2"], ["a1", None], ["", " b2 "], [17, "b2"], [None, None]])
def test_exact_ids_are_kept_and_missing_ones_allowed(ids: list[Any]) -> None:
    badges, kept, invalid = read(ids)
    assert len(badges) == 2
    assert not invalid
    assert kept == [None if one in (None, "") else str(one).strip() for one in ids]


@pytest.mark.parametrize("value", ["x" * 101, "a\nb", 1.5, True, ["a"]])
def test_a_value_that_is_no_id_is_invalid(value: Any) -> None:
    badges, kept, invalid = read(["a1", value])
    assert (len(badges), kept, len(invalid)) == (1, ["a1"], 1)
    assert invalid[0].message.startswith("earnId ")


def test_every_fault_but_the_expirys_is_named() -> None:
    _, _, invalid = read(["a\tb"], customers=[0], earned=[None])
    assert [fault.column for fault in invalid[0].faults] == ["customerId", "earnEventDate", "earnId"]


def test_the_latest_instant_needs_no_expiry() -> None:
    badges, _, invalid = read(["a1"], earned=[4_102_444_798])
    assert not invalid
    assert badges[0].expires_at == 0
