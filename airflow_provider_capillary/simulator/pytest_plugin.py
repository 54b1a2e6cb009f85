"""Pytest fixtures for tests of your own DAGs: a simulator of the API on a free loopback port, one for each test.

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
    """A function that starts a simulator; all of them are stopped after the test.

    It takes the arguments of ``simulator.server.running_simulator``: ``faults`` (a list of dicts, or a ``FaultPlan``)
    and fields of ``SimulatorSettings``, such as ``zone="Asia/Kolkata"``. It returns a ``RunningSimulator``.

    :raises ValueError: a setting or a fault is wrong; the message names it.
    """
    from airflow_provider_capillary.simulator.server import running_simulator

    with contextlib.ExitStack() as stack:

        def start(*arguments: Any, **chosen: Any) -> RunningSimulator:
            return stack.enter_context(running_simulator(*arguments, **chosen))

        yield start


@pytest.fixture
def capillary_simulator(start_capillary_simulator: Callable[..., RunningSimulator]) -> RunningSimulator:
    """A ``RunningSimulator`` as the API is documented: UTC, PUT, Basic and OAuth, 13 badges, every customer exists.

    ``airflow_connection()`` gives the Connection to it, ``use_faults([...])`` sets faults, ``store`` holds the grants.
    """
    return start_capillary_simulator()
