"""Decides when the next request may go, how many may be in flight, and when to stop asking.

``Pace.call`` is the only loop of the package that repeats a request. It is for reads and revocations, which may be
repeated; an import request is never repeated by it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from airflow_provider_capillary.core.outcome import Verdict
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    CapillaryError,
    ImportInterruptedError,
    JobIsRunningError,
    LeaseLostError,
    LedgerUnavailableError,
    LedgerUnusableError,
)
from airflow_provider_capillary.ledger.lease import Lease

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

STOPPED = "the task was asked to stop; all outcomes are recorded, and a later try goes on from here"
_SLICE_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 1.0
_QUICK_SECONDS = 1.0  # an answer within this time is quick: well below the time that an intent may wait


class StopSignal:
    """Asks a job to stop and keeps the reason. Set by the SIGTERM handler, by an early-stop rule, or after a failure.

    All threads see it. Batches in flight end and are recorded; nothing new is sent.

    A signal handler may call ``request`` between any two instructions of the main thread. So there is no lock and no
    ``threading.Event``, because the interrupted thread might hold its lock. Appending to a list needs none.

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
        """The first reason. But an error after which the job cannot be recorded outranks all others.

        Example: the API refuses a batch, then the ledger cannot be reached. The second one counts, because the rows
        that were not sent cannot be recorded.
        """
        errors = tuple(self._errors)
        unforeseen = (error for error in errors if not isinstance(error, CapillaryError))
        return next(unforeseen, next(filter(cannot_be_recorded, errors), errors[0] if errors else None))

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return bool(self._errors)

    def pause(self, seconds: float) -> None:
        """Sleep; end soon after a stop is requested."""
        if seconds > 0 and not self.requested:
            self._wait(seconds)

    def _sleep(self, seconds: float) -> None:
        # A sleep goes on after a signal handler has returned, so each sleep must be short.
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.requested:
            time.sleep(min(left, _SLICE_SECONDS))


def cannot_be_recorded(error: BaseException) -> bool:
    """Whether the job can no longer record how its rows ended: it lost its ledger, or the error is unforeseen."""
    no_ledger = (LeaseLostError, LedgerUnavailableError, LedgerUnusableError)
    return isinstance(error, no_ledger) or not isinstance(error, CapillaryError)


def once_the_lease_ran_out(
    take: Callable[[Lease | None], _Answer], stop: StopSignal, monotonic: Callable[[], float]
) -> _Answer:
    """Take a job's lease. If another process holds it, wait for it to run out and try once more.

    A dead process holds its lease a little longer. A living one renews it, and then this one gives up. If the clock was
    put back, the lease seems to hold for longer than any lease does; after the wait it counts as over.

    :param take: takes it, given the lease that was waited for.
    :param monotonic: the clock for durations, in seconds.
    :raises JobIsRunningError: the lease was renewed.
    """
    try:
        return take(None)
    except JobIsRunningError as error:
        log.info("%s; waiting for it to run out", error)
        begun, seconds = monotonic(), error.retry_after or 0.0
        stop.pause(seconds + 1.0)
        return take(error.lease if monotonic() - begun > seconds else None)


class Backoff(msgspec.Struct, frozen=True):
    """How long to wait before the same rows are sent again, and when to give up. Pure; times in seconds.

    The wait grows exponentially up to a limit, with full jitter. If the server asks for a wait, that counts instead.
    """

    random: Callable[[], float] = random.random  #: 0 <= value < 1
    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 300.0  #: if the API asks for more, the job gives up, and Airflow waits
    tries: int = 6
    deadline: float = 900.0  #: all waits for the same rows together

    def seconds(self, tries: int, asked: float | None = None) -> float:
        """The wait after ``tries`` earlier tries; ``asked``: the server's Retry-After, if it sent one."""
        if asked is not None:
            return min(max(asked, 0.0), self.longest_asked) + self.random()
        return float(self.random() * min(self.longest, self.first * 2**tries))

    def exhausted(self, tries: int, waited: float = 0.0, asked: float | None = None) -> bool:
        """Whether to give up.

        :param tries: earlier tries.
        :param waited: seconds waited between them.
        :param asked: seconds for which the API asks.
        """
        return tries + 1 >= self.tries or waited >= self.deadline or (asked or 0.0) > self.longest_asked


