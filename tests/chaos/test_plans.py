from __future__ import annotations

import msgspec
import pytest

from airflow_provider_capillary.simulator.fault_plan import (
    AnyFault,
    DropFault,
    EchoFault,
    HangFault,
    RowErrorFault,
    StatusFault,
)
from dev.chaos.dataset import rows_of
from dev.chaos.fault_choice import CLIENT_TIMEOUT, choose_faults
from dev.chaos.plans import CALLS, MOMENTS, VERIFY_AFTER, Plan, make_plan

SEEDS = range(1, 201)
#: What the table of outcomes takes for a proof that nothing was applied.
NOT_APPLIED = {401, 403, 404, 405, 409, 413, 415, 429}


def plan_of(seed: int) -> Plan:
    return make_plan(seed, rows_of(seed, 100), 5)


def all_faults() -> list[AnyFault]:
    return [fault for seed in SEEDS for fault in choose_faults(seed, [7]).faults]


@pytest.mark.parametrize("seed", [1, 2, 99])
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    assert rows_of(seed, 300) == rows_of(seed, 300)
    assert msgspec.json.encode(plan_of(seed)) == msgspec.json.encode(plan_of(seed))


def test_other_seeds_give_other_plans() -> None:
    assert len({msgspec.json.encode(plan_of(seed)) for seed in SEEDS}) == len(SEEDS)


def test_every_kind_of_fault_is_in_some_plan() -> None:
    faults = all_faults()
    kinds = {type(fault).__struct_config__.tag for fault in faults}
    tags = {fault.__struct_config__.tag for fault in AnyFault.__args__}
    assert kinds == tags
    drops = {fault.at for fault in faults if isinstance(fault, DropFault)}
    assert drops == {"before_reading", "after_reading", "after_applying", "mid_reply", "late"}
    assert {f.when for f in faults if isinstance(f, (StatusFault, HangFault))} == {"before", "after", "late"}
    shares = {fault.applied_share for fault in faults if isinstance(fault, (StatusFault, HangFault, DropFault))}
    assert shares == {0.5, 1.0}
    assert {fault.operation for fault in faults} == {"import", "customer_badge", "badge", "token", "any"}


def test_no_plan_holds_what_no_sender_can_survive() -> None:
    for fault in all_faults():
        late_by = getattr(fault, "late_by", None)
        assert late_by is None or late_by + CLIENT_TIMEOUT < VERIFY_AFTER
        if isinstance(fault, (StatusFault, HangFault, DropFault)) and "late" in (
            getattr(fault, "when", ""),
            getattr(fault, "at", ""),
        ):
            assert late_by is not None
        if isinstance(fault, StatusFault) and (fault.status in NOT_APPLIED or fault.code in (400, 1060)):
            assert fault.when == "before"
        assert not (isinstance(fault, EchoFault) and fault.field == "thousandfold")
        assert not (isinstance(fault, RowErrorFault) and fault.code not in (521, 1026))


def test_plans_cover_every_crash_point_and_start() -> None:
    steps = [step for seed in SEEDS for step in plan_of(seed).steps]
    ends = [end for step in steps for _, end in step.copies]
    assert {(end.call, end.moment) for end in ends if end.call} == {(call, when) for call in CALLS for when in MOMENTS}
    assert any(end.kill_after for end in ends)
    assert any(end.stop_after for end in ends)
    copies = [[scope for scope, _ in step.copies] for step in steps]
    assert any(len(scopes) == 2 and scopes[0] == scopes[1] for scopes in copies)
    assert any(len(scopes) == 2 and scopes[0] != scopes[1] for scopes in copies)
    assert len({scope.max_tries for scopes in copies for scope in scopes}) > 1
    assert len({scope.run_id for scopes in copies for scope in scopes}) > 1
