"""The settings of a simulated Capillary cluster: credentials, badges, customers, and how it answers."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from airflow_provider_capillary.simulator.request_rows import Timestamps


@dataclass(frozen=True, slots=True)
class SimulatedBadge:
    """A badge of the organisation, as its catalogue (``badgeMeta``) lists it."""

    id: str  #: 24 hexadecimal digits, ``badgeMetaId`` in requests
    name: str = ""


#: The badges of the published samples, so that the samples work as they are printed.
DOCUMENTED_BADGES = (
    SimulatedBadge("654e08f2041fd452b3ef5b2e", "Sample badge of the older page"),
    SimulatedBadge("696f0fd40772ad476ecf74ac", "First sample badge"),
    SimulatedBadge("697a16140772ad476ecfe51c", "Second sample badge"),
)


def numbered_badges(count: int) -> tuple[SimulatedBadge, ...]:
    """``count`` badges with ids that are the same every time, the first ending in ``000001``."""
    return tuple(SimulatedBadge(f"5eed0000bad9e0000{number:07x}", f"Badge {number}") for number in range(1, count + 1))


def catalogue(badges: int | Iterable[SimulatedBadge | str | Mapping[str, Any]]) -> tuple[SimulatedBadge, ...]:
    """A catalogue: so many numbered badges, or those of a list of ids or ``{"id", "name"}`` objects."""
    if isinstance(badges, int):
        return numbered_badges(badges)
    return tuple(_as_badge(badge) for badge in badges)


def _as_badge(badge: SimulatedBadge | str | Mapping[str, Any]) -> SimulatedBadge:
    if isinstance(badge, SimulatedBadge):
        return badge
    if isinstance(badge, str):
        return SimulatedBadge(badge)
    return SimulatedBadge(str(badge["id"]), str(badge.get("name", "")))


def read_catalogue(text: str) -> tuple[SimulatedBadge, ...]:
    """A catalogue from a command line's argument: a number, or the path of a JSON file for :func:`catalogue`."""
    return catalogue(int(text) if text.isdigit() else json.loads(Path(text).read_text(encoding="utf-8")))


def read_customers(path: Path) -> tuple[frozenset[int], dict[tuple[str, str], int]]:
    """Customer ids, and identifiers to find them by, from a JSON list like ``[{"id": 7, "mobile": "91..."}]``."""
    customers = json.loads(path.read_text(encoding="utf-8"))
    found = {
        (name, str(value)): int(customer["id"])
        for customer in customers
        for name, value in customer.items()
        if name != "id"
    }
    return frozenset(int(customer["id"]) for customer in customers), found


class Reads(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How reads of customers' badges answer where the documentation is silent. The defaults are the best case.

    A client must grant nothing twice with any value here.
    """

    show_imports: bool = True  #: whether imported badges are counted and listed at all
    event_shift_seconds: int = 0  #: added to each earn event's instant; -19800: wall time of 5:30 h west, marked as UTC
    event_precision_seconds: int = 1  #: cut down to the minute with 60, to the day with 86400
    milliseconds: bool = False  #: numbers of instants in milliseconds
    last: Literal["latest", "posted"] = (
        "latest"  #: what ``lastEarnEventDate`` is: the latest event, or the one sent last
    )
    echo_customer: bool = False  #: whether a read of one badge names its customer; no published sample does

    def __post_init__(self) -> None:
        if self.event_precision_seconds < 1:
            raise ValueError("event_precision_seconds counts from 1")


def read_reads(text: str) -> Reads:
    """Reads from JSON such as ``{"show_imports": false}``.

    :raises ValueError: a name or a value is wrong.
    """
    try:
        return msgspec.json.decode(text, type=Reads)
    except msgspec.DecodeError as error:
        raise ValueError(f"reads: {error}") from error


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings:
    """The settings of a simulator. None of them changes while it runs.

    The defaults follow the API's documentation. What it leaves open, or contradicts, is a setting, so that a client can
    be tried with either.
    """

    username: str = "simulated.till"
    password: str = "simulated-password"  #: plain; on the wire it travels as its MD5, in hexadecimal
    oauth_key: str = "simulated-key"
    oauth_secret: str = "simulated-secret"
    token_ttl_seconds: int = 300
    badges: tuple[SimulatedBadge, ...] = DOCUMENTED_BADGES + numbered_badges(10)
    #: ids of the customers that exist; ``None``: every customer does
    customers: Container[int] | None = None
    #: ``(identifierName, identifierValue)`` -> customer id, for the look-up
    identifiers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    zone: str = "UTC"  #: time zone of the server: ``UTC`` as in Europe, ``Asia/Kolkata`` as in India
    methods: tuple[str, ...] = ("PUT",)  #: methods of the import; others get 405
    timestamps: Timestamps = "epoch_seconds"  #: how instants of an import are read
    unknown_badge: Literal["row", "call"] = "row"  #: 1054 refuses only its row, or the whole call
    #: 400 with code 809 for an ``X-CAP-REQUEST-ID`` that was used for an import before
    refuse_repeated_request_ids: bool = False
    earns_detail: bool = True  #: ``False``: ``earns`` stays empty, as in every published sample
    #: as ``issuals`` beside it, or as in the event ``badgeEarned``: ``earnId``, and ``earnedOn`` in milliseconds
    earns_shape: Literal["issuals", "event"] = "issuals"
    reads: Reads = field(default_factory=Reads)
    read_delay_seconds: float = 0.0  #: how long reads do not show a new grant
    latency_ms: float = 0.0  #: how long each call takes before anything happens
    keep_grants: bool = True  #: ``False``: only count them (for imports too large to remember)
    path_prefix: str = ""  #: a path before the API's own, as a gateway may have, such as ``/eu``

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"zone: {self.zone!r} is not an IANA time zone") from error
        if self.timestamps not in get_args(Timestamps):
            raise ValueError(f"timestamps: one of {', '.join(get_args(Timestamps))}, not {self.timestamps!r}")
        if not self.methods or not set(self.methods) <= {"PUT", "POST"}:
            raise ValueError(f"methods: one or both of PUT and POST, not {self.methods!r}")
