"""Wraps ledger and API so that the process dies before or after a chosen call."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_capillary.ledger.facts import Adoption, Intent, Note, Outcome

from .plans import End

_Result = TypeVar("_Result")


class CrashPoints:
    """Counts calls, and ends (or stops) this process at the one that is wanted, as a power cut (or a suspension) would.

    :param paused: a file that is made just before the process is stopped.
    """

    def __init__(self, end: End, paused: Path) -> None:
        self._end = end
        self._paused = paused
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def around(self, call: str, do: Callable[[], _Result]) -> _Result:
        """Do it, unless death comes first."""
        self._passed(call, "before")
        result = do()
        self._passed(call, "after")
        return result

    def _passed(self, call: str, moment: str) -> None:
        with self._lock:
            self._counts[call, moment] += 1
            if (call, moment, self._counts[call, moment]) != (self._end.call, self._end.moment, self._end.number):
                return
        if not self._end.pause:
            os.kill(os.getpid(), signal.SIGKILL)
        self._paused.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.5)  # another thread may take the signal, a moment later: this one must not go on until then


class CrashingLedger:
    """A ledger; what is not named here goes through as it is."""

    def __init__(self, ledger: Any, points: CrashPoints) -> None:
        self._ledger = ledger
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def open_job(self, *args: Any, **kwargs: Any) -> Any:
        """Open a job; the process may die on either side of it."""
        return self._points.around("open_job", lambda: self._ledger.open_job(*args, **kwargs))

    def find(self, *args: Any, **kwargs: Any) -> Any:
        """Look rows up; the process may die on either side of it."""
        return self._points.around("find", lambda: self._ledger.find(*args, **kwargs))

    def finish_job(self, *args: Any, **kwargs: Any) -> Any:
        """Finish a job; the process may die on either side of it."""
        return self._points.around("finish_job", lambda: self._ledger.finish_job(*args, **kwargs))

    def record(self, job: Any, notes: Sequence[Note]) -> list[int]:
        """Commit notes; the process may die before and after each kind of note."""

        def commit() -> list[int]:
            keys: list[int] = self._ledger.record(job, notes)
            return keys

        # notes that came together are committed together: each of their kinds is a reason to die around it
        for kind, name in ((Intent, "intent"), (Outcome, "outcome"), (Adoption, "adoption")):
            if any(isinstance(note, kind) for note in notes):
                return self._points.around(name, commit)
        return self._points.around("issues", commit)


class CrashingClient:
    """A client; what is not named here goes through as it is."""

    def __init__(self, client: Any, points: CrashPoints) -> None:
        self._client = client
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def import_badges(self, *args: Any, **kwargs: Any) -> Any:
        """Send a batch; the process may die on either side of it."""
        return self._points.around("send", lambda: self._client.import_badges(*args, **kwargs))

    def get_customer_badge(self, *args: Any, **kwargs: Any) -> Any:
        """Read a badge; the process may die on either side of it."""
        return self._points.around("view", lambda: self._client.get_customer_badge(*args, **kwargs))
