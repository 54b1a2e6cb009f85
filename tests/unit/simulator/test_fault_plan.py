from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.simulator.fault_plan import Call, DropFault, FaultPlan, choose_fault, read_plan

BADGE = "654e08f2041fd452b3ef5b2e"


def call(number: int = 1, **changes: Any) -> Call:
    facts: dict[str, Any] = {
        "operation": "import",
        "method": "PUT",
        "path": "/import",
        "size": 100,
        "rows": [(7, BADGE)],
    }
    return Call(number=number, **(facts | changes))


def chosen(fault: dict[str, Any], of: Call, happened: tuple[int, ...] = ()) -> bool:
    return choose_fault(read_plan([{"kind": "status", "status": 503} | fault]), of, happened) == 0


@pytest.mark.parametrize(
    ("condition", "fits", "fits_not"),
    [
        ({}, {}, {"operation": "badge"}),
        ({"operation": "badge"}, {"operation": "badge"}, {}),
        ({"numbers": [2, 5]}, {"number": 5}, {"number": 4}),
        ({"first": 3}, {"number": 3}, {"number": 2}),
        ({"every": 3}, {"number": 4}, {"number": 3}),
        ({"first": 3, "every": 3}, {"number": 9}, {"number": 8}),
        ({"method": "POST"}, {"method": "POST"}, {"method": "PUT"}),
        ({"path": "*/import"}, {"path": "/v1/import"}, {"path": "/v1/import/other"}),
        ({"min_bytes": 200}, {"size": 200}, {"size": 199}),
        ({"min_rows": 2}, {"rows": [(7, BADGE), (8, BADGE)]}, {"rows": [(7, BADGE)]}),
        ({"customer_id": 7}, {"rows": [(6, BADGE), (7, BADGE)]}, {"rows": [(6, BADGE)]}),
        ({"badge_id": BADGE}, {"rows": [(6, BADGE)]}, {"rows": [(6, "0" * 24)]}),
        ({"customer_id": 7, "badge_id": BADGE}, {"rows": [(7, BADGE)]}, {"rows": [(7, ""), (6, BADGE)]}),
        ({"operation": "any", "customer_id": 7}, {"operation": "badge"}, {"operation": "badge", "rows": []}),
    ],
)
def test_a_fault_happens_where_all_its_conditions_hold(
    condition: dict[str, Any], fits: dict[str, Any], fits_not: dict[str, Any]
) -> None:
    assert chosen(condition, call(**fits))
    assert not chosen(condition, call(**fits_not))


def test_a_fault_happens_at_most_so_many_times() -> None:
    assert chosen({"times": 2}, call(), (1,))
    assert not chosen({"times": 2}, call(), (2,))


def test_the_first_fault_that_fits_is_the_one() -> None:
    plan = read_plan(
        [{"kind": "status", "status": 401, "numbers": [2]}, {"kind": "hang"}, {"kind": "slow", "seconds": 1}]
    )
    assert [choose_fault(plan, call(number)) for number in (1, 2, 3)] == [1, 0, 1]
    assert choose_fault(FaultPlan(), call()) is None


@given(st.integers(), st.floats(0, 1), st.integers(1, 10_000))
def test_the_choice_depends_on_plan_and_number_alone(seed: int, share: float, number: int) -> None:
    plan = {"seed": seed, "faults": [{"kind": "hang", "share": share}, {"kind": "hang", "share": share}]}
    assert choose_fault(read_plan(plan), call(number)) == choose_fault(read_plan(plan), call(number, size=5))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_is_met(share: float) -> None:
    plan = read_plan({"seed": 1, "faults": [{"kind": "hang", "share": share}]})
    happened = sum(choose_fault(plan, call(number)) == 0 for number in range(1, 2_001))
    assert abs(happened / 2_000 - share) < 0.03


def test_two_faults_of_one_plan_are_drawn_apart() -> None:
    plan = read_plan([{"kind": "hang", "share": 0.5}, {"kind": "hang", "share": 0.5}])
    counts = [sum(choose_fault(plan, call(number)) == place for number in range(1, 1_001)) for place in (0, 1)]
    assert 200 < counts[1] < 300  # half of what the first one leaves, not all or nothing of it


def test_only_early_drops_precede_the_body() -> None:
    plan = read_plan([{"kind": "hang"}, {"kind": "drop", "at": "mid_reply"}, {"kind": "drop", "at": "before_reading"}])
    assert choose_fault(plan, call(rows=None)) == 2
    looks_into_rows = read_plan([{"kind": "drop", "at": "before_reading", "customer_id": 7}])
    assert choose_fault(looks_into_rows, call(rows=None)) is None


def test_a_plan_reads_alike_in_every_form() -> None:
    plan = FaultPlan(faults=(DropFault(at="late", numbers=(1, 2)),))
    fault = {"kind": "drop", "at": "late", "numbers": [1, 2]}
    as_json = b'{"faults": [{"kind": "drop", "at": "late", "numbers": [1, 2]}]}'
    for form in (plan, as_json, {"faults": [fault]}, [fault], [DropFault(at="late", numbers=(1, 2))]):
        assert read_plan(form) == plan
    assert read_plan(None) == FaultPlan()


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"kind": "explosion"}, "explosion"),
        ({"kind": "drop"}, "at"),
        ({"kind": "drop", "at": "never"}, "never"),
        ({"kind": "status", "status": "503"}, "status"),
        ({"kind": "hang", "numbres": [1]}, "numbres"),
        ({"kind": "hang", "operation": "imprt"}, "imprt"),
        ({"kind": "hang", "every": 0}, "every"),
        ({"status": 503}, "kind"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(fault: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_plan([fault])