class AdaptiveLimit:
    """How many requests may be in flight: at first the most that is allowed, never below one. Pure, not thread-safe.

    Additive increase, multiplicative decrease: with this rule many senders share one server without coordination.
    Latencies are compared only between requests of about as many rows. Canaries and parts of a split batch are answered
    sooner, which says nothing about the server.
    """

    DECREASE = 0.7
    SLOWER_THAN_USUAL = 3.0  #: times the usual latency of a row-full request, before it counts as pressure
    SLACK_SECONDS = 0.5  #: latency below this is never pressure, however fast the server usually is
    MORE_ROWS = 2.0  #: times the rows of the usual request; with more, latencies cannot be compared
    WEIGHT = 0.1  #: of a new latency in the usual one

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._usual: float | None = None
        self._usual_rows = 0

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight."""
        return int(self._limit)

    @property
    def usual_seconds(self) -> float | None:
        """How long an answer usually takes; ``None`` before the first."""
        return self._usual

    def observe(self, seconds: float, rows: int, *, pushed_back: bool, judged: bool = True) -> bool:
        """Count an answer; give whether the limit changed.

        :param seconds: its latency.
        :param rows: of the request.
        :param pushed_back: the server asked for less.
        :param judged: the server worked on the rows, so its latency is comparable. A refusal of the whole request
            comes sooner.
        """
        before = self.limit
        if pushed_back or self._is_slow(seconds, rows):
            self._limit = max(1.0, self._limit * self.DECREASE)
        else:
            self._limit = min(self._most, self._limit + 1.0 / self._limit)
        if judged and not pushed_back:
            self._learn(seconds, rows)
        return self.limit != before

    def _is_slow(self, seconds: float, rows: int) -> bool:
        if self._usual is None or rows > self.MORE_ROWS * self._usual_rows:
            return False
        return seconds > self.SLACK_SECONDS and seconds > self.SLOWER_THAN_USUAL * self._usual

    def _learn(self, seconds: float, rows: int) -> None:
        if self._usual is None or rows > self.MORE_ROWS * self._usual_rows:
            self._usual, self._usual_rows = seconds, rows
        elif rows * self.MORE_ROWS >= self._usual_rows:
            self._usual += self.WEIGHT * (seconds - self._usual)
            self._usual_rows = max(self._usual_rows, rows)


def lanes_for(concurrency: int) -> int:
    """The number of lanes that keep so many requests in flight: half as many more, at least one more.

    The further lanes encode, and record intents and outcomes, while the others wait for replies.
    """
    return concurrency + (concurrency + 1) // 2


class Pace:
    """Decides when the next request of a job may go. All its lanes share it; thread-safe.

    :param reserve: takes one turn of the budget that all tasks on the ledger share, and gives the seconds until it
        comes; ``None``: no budget.
    :param monotonic: the clock for durations, in seconds.
    """

    def __init__(
        self,
        most_in_flight: int,
        reserve: Callable[[], float] | None,
        stop: StopSignal,
        backoff: Backoff,
        monotonic: Callable[[], float],
    ) -> None:
        self._reserve = reserve
        self._stop = stop
        self.backoff = backoff
        self._monotonic = monotonic
        self._adaptive = AdaptiveLimit(most_in_flight)
        self._at_work = self._in_flight = 0
        self._not_before = 0.0
        self._changed = threading.Condition()

    def call(self, request: Callable[[], _Answer]) -> _Answer:
        """Make a request when its turn comes, and repeat it while the API cannot be used. For repeatable requests only.

        It takes one of the places for requests in flight, as an import request does.

        :raises ApiUnavailableError: the API could not be used at the last try either.
        :raises ImportInterruptedError: the job was asked to stop before an answer came.
        """
        tries = 0
        while True:
            self.wait_for_turn()
            if self._stop.requested:
                raise ImportInterruptedError(STOPPED)
            try:
                with self.in_flight():
                    return request()
            except ApiUnavailableError as error:
                if self.backoff.exhausted(tries, asked=error.retry_after):
                    raise
                self.hold_all(self.backoff.seconds(tries, error.retry_after))
                tries += 1

    def wait_for_turn(self) -> None:
        """Wait until the budget and the server allow one more request: a read, or an import before its intent.

        Each request waits for a turn of its own, and turns are spaced over all tasks on the ledger. An import request
        leaves a little after its turn, once its intent is committed and a place in flight is free. So a few may bunch.
        An intent that conflicts, or that is taken back, has used its turn without a request.
        """
        if self._reserve is not None:
            self._stop.pause(self._reserve())
        self._stop.pause(self._not_before - self._monotonic())

    def hold_all(self, seconds: float) -> None:
        """Hold back all requests of this job for so many seconds, because the server asked for it."""
        with self._changed:
            self._not_before = max(self._not_before, self._monotonic() + seconds)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold one of the places for batches between intent and reply.

        If answers come quickly, there are more such places than requests in flight, so that none waits for the ledger.
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
        """Hold one of the places for requests in flight. A wait that the server has asked for happens in here, too."""
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
        """Adapt the number in flight to an answer: fewer if the server is under pressure, else more."""
        pushed_back = verdict is Verdict.RETRY_LATER or status == 503
        with self._changed:
            judged = verdict is Verdict.PER_ROW
            if self._adaptive.observe(seconds, rows, pushed_back=pushed_back, judged=judged):
                log.info("Requests in flight: at most %d from now on", self._adaptive.limit)
                self._changed.notify_all()
