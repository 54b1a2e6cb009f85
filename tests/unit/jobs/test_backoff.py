from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.jobs.pacing import Backoff

QUICK = settings(max_examples=25, deadline=None)

CHANCE = st.floats(0, 1, exclude_max=True)
TRIES = st.integers(0, 30)
ALMOST_ONE = 1 - 2**-53


@QUICK
@given(CHANCE, TRIES)
def test_a_waits_bound_doubles_to_the_longest(chance: float, tries: int) -> None:
    waiting = Backoff(random=lambda: chance, first=2.0, longest=30.0).seconds(tries)
    assert 0 <= waiting <= min(30.0, 2.0 * 2**tries)


@pytest.mark.parametrize(("tries", "bound"), [(0, 1.0), (1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (500, 60.0)])
def test_the_jitter_is_full(tries: int, bound: float) -> None:
    assert Backoff(random=lambda: 0.0).seconds(tries) == 0.0
    assert Backoff(random=lambda: 0.5).seconds(tries) == bound / 2
    assert Backoff(random=lambda: ALMOST_ONE).seconds(tries) == pytest.approx(bound)


@QUICK
@given(CHANCE, TRIES, st.floats(0, 300))
def test_a_requested_wait_is_kept(chance: float, tries: int, asked: float) -> None:
    assert asked <= Backoff(random=lambda: chance).seconds(tries, asked) <= asked + 1


@QUICK
@given(CHANCE, TRIES, st.floats(300, allow_infinity=True))
def test_what_the_server_asks_for_is_capped(chance: float, tries: int, asked: float) -> None:
    assert 300 <= Backoff(random=lambda: chance).seconds(tries, asked) <= 301


@QUICK
@given(CHANCE, st.floats(max_value=0, allow_infinity=True))
def test_a_past_time_is_not_waited_for(chance: float, asked: float) -> None:
    assert 0 <= Backoff(random=lambda: chance).seconds(3, asked) <= 1


@pytest.mark.parametrize("allowed", [1, 2, 6])
def test_rows_are_sent_as_often_as_allowed(allowed: int) -> None:
    waiting = Backoff(random=lambda: 0.0, tries=allowed)
    sent = 1
    while not waiting.exhausted(sent - 1):
        sent += 1
    assert sent == allowed


def test_once_exhausted_it_stays_exhausted() -> None:
    waiting = Backoff(random=lambda: 0.0, tries=3)
    assert [waiting.exhausted(tries) for tries in range(5)] == [False, False, True, True, True]


@pytest.mark.parametrize(("asked", "gives_up"), [(None, False), (0.0, False), (300.0, False), (300.5, True)])
def test_too_long_a_wait_gives_up_at_once(asked: float | None, gives_up: bool) -> None:
    assert Backoff(random=lambda: 0.0).exhausted(0, asked=asked) is gives_up
