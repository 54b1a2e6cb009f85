"""No read starts before the last moment at which a body that may leave has left."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.send_limits import STALE_INTENT_SECONDS, WRITE_SECONDS, seconds_to_wait


@settings(max_examples=50, deadline=None)
@given(asked_for=st.floats(0, STALE_INTENT_SECONDS), writing=st.floats(0, WRITE_SECONDS))
def test_a_body_that_may_leave_leaves_in_time(asked_for: float, writing: float) -> None:
    assert asked_for + writing <= seconds_to_wait(0.0, 0.0, cut_off=True)


def test_an_ended_exchange_needs_no_margin() -> None:
    assert seconds_to_wait(7.0, 60.0, cut_off=False) == 53.0
    assert seconds_to_wait(7.0, 60.0, cut_off=True) == 53.0 + STALE_INTENT_SECONDS + WRITE_SECONDS


@pytest.mark.parametrize("age", [-7_200.0, 0.0])
def test_no_clock_extends_a_wait(age: float) -> None:
    assert seconds_to_wait(age, 60.0, cut_off=False) == 60.0
    assert seconds_to_wait(1e9, 60.0, cut_off=True) == 0.0
