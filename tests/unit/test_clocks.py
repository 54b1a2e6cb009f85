"""The clocks that do not jump, as this machine has them."""

from __future__ import annotations

import time

import pytest

from airflow_provider_capillary import clocks


def test_the_steady_clock_ignores_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clocks.steady()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= clocks.steady() - before < 60


def test_a_boot_is_the_same_for_all_its_processes() -> None:
    first, second = clocks.boot(), clocks.boot()
    assert first is not None
    assert second is not None
    assert first.boot_id == second.boot_id
    assert first.seconds <= second.seconds <= clocks.steady()
