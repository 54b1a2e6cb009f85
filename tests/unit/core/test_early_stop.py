from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.early_stop import IN_A_ROW, EarlyStop
from airflow_provider_capillary.core.row_state import RowState

QUICK = settings(max_examples=25, deadline=None)

ACCEPTED, REJECTED, UNKNOWN = RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN
GOOD, REFUSED, UNPROVEN = [ACCEPTED] * 10, [REJECTED] * 10, [UNKNOWN] * 10
MIXED = [REJECTED] * 9 + [ACCEPTED]


def watch(*batches: list[RowState], canary: bool = False, stop: EarlyStop | None = None) -> list[str | None]:
    early_stop = stop or EarlyStop()
    return [early_stop.observe(set(states), rows=len(states), canary=canary, proof_failed=False) for states in batches]


def test_a_canary_failing_a_proof_stops_the_job() -> None:
    reason = EarlyStop().observe({ACCEPTED, UNKNOWN}, rows=2, canary=True, proof_failed=True)
    assert reason is not None
    assert "canary" in reason


def test_a_later_failed_proof_stops_nothing() -> None:
    assert EarlyStop().observe({ACCEPTED, UNKNOWN}, rows=2, canary=False, proof_failed=True) is None


def test_a_canary_without_reply_stops_nothing() -> None:
    assert watch([UNKNOWN], canary=True) == [None]


def test_a_fully_refused_first_batch_stops_the_job() -> None:
    assert watch(REFUSED) == ["every row of the first full batch was refused"]


def test_a_refused_canary_is_no_first_full_batch() -> None:
    stop = EarlyStop()
    assert watch([REJECTED], REFUSED, [REJECTED] * 100, canary=True, stop=stop) == [None] * 3
    assert watch(REFUSED, stop=stop) == ["every row of the first full batch was refused"]


@pytest.mark.parametrize("first", [GOOD, MIXED, UNPROVEN], ids=["accepted", "one accepted", "unknown"])
def test_only_the_first_full_batch_stops_alone(first: list[RowState]) -> None:
    assert watch(first, REFUSED) == [None, None]


def test_a_full_batch_of_one_stops_nothing() -> None:
    assert watch([REJECTED]) == [None]


def test_five_refused_batches_stop_and_not_four() -> None:
    assert watch(GOOD, *[REFUSED] * 5) == [None] * 5 + ["5 batches in a row were refused"]


@pytest.mark.parametrize("between", [GOOD, MIXED, UNPROVEN], ids=["accepted", "one accepted", "unknown"])
def test_a_batch_not_fully_refused_restarts_the_count(between: list[RowState]) -> None:
    assert watch(GOOD, *[REFUSED] * 4, between, *[REFUSED] * 4) == [None] * 10


def test_refused_canaries_count_among_the_five() -> None:
    stop = EarlyStop()
    assert watch([REJECTED], REFUSED, REFUSED, canary=True, stop=stop) == [None] * 3
    assert watch([REJECTED], [REJECTED], stop=stop) == [None, "5 batches in a row were refused"]


def test_five_unproven_batches_stop_and_not_four() -> None:
    stop = EarlyStop()
    sick = []
    for states in [UNPROVEN] * 4 + [MIXED] + [UNPROVEN] * 5:
        watch(states, stop=stop)
        sick.append(stop.server_is_sick)
    assert sick == [False] * 9 + [True]


_BATCHES = st.lists(st.lists(st.sampled_from([ACCEPTED, REJECTED, UNKNOWN]), min_size=1, max_size=3), max_size=20)


@QUICK
@given(_BATCHES)
def test_one_accepted_row_per_batch_prevents_a_stop(batches: list[list[RowState]]) -> None:
    stop = EarlyStop()
    assert not any(watch(*([*states, ACCEPTED] for states in batches), stop=stop))
    assert not stop.server_is_sick


@QUICK
@given(_BATCHES)
def test_any_five_refused_in_a_row_stop(batches: list[list[RowState]]) -> None:
    assert watch(*batches, *[[REJECTED]] * IN_A_ROW)[-1] is not None
