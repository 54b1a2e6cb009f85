"""Sixteen imports of one organisation are at work at the same time, each in a process of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.routing import IMPORT

from .conftest import SECONDS, Drill

PARTS, ROWS = 16, 2
pytestmark = pytest.mark.timeout(400)  # Airflow starts with the first of them


def meet(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no import have an answer before all have asked: each has one request in flight at most."""
    simulator, barrier = drill.simulator.simulator, threading.Barrier(PARTS)
    arrive = simulator.arrive

    def arrive_together(method: str, path: str, size: int) -> Any:
        arrival = arrive(method, path, size)
        if arrival.call.operation == IMPORT and not met.is_set():
            barrier.wait(SECONDS)
            met.set()
        return arrival

    met = threading.Event()
    monkeypatch.setattr(simulator, "arrive", arrive_together)


def test_sixteen_imports_at_once_are_all_in_the_witness(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    drill.env["AIRFLOW_CONN_CAPILLARY_DEFAULT"] = drill.simulator.airflow_connection(
        organisation=drill.organisation, timeout=SECONDS
    )
    shared = drill.add_ledger("shared")
    drill.imported(drill.dataset(ROWS), shared)  # Airflow has the DAG, which sixteen would note at the same time
    meet(drill, monkeypatch)
    began = time.monotonic()
    running = [drill.begun(drill.dataset(ROWS, 1 + ROWS * part), shared) for part in range(1, PARTS + 1)]
    tries = [drill.succeeded(one).states["import_badges"] for one in running]
    minutes = int((time.monotonic() - began) // 60)

    assert tries == [["success", 1]] * PARTS
    assert drill.grants() == Counter(range(1, ROWS * (PARTS + 1) + 1))
    noted = drill.witness.read().jobs
    with closing(Ledger(drill.url_of(shared))) as ledger:
        assert set(noted) == {job.job_id for job in ledger.jobs()}
        commits = ledger.state(noted).commits
    assert len(noted) == PARTS + 1
    assert all(0 < count <= commits[job] for job, count in noted.items())
    assert 2 * (PARTS + 1) <= drill.witness.writes() <= 2 * (PARTS + 1) + PARTS * minutes
