"""How many requests may be in flight: additive up, multiplicative down."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.adaptive_limit import DECREASE, AdaptiveLimit


def test_it_starts_at_the_most_that_is_allowed() -> None:
    assert AdaptiveLimit(16).limit == 16


def test_a_server_that_asks_for_less_gets_much_less_at_once() -> None:
    adaptive = AdaptiveLimit(10)
    assert adaptive.observe(0.1, pushed_back=True)
    assert adaptive.limit == int(10 * DECREASE)


def test_it_comes_back_by_about_one_for_as_many_good_answers_as_are_in_flight() -> None:
    adaptive = AdaptiveLimit(10)
    for _ in range(20):
        adaptive.observe(0.1, pushed_back=True)
    assert adaptive.limit == 1
    answers = 0
    while adaptive.limit < 5:
        adaptive.observe(0.1, pushed_back=False)
        answers += 1
    assert 1 + 2 + 3 + 4 <= answers + 4 <= 20


def test_latency_far_above_the_usual_counts_as_pressure() -> None:
    adaptive = AdaptiveLimit(8)
    for _ in range(50):
        adaptive.observe(0.3, pushed_back=False)
    assert adaptive.limit == 8
    assert adaptive.observe(2.0, pushed_back=False)
    assert adaptive.limit < 8


def test_quick_answers_are_never_pressure_however_quick_the_usual_ones_are() -> None:
    adaptive = AdaptiveLimit(8)
    for _ in range(50):
        adaptive.observe(0.01, pushed_back=False)
    assert not adaptive.observe(0.4, pushed_back=False)
    assert adaptive.limit == 8


@settings(deadline=None)
@given(st.integers(1, 64), st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=200))
def test_it_never_leaves_one_to_most(most: int, answers: list[tuple[float, bool]]) -> None:
    adaptive = AdaptiveLimit(most)
    for seconds, pushed_back in answers:
        adaptive.observe(seconds, pushed_back=pushed_back)
        assert 1 <= adaptive.limit <= most
