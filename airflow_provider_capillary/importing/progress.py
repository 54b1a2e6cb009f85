"""How far a job is, at a calm pace: a line in the log, and facts for whoever shows them."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, Reason
from airflow_provider_capillary.importing.account import Account
from airflow_provider_capillary.importing.lanes import Lanes
from airflow_provider_capillary.importing.stop import StopSignal

log = logging.getLogger(__name__)

CALM_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 1.0
_Work = TypeVar("_Work")


class ProgressFacts(msgspec.Struct, frozen=True):
    """Where a job stands. ``seconds`` since this try began to read; ``counts`` has every state, rows so far."""

    state: Literal["running", "finished", "failed"]
    job_id: str
    rows: int  #: of the dataset
    seconds: float
    counts: Mapping[RowState, int]
    reasons: tuple[Reason, ...]  #: the most frequent first, without the values of rows

    @property
    def done(self) -> int:
        """Rows that reached their end."""
        return sum(self.counts.values())

    @property
    def rate(self) -> float:
        """Rows per second; those that an earlier try had settled count as fast ones."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


Show = Callable[[ProgressFacts], object]


class Progress:
    """Call ``tell`` as often as you like; something is told every ten seconds. On the reading thread only.

    :param show: gets the facts at the beginning, at that pace, and once at the end. Where it fails, a warning says
        so and it is not called again: what is shown of a job must not stop it.
    """

    def __init__(self, account: LiveAccount, monotonic: Callable[[], float], show: Show | None) -> None:
        self._account = account
        self._monotonic = monotonic
        self._show = harmless(show) if show else None
        self._job_id, self._rows = "", 0
        self._begun = self._told = 0.0

    def begin(self, job_id: str, rows: int) -> None:
        """Say that the job is open and its rows are about to be read."""
        self._job_id, self._rows = job_id, rows
        self._begun = self._told = self._monotonic()
        self._tell("running")

    def tell(self) -> None:
        """Say how far the job is, if that was said long enough ago."""
        now = self._monotonic()
        if now - self._told >= CALM_SECONDS:
            self._told = now
            facts = self._tell("running")
            log.info("%s", line(facts.done, facts.rows, facts.seconds))

    def end(self, *, well: bool) -> None:
        """Say how it ended."""
        self._tell("finished" if well else "failed")

    def _tell(self, state: Literal["running", "finished", "failed"]) -> ProgressFacts:
        counts, reasons = self._account.so_far()
        facts = ProgressFacts(state, self._job_id, self._rows, self._monotonic() - self._begun, counts, reasons)
        if self._show is not None:
            self._show(facts)
        return facts


class LiveAccount(Account):
    """An account that can be read while lanes still count."""

    def so_far(self) -> tuple[dict[RowState, int], tuple[Reason, ...]]:
        """Rows by the state in which they ended, and why they ended so, of one moment."""
        with self._lock:
            return {state: self._tally.rows[state] for state in FINAL_STATES}, self._tally.reasons()


class LiveLanes(Lanes[_Work]):
    """Lanes whose reading thread tells of the job's progress while it has to wait for them."""

    def __init__(self, lanes: int, deliver: Callable[[_Work], None], stop: StopSignal, progress: Progress) -> None:
        super().__init__(lanes, deliver, stop)
        self._progress = progress

    def put(self, lane: int, works: Sequence[_Work]) -> None:
        """Hand work over; wait while the lane has enough to do."""
        for work in works:
            self._put(lane, work)

    def close(self) -> None:
        """Wait until all work is done."""
        for lane in range(len(self._queues)):
            self._put(lane, None)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_LOOK_AGAIN_SECONDS)
                self._progress.tell()

    def _put(self, lane: int, work: _Work | None) -> None:
        while True:
            try:
                return self._queues[lane].put(work, timeout=_LOOK_AGAIN_SECONDS)
            except queue.Full:
                self._progress.tell()


def harmless(show: Callable[..., object]) -> Callable[..., None]:
    """Call ``show`` until it fails for the first time; then warn, once, and call it no more."""
    working = True

    def attempt(*arguments: object) -> None:
        nonlocal working
        if not working:
            return
        try:
            show(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, rows are more important than what is shown of them
            working = False
            log.warning("Progress is shown no more, the import goes on: %s", type(error).__name__)

    return attempt


def line(done: int, rows: int, seconds: float) -> str:
    """One line of progress."""
    share = f" ({done / rows:.0%})" if rows else ""
    rate = done / seconds if seconds > 0 else 0.0
    rest = f", about {_duration((rows - done) / rate)} left" if rate and rows > done else ""
    return f"{done:,} of {rows:,} rows{share}, {rate:,.0f} rows/s{rest}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
