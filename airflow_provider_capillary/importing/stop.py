"""Asks a job to stop and keeps the reason. Set by the SIGTERM handler, by an early-stop rule, after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_capillary.exceptions import CapillaryError

_SLICE_SECONDS = 0.1


class StopSignal:
    """Set once, seen by all threads. Batches in flight end and are recorded; nothing new is sent.

    A signal handler may call ``request`` between any two instructions of the main thread. So there is no lock and no
    ``threading.Event``, whose lock the interrupted thread might hold: a list that is only appended to is enough.

    :param wait: sleeps for so many seconds; may return early. By default short sleeps until a stop is requested.
    """

    def __init__(self, wait: Callable[[float], object] | None = None) -> None:
        self._errors: list[BaseException] = []
        self._wait = wait or self._sleep

    def request(self, error: BaseException) -> None:
        """Stop the job for this reason. Safe in a signal handler."""
        self._errors.append(error)

    @property
    def error(self) -> BaseException | None:
        """The reason: the first one, but an unforeseen error outranks all others."""
        errors = tuple(self._errors)
        unforeseen = (error for error in errors if not isinstance(error, CapillaryError))
        return next(unforeseen, errors[0] if errors else None)

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return bool(self._errors)

    def pause(self, seconds: float) -> None:
        """Sleep, but not much longer than until a stop is requested."""
        if seconds > 0 and not self.requested:
            self._wait(seconds)

    def _sleep(self, seconds: float) -> None:
        # A sleep that a signal interrupts goes on after the handler returned, so it must be a short one.
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.requested:
            time.sleep(min(left, _SLICE_SECONDS))
