"""Of two clocks the one counts by which less time has passed, and a clock that was set counts for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.core.moments import Moment, least_seconds_between

NOON = 1_750_000_000.0
HOUR = 3_600.0
HERE, ELSEWHERE = "this boot", "another boot"


@pytest.mark.parametrize(
    ("then", "now", "seconds"),
    [
        pytest.param(Moment(NOON, None, HERE, 50), Moment(NOON + 5, None, HERE, 55), 5, id="both clocks agree"),
        pytest.param(Moment(NOON - HOUR, None, HERE, 50), Moment(NOON + 5, None, HERE, 55), 5, id="was an hour behind"),
        pytest.param(Moment(NOON, None, HERE, 50), Moment(NOON + HOUR, None, HERE, 55), 5, id="was put forward"),
        pytest.param(Moment(NOON + HOUR, None, HERE, 50), Moment(NOON, None, HERE, 55), 0, id="was put back"),
        pytest.param(
            Moment(NOON, None, HERE, 9e6), Moment(NOON + 5, None, HERE, 55), 0, id="two machines, one boot id"
        ),
        pytest.param(Moment(NOON, None, ELSEWHERE, 9e6), Moment(NOON + 90, None, HERE, 40), 40, id="booted since then"),
        pytest.param(Moment(NOON, None, ELSEWHERE, 9e6), Moment(NOON + 90, None, HERE, 9e6), 90, id="booted long ago"),
        pytest.param(Moment(NOON), Moment(NOON + 90, None, HERE, 40), 40, id="the boot is not known any more"),
        pytest.param(Moment(NOON), Moment(NOON + 90), 90, id="a system that does not name its boots"),
        pytest.param(Moment(NOON, 1.0, ELSEWHERE, 9), Moment(NOON + 90, 1.0, HERE, 4), 90, id="the server's clock"),
        pytest.param(Moment(NOON, 1.0, HERE, 9), Moment(NOON + HOUR, 1.0, HERE, 14), 5, id="the server's was set"),
        pytest.param(
            Moment(NOON, 1.0, ELSEWHERE, 9, NOON),
            Moment(NOON + HOUR, 1.0, HERE, 4, NOON + 5),
            5,
            id="the server's was set, seen from another machine",
        ),
        pytest.param(
            Moment(NOON, 1.0, ELSEWHERE, 9, NOON),
            Moment(NOON + 5, 1.0, HERE, 4, NOON + HOUR),
            5,
            id="the other machine's is ahead",
        ),
        pytest.param(
            Moment(NOON, 1.0, ELSEWHERE, 9, NOON),
            Moment(NOON + 5, 1.0, HERE, 4, NOON - HOUR),
            0,
            id="the other machine's is behind",
        ),
        pytest.param(
            Moment(NOON, 1.0, ELSEWHERE, 9, NOON),
            Moment(NOON + HOUR, 2.0, HERE, 4, NOON + HOUR),
            0,
            id="failover: one clock that saw both is not enough",
        ),
        pytest.param(Moment(NOON, 1.0, HERE, 9), Moment(NOON - HOUR, 2.0, HERE, 14), 5, id="failover, same machine"),
        pytest.param(Moment(NOON, 1.0, ELSEWHERE, 9), Moment(NOON + HOUR, 2.0, HERE, 14), 0, id="failover"),
    ],
)
def test_the_shorter_of_two_times_counts(then: Moment, now: Moment, seconds: float) -> None:
    assert least_seconds_between(then, now) == seconds


@given(
    passed=st.floats(0, 1e6),
    set_by=st.floats(-1e6, 1e6),
    began=st.floats(0, 1e6),
    server=st.sampled_from([None, 1.0]),
)
def test_a_set_clock_ages_nothing_on_one_boot(passed: float, set_by: float, began: float, server: float | None) -> None:
    then = Moment(NOON, server, HERE, began)
    now = Moment(NOON + passed + set_by, server, HERE, began + passed)
    assert 0 <= least_seconds_between(then, now) <= passed + 1e-6
