"""What a job does to ledger and API, watched: a clock that waiting moves on, and deaths and errors at any moment."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.wire_reads import CustomerBadge
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.exceptions import WitnessUnavailableError
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    Intent,
    Issues,
    Job,
    Note,
    Outcome,
)
from airflow_provider_capillary.ledger.ledger import Ledger

#: A job that does something more often than this goes in circles.
MOST_OF_A_MOMENT, MOST_ADOPTIONS = 1_000, 10


class KilledError(BaseException):
    """The process dies at this instruction."""


class Clock:
    """Epoch seconds for job, ledger, client and simulator; waiting moves it on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 1_750_000_000.0
        self.waits: list[float] = []
        self.set_by = 0.0
        self.meanwhile: Callable[[float], object] = lambda seconds: None  #: what happens while a job waits

    def now(self) -> float:
        with self._lock:
            return self._now

    def of_a_ledger(self) -> dict[str, Any]:
        """What a ledger is given of it."""
        return {"clock": self.now, "boot_id": lambda: "this boot", "steady": self.steady}

    def steady(self) -> float:
        """A clock beside it that is never set; both go on together."""
        return self.now() - self.set_by

    def set_to(self, seconds: float) -> None:
        """Set the time of day forward, or back."""
        self.set_by += seconds
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds

    def wait(self, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
        self.advance(seconds)
        self.meanwhile(seconds)


class Moments:
    """What a job does to ledger and API, and what is to happen then.

    ``intent``, ``outcome``, ``finding``, ``adoption``, ``issues``: before the ledger has it; with ``-done``, after
    its commit. ``send`` and ``read``: before a request leaves; ``sent`` and ``seen``: after its reply.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._actions: dict[tuple[str, int], Callable[[], object]] = {}
        self._dead = False
        self.counts: Counter[str] = Counter()

    def at(self, moment: str, action: Callable[[], object], *, number: int = 1) -> None:
        self._actions[moment, number] = action

    def die(self, moment: str, *, number: int = 1) -> None:
        self.at(moment, self._die, number=number)

    def fail(self, moment: str, error: BaseException, *, number: int = 1, times: int = 1) -> None:
        def fail() -> None:
            raise error

        for each in range(number, number + times):
            self.at(moment, fail, number=each)

    def reach(self, moment: str) -> None:
        self.survive()
        with self._lock:
            self.counts[moment] += 1
            count = self.counts[moment]
        if count > (MOST_ADOPTIONS if moment == "adoption" else MOST_OF_A_MOMENT):
            raise AssertionError(f"the job goes in circles: {moment} for the {count}th time")
        self._actions.get((moment, count), lambda: None)()

    def survive(self) -> None:
        if self._dead:
            raise KilledError

    def _die(self) -> None:
        self._dead = True
        raise KilledError


class WatchedLedger(Ledger):
    """A ledger that notes its moments. Of a dead process it takes nothing any more."""

    def __init__(self, url: str, moments: Moments, clock: Clock, **arguments: Any) -> None:
        super().__init__(url, **clock.of_a_ledger() | arguments)
        self._moments = moments

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        kinds = sorted({_kind(note) for note in notes})
        for kind in kinds:
            self._moments.reach(kind)
        keys = super().record(job, notes)
        for kind in kinds:
            self._moments.reach(f"{kind}-done")
        return keys

    def renew_lease(self, job: Job) -> None:
        self._moments.survive()
        super().renew_lease(job)

    def finish_job(self, job: Job, state: str, summary: Any) -> None:
        self._moments.survive()
        super().finish_job(job, state, summary)


def _kind(note: Note) -> str:
    if isinstance(note, Outcome):
        return "outcome" if note.verdict else "finding"
    return {Intent: "intent", Adoption: "adoption", Issues: "issues"}[type(note)]


class InFlight:
    """Which customers are in a request at this moment, and which were ever in two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._customers: Counter[int] = Counter()
        self.in_two: set[int] = set()
        self._requests = self.most = 0

    @contextlib.contextmanager
    def carrying(self, body: bytes) -> Iterator[None]:
        customers = {row["customerId"] for row in msgspec.json.decode(body)}
        with self._lock:
            self._customers.update(customers)
            self.in_two |= {customer for customer in customers if self._customers[customer] > 1}
            self._requests += 1
            self.most = max(self.most, self._requests)
        try:
            yield
        finally:
            with self._lock:
                self._customers.subtract(customers)
                self._requests -= 1


class WatchedClient(BadgeClient):
    """A client that notes its moments in a job's ``Moments``."""

    moments: Moments
    in_flight: InFlight

    def import_badges(self, body: bytes, request_id: str, keep_back: Callable[[], str | None] | None = None) -> Reply:
        self.moments.reach("send")
        with self.in_flight.carrying(body):
            reply = super().import_badges(body, request_id, keep_back)
        self.moments.reach("sent")
        return reply

    def get_customer_badge(self, customer_id: int, badge_meta_id: str) -> CustomerBadge:
        self.moments.reach("read")
        badge = super().get_customer_badge(customer_id, badge_meta_id)
        self.moments.reach("seen")
        return badge


class Memory:
    """Airflow's place for the witness.

    What is read may be another text. A write may fail, or be followed by another process' one.
    """

    def __init__(self) -> None:
        self.text: str | None = None
        self.written: list[str] = []
        self.shadow: str | None = None
        self.forgets = False
        self.failing = False
        self.then: Callable[[], None] | None = None

    def read(self) -> str | None:
        return self.text if self.shadow is None else self.shadow

    def write(self, text: str) -> None:
        if self.failing:
            raise WitnessUnavailableError("no answer")
        self.written.append(text)
        if not self.forgets:
            self.text = text
        if self.then is not None:
            then, self.then = self.then, None
            then()
