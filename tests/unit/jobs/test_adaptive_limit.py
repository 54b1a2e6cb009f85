"""How many requests may be in flight: additive up, multiplicative down."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.jobs.pacing import AdaptiveLimit

ROWS = 500


def row_by_row(rows: int, *, pressure: float = 1.0) -> float:
    """The latency of a server that takes 2 ms for each row."""
    return pressure * (0.1 + 0.002 * rows)


def test_it_starts_at_the_most_that_is_allowed() -> None:
    assert AdaptiveLimit(16).limit == 16


def test_a_server_asking_for_less_gets_it() -> None:
    adaptive = AdaptiveLimit(10)
    assert adaptive.observe(0.1, ROWS, pushed_back=True)
    assert adaptive.limit == int(10 * AdaptiveLimit.DECREASE)


def test_the_limit_grows_by_one_per_round() -> None:
    adaptive = AdaptiveLimit(10)
    for _ in range(20):
        adaptive.observe(0.1, ROWS, pushed_back=True)
    assert adaptive.limit == 1
    answers = 0
    while adaptive.limit < 5:
        adaptive.observe(0.1, ROWS, pushed_back=False)
        answers += 1
    assert 1 + 2 + 3 + 4 <= answers + 4 <= 20


def test_latency_far_above_the_usual_counts_as_pressure() -> None:
    adaptive = AdaptiveLimit(8)
    for _ in range(50):
        adaptive.observe(0.3, ROWS, pushed_back=False)
    assert adaptive.limit == 8
    assert adaptive.observe(2.0, ROWS, pushed_back=False)
    assert adaptive.limit < 8


def test_quick_answers_are_never_pressure() -> None:
    adaptive = AdaptiveLimit(8)
    for _ in range(50):
        adaptive.observe(0.01, ROWS, pushed_back=False)
    assert not adaptive.observe(0.4, ROWS, pushed_back=False)
    assert adaptive.limit == 8


@pytest.mark.parametrize(
    "sizes",
    [
        [1, 10, 100, *[500] * 50],
        [*[500] * 20, 250, 125, 62, 31, 1, 1, *[500] * 20],
        [1, 10, 100, *[50] * 20, *[500] * 20, 3],
        [100, *[500] * 5, 7, 400, 260, 500],
    ],
    ids=["canaries", "a batch that is split", "small ones first", "what is left in the lanes"],
)
def test_sizes_of_requests_are_never_taken_for_pressure(sizes: list[int]) -> None:
    adaptive = AdaptiveLimit(4)
    for rows in sizes:
        adaptive.observe(row_by_row(rows), rows, pushed_back=False)
        assert adaptive.limit == 4


@pytest.mark.parametrize("before", [[1, 10, 100], [500, 250, 1, 1, 1], []])
def test_pressure_shows_beside_requests_of_other_sizes(before: list[int]) -> None:
    adaptive = AdaptiveLimit(4)
    for rows in [*before, *[500] * 3]:
        adaptive.observe(row_by_row(rows), rows, pushed_back=False)
    assert adaptive.observe(row_by_row(500, pressure=3.5), 500, pushed_back=False)
    assert adaptive.limit == 2
    small = AdaptiveLimit(4)
    small.observe(row_by_row(500), 500, pushed_back=False)
    assert small.observe(4.0, 10, pushed_back=False)  # fewer rows excuse nothing


def test_a_quick_refusal_makes_no_other_slow() -> None:
    adaptive = AdaptiveLimit(4)
    for _ in range(20):
        adaptive.observe(0.02, 500, pushed_back=False, judged=False)
        adaptive.observe(row_by_row(250), 250, pushed_back=False)
        assert adaptive.limit == 4


@settings(deadline=None)
@given(st.integers(1, 64), st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000), st.booleans()), max_size=200))
def test_it_never_leaves_one_to_most(most: int, answers: list[tuple[float, int, bool]]) -> None:
    adaptive = AdaptiveLimit(most)
    for seconds, rows, pushed_back in answers:
        adaptive.observe(seconds, rows, pushed_back=pushed_back)
        assert 1 <= adaptive.limit <= most
