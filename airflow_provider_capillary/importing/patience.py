"""Calls that may be made again: reads, and revocations. Paced, and given up where the API stays away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow_provider_capillary.core.backoff import Backoff
from airflow_provider_capillary.exceptions import ApiUnavailableError, ImportInterruptedError
from airflow_provider_capillary.importing.pace import Pace
from airflow_provider_capillary.importing.stop import StopSignal

_Answer = TypeVar("_Answer")
STOPPED = "the task was told to stop; what was done is recorded, and a later try goes on from here"


class Patience:
    """Asks until it is answered. Never for an import: that must not be sent a second time."""

    def __init__(self, pace: Pace, backoff: Backoff, stop: StopSignal) -> None:
        self._pace = pace
        self._backoff = backoff
        self._stop = stop

    def ask(self, call: Callable[[], _Answer]) -> _Answer:
        """Make the call when it is its turn, and again where the API cannot be used.

        :raises ApiUnavailableError: still not after the last try.
        :raises ImportInterruptedError: told to stop before an answer came.
        """
        tries = 0
        while True:
            self._pace.wait_for_turn()
            if self._stop.requested:
                raise ImportInterruptedError(STOPPED)
            try:
                return call()
            except ApiUnavailableError as error:
                if self._backoff.exhausted(tries, asked=error.retry_after):
                    raise
                self._pace.hold_all(self._backoff.seconds(tries, error.retry_after))
                tries += 1
