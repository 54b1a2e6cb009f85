from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.budget import IN_A_ROW, EarlyStop, parse_budget
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ConfigurationError

QUICK = settings(max_examples=25, deadline=None)
ACCEPTED, REJECTED, UNKNOWN = RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN
GOOD, REFUSED, UNPROVEN = [ACCEPTED] * 10, [REJECTED] * 10, [UNKNOWN] * 10
MIXED = [REJECTED] * 9 + [ACCEPTED]


@pytest.mark.parametrize("value", [5, "5", " 5 "])
def test_a_count_is_an_exact_limit(value: int | str) -> None:
    budget = parse_budget("max_rejected", value)
    for rows_read in (5, 6, 1_000_000):
        assert not budget.exceeded(5, rows_read)
        assert budget.exceeded(6, rows_read)


@pytest.mark.parametrize("value", [0, "0", "0%", "0.0%"])
def test_a_budget_of_nothing_allows_nothing(value: int | str) -> None:
    budget = parse_budget("max_unknown", value)
    assert not budget.exceeded(0, 0)
    assert not budget.exceeded(0, 100)
    assert budget.exceeded(1, 1_000_000)


def test_no_rows_do_not_exceed_a_share() -> None:
    assert not parse_budget("max_rejected", "5%").exceeded(0, 0)


@pytest.mark.parametrize("value", ["100%", "100.0 %"])
def test_a_share_of_all_is_never_exceeded(value: str) -> None:
    assert not parse_budget("max_rejected", value).exceeded(7, 7)


@QUICK
@given(percent=st.integers(0, 100), hundreds=st.integers(1, 10_000))
@example(percent=29, hundreds=1)
@example(percent=57, hundreds=1)
@example(percent=7, hundreds=1)
def test_a_share_is_an_exact_part(percent: int, hundreds: int) -> None:
    budget = parse_budget("max_rejected", f"{percent}%")
    assert not budget.exceeded(percent * hundreds, 100 * hundreds)
    assert budget.exceeded(percent * hundreds + 1, 100 * hundreds)


@QUICK
@given(st.integers(0, 1000), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_share_with_a_decimal_is_as_exact(per_mille: int, rows: int, rows_read: int) -> None:
    budget = parse_budget("max_rejected", f"{per_mille // 10}.{per_mille % 10}%")
    assert budget.exceeded(rows, rows_read) == (rows > Fraction(per_mille, 1000) * rows_read)


@pytest.mark.parametrize(
    "value",
    [
        5.0,
        0.05,
        float("nan"),
        True,
        False,
        -1,
        "-1",
        "-5%",
        "101%",
        "nan%",
        "inf%",
        "-inf%",
        "%",
        "",
        " ",
        "5.5",
        "0.05",
        "five",
        "5%%",
        "%5",
        "5 rows",
        None,
        [5],
    ],
    ids=repr,
)
def test_a_wrong_budget_is_refused_with_advice(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_rejected is .*; it may be a number of rows .* or a share"):
        parse_budget("max_rejected", value)


@pytest.mark.parametrize(("value", "text"), [(100, "100"), (" 5% ", "5%")])
def test_a_budget_is_shown_as_written(value: int | str, text: str) -> None:
    assert parse_budget("max_rejected", value).text == text


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
