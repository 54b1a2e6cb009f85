"""A simulator that also notes when each import arrived and when it was applied."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from airflow_provider_capillary.simulator.fault_actions import Delivery
from airflow_provider_capillary.simulator.fault_plan import FaultPlan
from airflow_provider_capillary.simulator.import_endpoint import RefuseRow
from airflow_provider_capillary.simulator.messages import Request, SimulatedReply
from airflow_provider_capillary.simulator.routing import IMPORT
from airflow_provider_capillary.simulator.server import RunningSimulator
from airflow_provider_capillary.simulator.simulator import Arrival, Simulator
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings, numbered_badges


class WatchedSimulator(Simulator):
    """Request id -> epoch seconds; the first time counts."""

    def __init__(self, settings: SimulatorSettings) -> None:
        super().__init__(settings)
        self.arrived: dict[str, float] = {}
        self.applied: dict[str, float] = {}
        self.read: set[int] = set()  #: customers of whom a badge was read
        self._bodies = 0
        self._in_flight = 0
        self._idle = threading.Condition()

    def exchange(self, arrival: Arrival, request: Request) -> Delivery:
        """Do what a call asks for."""
        with self._idle:
            self._in_flight += 1
            self.arrived.setdefault(request.request_id, time.time())
            self._bodies += arrival.call.operation == IMPORT
            if arrival.call.operation == "customer_badge":
                self.read.add(int(arrival.params["customer_id"]))
            self._idle.notify_all()
        try:
            return super().exchange(arrival, request)
        finally:
            with self._idle:
                self._in_flight -= 1
                self._idle.notify_all()

    def answer(self, arrival: Arrival, request: Request, refuse_row: RefuseRow | None = None) -> SimulatedReply:
        """The reply, and the note when it was made; commits that come late pass here too."""
        reply = super().answer(arrival, request, refuse_row)
        if arrival.call.operation == IMPORT:
            self.applied.setdefault(request.request_id, time.time())
        return reply

    def wait_until_idle(self) -> None:
        """Wait for the calls that a dead process left here."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, timeout=10)

    def wait_for_imports(self, count: int, seconds: float) -> bool:
        """Wait until so many imports have come with their bodies; ``False`` where they did not come in time."""
        with self._idle:
            return self._idle.wait_for(lambda: self._bodies >= count, timeout=seconds)

    def imports(self) -> int:
        """How many import requests came."""
        return sum(count for name, count in self.request_counts().items() if name.endswith("/import/customerBadges"))


@contextlib.contextmanager
def watched_simulator(faults: FaultPlan | None = None, **settings: Any) -> Iterator[RunningSimulator]:
    """Run one on a free loopback port."""
    simulator = WatchedSimulator(SimulatorSettings(badges=numbered_badges(5), methods=("PUT", "POST"), **settings))
    simulator.use_faults(faults)
    running = RunningSimulator(simulator)
    try:
        yield running
    finally:
        running.stop()


def watched(running: RunningSimulator) -> WatchedSimulator:
    """What is behind it."""
    simulator = running.simulator
    if not isinstance(simulator, WatchedSimulator):
        raise TypeError("a campaign watches its simulator")
    return simulator
