"""Waits for a fault in a simulator of this process, instead of looking again and again whether it has happened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from airflow_provider_capillary.simulator.fault_actions import Delivery
from airflow_provider_capillary.simulator.messages import Request
from airflow_provider_capillary.simulator.simulator import Arrival, Simulator


@contextmanager
def fault_seen(simulator: Simulator) -> Iterator[threading.Event]:
    """An event that is set once a fault of the plan has happened to a call, and the call's work is done or left."""
    seen = threading.Event()
    exchange = simulator.exchange

    def watched(arrival: Arrival, request: Request) -> Delivery:
        delivery = exchange(arrival, request)
        if any(fault["happened"] for fault in simulator.summary()["faults"]):
            seen.set()
        return delivery

    with mock.patch.object(simulator, "exchange", watched):
        yield seen
