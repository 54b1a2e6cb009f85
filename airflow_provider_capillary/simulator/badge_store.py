"""Keeps every badge that the simulator granted, so that a test can compare them with the client's own account.

Equal rows are not merged: two equal rows are two grants, as in the API's own sample. A million grants take about 100
MB, because they are kept as columns of machine numbers, with a chain from each customer's newest grant backwards.
"""

from __future__ import annotations

import random
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_provider_capillary.simulator.instants import Instant, as_number

#: position in its request (from 1), customerId, badgeMetaId, earn event date, expiry.
Earn = tuple[int, int, str, Instant, Instant]

_COUNTERS = 2**24
_ACTIVE, _REVOKED = 1, 0


class Grant(NamedTuple):
    """One badge granted to one customer. Times are epoch seconds, ``float`` only where they have a fraction."""

    customer_id: int
    badge_meta_id: str
    earned_badge_id: str
    earned_at: int | float
    expires_at: int | float
    granted_at: int  #: when the simulator processed it, by its own clock
    request_id: str  #: ``<base>_<position>``, as the reply said
    is_active: bool  #: ``False`` once revoked


class StoreSummary(NamedTuple):
    """What the store holds. Revoked grants count too: they were granted."""

    grants: int
    active: int
    distinct: int | None  #: different (customer, badge, earn event date); ``None`` if grants are only counted
    granted_twice: int | None  #: how many of those were granted more than once


class _Columns:
    """Parallel columns, one place per grant. They only grow, so readers need no lock."""

    def __init__(self) -> None:
        self.customer = array("q")
        self.badge = array("I")
        self.earned = array("q")
        self.earned_nanos = array("I")
        self.expires = array("q")
        self.expires_nanos = array("I")
        self.granted = array("q")
        self.counter = array("I")
        self.request = array("I")
        self.position = array("I")
        self.previous = array("q")  #: place of the same customer's grant before this one, -1: none
        self.state = bytearray()
        self.newest: dict[int, int] = {}  #: customer -> place of the newest grant
        self.requests: list[str] = []


class BadgeStore:
    """All grants, thread-safe. ``len(store)`` is their number.

    :param keep: ``False``: only count, so that an import of any size fits into memory.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._machine = f"{random.getrandbits(40):010x}"
        self._next_counter = random.randrange(_COUNTERS)
        self._badges: list[str] = []
        self._badge_places: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._columns = _Columns()
        self._count = 0
        self._used_request_ids: set[str] = set()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._clear()

    def claim_request_id(self, request_id: str) -> bool:
        """Whether this id is used for an import for the first time."""
        with self._lock:
            is_new = request_id not in self._used_request_ids
            self._used_request_ids.add(request_id)
            return is_new

    def grant(self, earns: Sequence[Earn], request_id: str, now: float) -> list[str]:
        """Grant all, without a search for equal ones, and give their ``earnedBadgeId``s in order."""
        with self._lock:
            # Mongo's ObjectId: seconds, machine, counter. In the API's samples the counter steps by 3.
            counters = [(self._next_counter + 3 * step) % _COUNTERS for step in range(len(earns))]
            self._next_counter = (self._next_counter + 3 * len(earns)) % _COUNTERS
            self._count += len(earns)
            if self._keep and earns:
                self._append(earns, counters, request_id, int(now))
        prefix = f"{int(now):08x}{self._machine}"
        return [f"{prefix}{counter:06x}" for counter in counters]

    def _append(self, earns: Sequence[Earn], counters: list[int], request_id: str, now: int) -> None:
        columns, size = self._columns, len(earns)
        place = len(columns.customer)
        positions, customers, badges, earned, expires = zip(*earns, strict=True)
        columns.requests.append(request_id)
        columns.request.extend([len(columns.requests) - 1] * size)
        columns.position.extend(positions)
        columns.badge.extend([self._badge_place(badge) for badge in badges])
        columns.earned.extend([seconds for seconds, _ in earned])
        columns.earned_nanos.extend([nanos for _, nanos in earned])
        columns.expires.extend([seconds for seconds, _ in expires])
        columns.expires_nanos.extend([nanos for _, nanos in expires])
        columns.granted.extend([now] * size)
        columns.counter.extend(counters)
        columns.state.extend(bytes([_ACTIVE]) * size)
        newest = columns.newest
        for offset, customer in enumerate(customers, place):
            columns.previous.append(newest.get(customer, -1))
            newest[customer] = offset
        columns.customer.extend(customers)  # last: its length says how many grants can be read

    def _badge_place(self, badge: str) -> int:
        place = self._badge_places.get(badge)
        if place is None:
            place = self._badge_places[badge] = len(self._badges)
            self._badges.append(badge)
        return place

    def revoke(self, customer_id: int, badge_meta_id: str, earned_badge_id: str) -> bool:
        """Revoke a grant. ``False``: there is no such grant, or it was revoked before."""
        with self._lock:
            columns = self._columns
            for place in _places(columns, customer_id):
                grant = self._read(columns, place)
                if (grant.badge_meta_id, grant.earned_badge_id) == (badge_meta_id, earned_badge_id):
                    columns.state[place] = _REVOKED
                    return grant.is_active
        return False

    def __len__(self) -> int:
        return self._count

    def grants(self) -> Iterator[Grant]:
        """Every grant, oldest first. Grants made during the iteration are left out."""
        columns = self._columns
        return (self._read(columns, place) for place in range(len(columns.customer)))

    def grants_of(self, customer_id: int, badge_meta_id: str | None = None) -> list[Grant]:
        """The grants of one customer (and one badge), oldest first."""
        with self._lock:
            columns = self._columns
            found = [self._read(columns, place) for place in _places(columns, customer_id)]
        return [grant for grant in reversed(found) if badge_meta_id in (None, grant.badge_meta_id)]

    def _read(self, columns: _Columns, place: int) -> Grant:
        granted = columns.granted[place]
        return Grant(
            customer_id=columns.customer[place],
            badge_meta_id=self._badges[columns.badge[place]],
            earned_badge_id=f"{granted:08x}{self._machine}{columns.counter[place]:06x}",
            earned_at=as_number((columns.earned[place], columns.earned_nanos[place])),
            expires_at=as_number((columns.expires[place], columns.expires_nanos[place])),
            granted_at=granted,
            request_id=f"{columns.requests[columns.request[place]]}_{columns.position[place]}",
            is_active=columns.state[place] == _ACTIVE,
        )

    def summary(self) -> StoreSummary:
        """Totals. Takes about a second per million grants."""
        with self._lock:
            if not self._keep:
                return StoreSummary(self._count, self._count, None, None)
            columns = self._columns
            distinct = twice = 0
            for customer in columns.newest:
                times = _times_granted(columns, customer)
                distinct += len(times)
                twice += sum(count > 1 for count in times.values())
            return StoreSummary(self._count, columns.state.count(_ACTIVE), distinct, twice)


def _places(columns: _Columns, customer_id: int) -> Iterator[int]:
    place = columns.newest.get(customer_id, -1)
    while place >= 0:
        yield place
        place = columns.previous[place]


def _times_granted(columns: _Columns, customer_id: int) -> dict[tuple[int, int, int], int]:
    times: dict[tuple[int, int, int], int] = {}
    for place in _places(columns, customer_id):
        earn = columns.badge[place], columns.earned[place], columns.earned_nanos[place]
        times[earn] = times.get(earn, 0) + 1
    return times
