"""A probe against a simulator in the same process: no sockets, no real time, so that thousands of modes are cheap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec
from requests.structures import CaseInsensitiveDict

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings, ImportMethod
from airflow_provider_capillary.client.transport import Exchange, Transport
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.probe import Probed, ProbeJob
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.messages import Request
from airflow_provider_capillary.simulator.simulator import Simulator
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings

BADGE, CUSTOMER = "5eed0000bad9e00000000001", 880_000_001
_names = itertools.count(1)


class KilledError(BaseException):
    """The process dies at this instruction."""


class Clock:
    """Epoch seconds for probe, ledger and simulator; waiting moves it on."""

    def __init__(self) -> None:
        self.seconds = 1_750_000_000.0

    def now(self) -> float:
        """Epoch seconds."""
        return self.seconds

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.seconds += seconds


class Wire:
    """Carries requests to a simulator in this process."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._ids = itertools.count(1)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, keep_back: Any = None
    ) -> Exchange:
        """Let the simulator answer; a connection that it cuts is a reply that is lost."""
        split = urlsplit(url)
        arrival = self._simulator.arrive(method, split.path, len(body or b""))
        lowered = {name.lower(): value for name, value in headers.items()}
        request_id = lowered.get("x-cap-request-id", f"{next(self._ids):032x}")
        request = Request(method, split.path, dict(parse_qsl(split.query)), lowered, body or b"", request_id)
        delivery = self._simulator.exchange(arrival, request)
        if delivery.reply is None or delivery.cut != "no":
            return Exchange(Transmission.LOST, problem="the connection was cut")
        reply = delivery.reply
        answered = cast(Mapping[str, str], CaseInsensitiveDict(reply.headers))
        return Exchange(Transmission.REPLIED, reply.status, answered, reply.content())

    def close(self) -> None:
        """Nothing to close."""


class Deaths:
    """Counts what a process does to the world outside; it dies before or after the n-th time, and does no more."""

    def __init__(self, dies_at: int | None = None, *, after: bool = False) -> None:
        self._left = dies_at
        self._after = after
        self.is_dead = False

    def step(self, work: Callable[[], Any]) -> Any:
        """Do one thing to the world outside, or die."""
        if self.is_dead:
            raise KilledError
        if self._left is None:
            return work()
        self._left -= 1
        if self._left:
            return work()
        self.is_dead = True
        if self._after:
            work()
        raise KilledError


class Mortal:
    """Anything whose calls are steps of a process that may die."""

    def __init__(self, thing: Any, deaths: Deaths, names: tuple[str, ...]) -> None:
        self._thing, self._deaths, self._names = thing, deaths, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name not in self._names:
            return found
        return lambda *args, **kwargs: self._deaths.step(lambda: found(*args, **kwargs))


WRITES = ("begin", "note_grant", "answer_grant", "finish", "open_grants")


class FirstContact:
    """An organisation with a simulator of its own, probed as often as wanted with one ledger."""

    def __init__(self, ledger: Ledger, clock: Clock, method: str = "PUT", **settings: Any) -> None:
        self.clock = clock
        self.simulator = Simulator(SimulatorSettings(**settings), clock=clock.now)
        self.ledger = ledger
        self.name = f"organisation {next(_names)}"
        self._method = ImportMethod(method)

    def probe(self, deaths: Deaths | None = None, **options: Any) -> Probed:
        """Run one probe; ``deaths`` says when its process dies."""
        deaths = deaths or Deaths()
        settings = self.simulator.settings
        client_settings = ClientSettings(
            base_url="http://simulator",
            login=settings.username,
            password=settings.password,
            import_method=self._method,
        )
        wire = cast(Transport, Mortal(Wire(self.simulator), deaths, ("send",)))

        def client_of(method: str) -> BadgeClient:
            chosen = msgspec.structs.replace(client_settings, import_method=ImportMethod(method))
            return BadgeClient(chosen, transport=wire, now=self.clock.now)

        probes = Mortal(self.ledger.probes, deaths, WRITES)
        ledger = SimpleNamespace(
            now=self.ledger.now, owner=self.ledger.owner, reserve_request=self.ledger.reserve_request, probes=probes
        )
        job = ProbeJob(
            Organisation(client_of(self._method.value), self.name),
            client_of,
            cast(Ledger, ledger),
            options.pop("customer", CUSTOMER),
            options.pop("badge", BADGE),
            by="a person",
            stop=StopSignal(self.clock.wait),
            monotonic=self.clock.now,
            jitter=lambda: 0.5,
            **options,
        )
        return job.run()

    @property
    def active(self) -> int:
        """Grants that were not revoked."""
        return self.simulator.store.summary().active

    @property
    def grants(self) -> int:
        """All grants that ever were."""
        return len(self.simulator.store)
