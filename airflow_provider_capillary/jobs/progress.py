"""Reports how far a job is while it runs: a line in the log every ten seconds, and facts for Airflow's UI."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Reason
from airflow_provider_capillary.jobs.account import Account

log = logging.getLogger(__name__)

CALM_SECONDS = 10.0
#: A job whose lanes wait for reads counts as waiting after no row has ended for so long.
STILL_SECONDS = 2.0


class ProgressLine:
    """Logs how far a job is, at most every ten seconds. Imports, reconciliations, revocations and seeds use it.

    :param monotonic: the clock for durations, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rows = 0
        self._begun = self._logged = monotonic()

    def begin(self, rows: int) -> None:
        """Begin to count the time, for so many rows."""
        self._rows = rows
        self._begun = self._logged = self._monotonic()

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return self._monotonic() - self._begun

    @property
    def is_due(self) -> bool:
        """Whether the last line is old enough for another one."""
        return self._monotonic() - self._logged >= CALM_SECONDS

    def write(self, done: int) -> None:
        """Log the line, if it is due."""
        if self.is_due:
            self._logged = self._monotonic()
            log.info("%s", line(done, self._rows, self.seconds))


class JobState(StrEnum):
    """What a job is doing."""

    CHECKING = "checking"  #: the dataset; no job is open yet
    RUNNING = "running"
    WAITING = "waiting to read back"
    FINISHED = "finished"
    FAILED = "failed"


class ProgressFacts(msgspec.Struct, frozen=True):
    """How far an import is. ``seconds``: since this try began to read; ``counts``: rows so far, for every state."""

    state: JobState
    job_id: str
    rows: int  #: of the dataset
    seconds: float
    counts: Mapping[RowState, int]
    reasons: tuple[Reason, ...]  #: the most frequent first, without the values of rows
    wait: float | None = None  #: seconds until the read that is waited for
    dry_run: bool = False

    @property
    def done(self) -> int:
        """Rows with an outcome. A row that a stopped job did not send has none; in a dry run it is checked."""
        return sum(rows for state, rows in self.counts.items() if self.dry_run or state is not RowState.NOT_SENT)

    @property
    def rate(self) -> float:
        """Rows per second, rows that an earlier try had settled included."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


Show = Callable[[ProgressFacts], object]


class Waits:
    """The waits for reads, on all threads. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[int, float] = {}

    @contextmanager
    def until(self, due: float) -> Iterator[None]:
        """Remember that this thread waits.

        :param due: until when, by the clock for durations.
        """
        thread = threading.get_ident()
        with self._lock:
            self._due[thread] = due
        try:
            yield
        finally:
            with self._lock:
                del self._due[thread]

    @property
    def first(self) -> float | None:
        """When the first of them ends, by the clock for durations."""
        with self._lock:
            return min(self._due.values(), default=None)


class Progress:
    """Logs and shows how far an import is. Only the reading thread calls ``report``, as often as it likes.

    :param show: gets the facts at the beginning, every ten seconds, when a wait begins, and once at the end. If it
        raises, a warning is logged and it is not called again, because showing a job must not stop it.
    :param beside: called every ten seconds, too.
    :param dry_run: whether nothing is sent.
    """

    def __init__(
        self,
        account: Account,
        monotonic: Callable[[], float],
        show: Show | None,
        beside: Callable[[], None] = lambda: None,
        *,
        dry_run: bool = False,
    ) -> None:
        self._account = account
        self._monotonic = monotonic
        self._line = ProgressLine(monotonic)
        self._show = harmless(show) if show else None
        self._beside = beside
        self._dry_run = dry_run
        self._waits = Waits()
        self._job_id, self._rows, self._thread = "", 0, 0
        self._done, self._still_since, self._shows_wait = 0, 0.0, False

    def begin(self, job_id: str, rows: int) -> None:
        """Show that the job is open and its rows are about to be read."""
        self._job_id, self._rows, self._thread = job_id, rows, threading.get_ident()
        self._line.begin(rows)
        self._show_facts(JobState.RUNNING)

    def report(self) -> None:
        """Log and show how far the job is, if the last report is old enough or it has just begun to wait."""
        waits = self._is_still()
        if self._line.is_due:
            facts = self._show_facts(JobState.WAITING if waits else JobState.RUNNING)
            self._line.write(facts.done)
            self._beside()
        elif waits and not self._shows_wait:
            self._show_facts(JobState.WAITING)

    @contextmanager
    def waiting(self, due: float) -> Iterator[None]:
        """Show that the job waits to read back; at once if the reading thread itself waits. Any thread may call it.

        :param due: until when, by the clock for durations.
        """
        with self._waits.until(due):
            if threading.get_ident() == self._thread:
                self._show_facts(JobState.WAITING)
            yield

    def end(self, *, well: bool) -> None:
        """Show how the job ended."""
        self._show_facts(JobState.FINISHED if well else JobState.FAILED)

    def _is_still(self) -> bool:
        """Whether lanes wait for reads, and no row has ended for a while."""
        if self._waits.first is None:
            self._still_since = 0.0
            return False
        now, done = self._monotonic(), sum(self._account.so_far()[0].values())
        if done != self._done or not self._still_since:
            self._done, self._still_since = done, now
        return now - self._still_since >= STILL_SECONDS

    def _show_facts(self, state: JobState) -> ProgressFacts:
        counts, reasons = self._account.so_far()
        due = self._waits.first if state is JobState.WAITING else None
        if due is None and state is JobState.WAITING:  # the wait has just ended
            state = JobState.RUNNING
        self._shows_wait = state is JobState.WAITING
        wait = None if due is None else max(due - self._monotonic(), 0.0)
        seconds = self._line.seconds
        facts = ProgressFacts(state, self._job_id, self._rows, seconds, counts, reasons, wait, self._dry_run)
        if self._show is not None:
            self._show(facts)
        return facts


def harmless(show: Callable[..., object]) -> Callable[..., None]:
    """Wrap ``show``: after it has raised once, log a warning and call it no more."""
    working = True

    def attempt(*arguments: object) -> None:
        nonlocal working
        if not working:
            return
        try:
            show(*arguments)
        except Exception as error:  # noqa: BLE001 - the import matters more than what is shown of it
            working = False
            log.warning("Progress is no longer shown; the import goes on: %s", type(error).__name__)

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
