"""When the next request may go: the shared budget, what the server asked for, and how many are in flight."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_capillary.core.adaptive_limit import AdaptiveLimit
from airflow_provider_capillary.core.outcome import Verdict
from airflow_provider_capillary.importing.stop import StopSignal

log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
_QUICK_SECONDS = 1.0  # of an answer: well below the time that an intent may wait before it is sent


def lanes_for(concurrency: int) -> int:
    """How many lanes keep so many requests in flight: half as many more note their intents and outcomes meanwhile."""
    return concurrency if concurrency == 1 else concurrency + (concurrency + 1) // 2


class Pace:
    """Shared by all lanes of a job.

    :param reserve: takes one request out of the budget that all tasks on the ledger share, and gives the
        seconds until its turn; ``None``: no budget.
    """

    def __init__(
        self,
        most_in_flight: int,
        reserve: Callable[[], float] | None,
        stop: StopSignal,
        monotonic: Callable[[], float],
    ) -> None:
        self._reserve = reserve
        self._stop = stop
        self._monotonic = monotonic
        self._adaptive = AdaptiveLimit(most_in_flight)
        self._at_work = self._in_flight = 0
        self._not_before = 0.0
        self._changed = threading.Condition()

    def wait_for_turn(self) -> None:
        """Wait until the budget and the server allow one more request (a read, or an import about to be noted)."""
        if self._reserve is not None:
            self._stop.pause(self._reserve())
        self._stop.pause(self._not_before - self._monotonic())

    def hold_all(self, seconds: float) -> None:
        """The server asked everybody to wait."""
        with self._changed:
            self._not_before = max(self._not_before, self._monotonic() + seconds)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold one of the places for batches between intent and reply.

        Where answers come quickly there are more of them than may be in flight, so that none waits for the ledger.
        """
        with self._changed:
            while self._at_work >= self._adaptive.limit + self._ahead() and not self._stop.requested:
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Hold one of the places for requests in flight; what the server asked for meanwhile is waited for here."""
        with self._changed:
            while self._in_flight >= self._adaptive.limit and not self._stop.requested:
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._in_flight += 1
        try:
            self._stop.pause(self._not_before - self._monotonic())
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _ahead(self) -> int:
        usual = self._adaptive.usual_seconds
        limit = self._adaptive.limit
        return lanes_for(limit) - limit if usual is not None and usual < _QUICK_SECONDS else 0

    def observe(self, seconds: float, rows: int, verdict: Verdict, status: int | None) -> None:
        """Learn from an answer: fewer in flight where the server is pressed, more where it is not."""
        pushed_back = verdict is Verdict.RETRY_LATER or status == 503
        with self._changed:
            judged = verdict is Verdict.PER_ROW
            if self._adaptive.observe(seconds, rows, pushed_back=pushed_back, judged=judged):
                log.info("Requests in flight: at most %d from now on", self._adaptive.limit)
                self._changed.notify_all()
