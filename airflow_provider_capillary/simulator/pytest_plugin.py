"""Fixtures for the tests of a provider's user: a simulator on a free port, one for each test.

::

    def test_grants_all(capillary_simulator, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", capillary_simulator.airflow_connection())
        ...
        assert len(capillary_simulator.store) == 3
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # every pytest session loads this plugin, few use it
    from airflow_provider_capillary.simulator.server import RunningSimulator

__all__ = ["capillary_simulator", "start_capillary_simulator"]


@pytest.fixture
def start_capillary_simulator() -> Iterator[Callable[..., RunningSimulator]]:
    """Starts a simulator with the arguments of ``running_simulator``; all are stopped after the test."""
    from airflow_provider_capillary.simulator.server import running_simulator

    with contextlib.ExitStack() as stack:

        def start(*arguments: Any, **chosen: Any) -> RunningSimulator:
            return stack.enter_context(running_simulator(*arguments, **chosen))

        yield start


@pytest.fixture
def capillary_simulator(start_capillary_simulator: Callable[..., RunningSimulator]) -> RunningSimulator:
    """A simulator as documented: UTC, PUT, Basic and OAuth, 13 badges, every customer exists."""
    return start_capillary_simulator()
