"""How a job is told to stop, by whom ever: a signal, a failed proof, the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable

from airflow_provider_capillary.exceptions import CapillaryError


class StopSignal:
    """Set once, seen by all threads. Batches in flight end and are recorded; nothing new is sent."""

    def __init__(self, wait: Callable[[float], object] | None = None) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()  # a signal handler may come in while this thread holds it
        self._wait = wait or self._event.wait
        self.error: BaseException | None = None

    def request(self, error: BaseException) -> None:
        """Stop the job for this reason; the first reason counts, but an unforeseen error outranks it."""
        with self._lock:
            if self.error is None or (isinstance(self.error, CapillaryError) and not isinstance(error, CapillaryError)):
                self.error = error
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until a stop is requested."""
        if seconds > 0 and not self.requested:
            self._wait(seconds)
