"""Threads that deliver: one a lane, at most one batch of a lane in flight."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from airflow_provider_capillary.importing.stop import StopSignal

_Work = TypeVar("_Work")
_WAITING = 2  # batches ready for a lane while one is in flight: enough to keep it busy, few enough to stay small


class Lanes(Generic[_Work]):
    """Work of one lane is done in the order in which it was put there."""

    def __init__(self, lanes: int, deliver: Callable[[_Work], None], stop: StopSignal) -> None:
        self._deliver = deliver
        self._stop = stop
        self._queues: list[queue.Queue[_Work | None]] = [queue.Queue(_WAITING) for _ in range(lanes)]
        self._threads = [
            threading.Thread(target=self._work, args=(waiting,), name=f"capillary-lane-{number}", daemon=True)
            for number, waiting in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: int, works: Sequence[_Work]) -> None:
        """Hand work over; wait while the lane has enough to do."""
        for work in works:
            self._queues[lane].put(work)

    def close(self) -> None:
        """Wait until all work is done."""
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, waiting: queue.Queue[_Work | None]) -> None:
        while (work := waiting.get()) is not None:
            try:
                self._deliver(work)
            except BaseException as error:  # noqa: BLE001 - the main thread raises it when all lanes are still
                self._stop.request(error)
