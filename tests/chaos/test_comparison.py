"""The oracle itself: whatever may go wrong must be seen, or a clean table proves nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.simulator.badge_store import Grant
from dev.chaos.campaign import Result
from dev.chaos.comparison import (
    Difference,
    Held,
    LedgerList,
    Rules,
    compare,
    compare_ids,
    compare_summary,
    rows_with_their_badge,
)
from dev.chaos.dataset import BADGES, Row
from dev.chaos.table import broken_expectations, table

ROW = Row(BADGES[0], "17", "1700000000", "1731536000")
INVALID = ROW._replace(customer="0", valid=False)
DATASET = [ROW, ROW, INVALID]


def grant(badge_id: str = "id-1", customer: int = 17) -> Grant:
    return Grant(customer, BADGES[0], badge_id, 1700000000, 1731536000, 1, "request_1", True)


def held(state: RowState, badge_id: str | None = None) -> Held:
    return Held(17, BADGES[0], 1700000000, state, badge_id, "request", 1.0)


def found(
    grants: list[Grant], rows: list[Held], *, reported_unsent: set[int] | None = None, **rules: bool
) -> dict[str, int]:
    difference = compare(DATASET, LedgerList(rows, reported_unsent or set(), {}), grants, Rules(**rules))
    values = {name: getattr(difference, name) for name in difference.__struct_fields__ if name != "problems"}
    assert values.pop("rows") == 3
    return {name: count for name, count in values.items() if count}


ACCEPTED = held(RowState.ACCEPTED, "id-1")


@pytest.mark.parametrize(
    ("grants", "rows", "expected"),
    [
        ([grant()], [ACCEPTED], {}),
        ([grant(), grant("id-2")], [ACCEPTED], {"twice": 1, "unreported": 1}),
        ([grant(), grant("id-2")], [msgspec.structs.replace(ACCEPTED, in_doubt=True)], {"twice": 1}),
        ([grant(), grant("id-2")], [held(RowState.REJECTED)], {"twice": 1, "denied": 1}),
        ([], [ACCEPTED], {"not_granted": 1}),
        ([grant("another")], [ACCEPTED], {"not_granted": 1}),
        ([], [], {"lost": 1}),
        ([], [held(RowState.PLANNED)], {"lost": 1}),
        ([], [held(RowState.INTENT)], {"lost": 1}),
        ([], [held(RowState.REJECTED)], {}),
        ([grant()], [held(RowState.REJECTED)], {"denied": 1}),
        ([grant()], [held(RowState.PLANNED)], {"denied": 1, "lost": 1}),
        ([], [held(RowState.UNKNOWN)], {"unknown": 1}),
        ([grant()], [held(RowState.UNKNOWN)], {"unknown": 1, "unknown_granted": 1}),
        ([grant(), grant("id-9", customer=18)], [ACCEPTED], {"unaccounted": 1}),
    ],
)
def test_every_difference_is_seen(grants: list[Grant], rows: list[Held], expected: dict[str, int]) -> None:
    assert found(grants, rows) == expected


def test_rows_reported_as_not_sent_are_not_lost() -> None:
    assert found([], [], reported_unsent={1}) == {}


def test_with_duplicates_each_row_needs_its_badge() -> None:
    assert found([grant()], [ACCEPTED], allow_duplicates=True) == {"lost": 1}
    both = [ACCEPTED, held(RowState.ACCEPTED, "id-2")]
    assert found([grant(), grant("id-2")], both, allow_duplicates=True) == {}


def summary(**counts: int) -> dict[str, Any]:
    every = dict.fromkeys(("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent"), 0)
    return {**every, "rows_read": 3, **counts}


@pytest.mark.parametrize(
    ("reported", "granted", "expected"),
    [
        (summary(accepted=1, already_accepted=1, invalid=1), 2, (0, 0, 0)),
        (summary(accepted=1, already_accepted=1, invalid=1), 0, (2, 0, 0)),
        (summary(rejected=2, invalid=1), 2, (0, 2, 0)),
        (summary(accepted=2), 2, (0, 0, 1)),
        (summary(accepted=2, rejected=1), 2, (0, 0, 1)),
    ],
)
def test_a_summary_that_says_something_else_is_seen(
    reported: dict[str, Any], granted: int, expected: tuple[int, int, int]
) -> None:
    difference = Difference()
    compare_summary(difference, reported, DATASET, granted)
    assert (difference.not_granted, difference.denied, difference.unaccounted) == expected


def test_without_duplicates_equal_rows_share_a_badge() -> None:
    assert rows_with_their_badge(DATASET, [grant()], Rules()) == 2
    assert rows_with_their_badge(DATASET, [grant()], Rules(allow_duplicates=True)) == 1


@pytest.mark.parametrize("name", ["twice", "unreported", "not_granted", "denied", "lost", "unaccounted"])
@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_only_resend_may_grant_twice(policy: str, name: str) -> None:
    result = Result(policy, 1, "sqlite", msgspec.convert({name: 1}, Difference))
    forgiven = policy == "resend" and name in ("twice", "denied")
    assert bool(broken_expectations(result)) is not forgiven


def test_the_table_has_a_line_per_policy_and_ledger() -> None:
    results = [Result("hold", seed, "sqlite", Difference(rows=1_000)) for seed in (1, 2)]
    lines = table([*results, Result("verify", 1, "postgresql", Difference(rows=500, twice=3))]).splitlines()
    assert [line.split()[0] for line in lines] == ["policy", "hold", "verify", "all"]
    assert "2,500" in lines[-1]


@pytest.mark.parametrize(
    ("answered", "ids", "lost"),
    [({"r"}, {"a", "b"}, 0), ({"r"}, {"a"}, 1), ({"r"}, set(), 2), (set(), set(), 0)],
    ids=["all kept", "one lost", "both lost", "its process died before it could record"],
)
def test_an_id_missing_from_the_ledger_is_lost(answered: set[str], ids: set[str], lost: int) -> None:
    difference = Difference()
    ledger = LedgerList([], set(), {}, frozenset(answered), frozenset(ids))
    compare_ids(difference, ledger, {"r": ["a", "b"]})
    assert difference.ids_lost == lost
    assert bool(broken_expectations(Result("verify", 1, "sqlite", difference))) == bool(lost)
