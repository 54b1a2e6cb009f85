"""Earned badges -> batches: by rows, by bytes, and never one customer in two batches in flight.

Customers are dealt to *lanes* by their id. A lane has at most one batch in flight, so the rows of one
customer are sent in the dataset's order, and lanes never wait for each other.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge

_MIX = 0x9E3779B97F4A7C15  # Fibonacci hashing: neighbouring customer ids spread over all lanes
_MASK = 2**64 - 1

#: The canary ramp: batches of these sizes go first, one at a time.
RAMP = (1, 10, 100)


class Batch(msgspec.Struct):
    """The earned badges of one request, in order. ``origins``: what the caller gave with the rows, without repeats."""

    lane: int
    badges: list[EarnedBadge]
    origins: list[Any]
    canary: bool = False
    tries: int = 0  #: how often it was tried within the job already; failed connections count, for the backoff
    requests: int = 0  #: how many requests with its rows may have left already: no intent that was taken back counts
    split: bool = False  #: part of a batch that was refused as a whole
    waited: float = 0.0  #: seconds that its rows have waited to be sent again
    unseen: bool = False  #: nobody looked what the ledger holds of its rows; a later part of it was looked up
    conflicts: int = 0  #: how often another job was quicker with some of its rows since the last intent was noted

    def part(self, badges: list[EarnedBadge], *, tries: int | None = None) -> Batch:
        """A batch of some of the rows, for a later request."""
        tries = self.tries if tries is None else tries
        return Batch(
            self.lane,
            badges,
            self.origins,
            self.canary,
            tries,
            self.requests,
            self.split,
            self.waited,
            conflicts=self.conflicts,
        )

    def halves(self) -> list[Batch]:
        """Two batches, in order."""
        middle = (len(self.badges) + 1) // 2
        halves = [self.part(self.badges[:middle], tries=0), self.part(self.badges[middle:], tries=0)]
        for half in halves:
            half.split = True
        return halves


class BatchLimits(msgspec.Struct, frozen=True):
    """How large a batch may be. ``size_of`` gives the bytes of one row in the body, separator included.

    ``largest_row``: no row takes more bytes than this; where so many rows fit anyway, none is measured.
    """

    rows: int
    bytes: int
    lanes: int
    size_of: Callable[[EarnedBadge], int]
    largest_row: float = math.inf

    @property
    def only_rows_count(self) -> bool:
        """Whether a batch of as many rows as allowed can never be too large."""
        return 1 + self.rows * self.largest_row <= self.bytes


class Batcher:
    """Fills batches row by row; ``add`` gives a batch when one is full, ``flush`` what is left."""

    def __init__(self, limits: BatchLimits, ramp: Sequence[int] = ()) -> None:
        self._limits = limits
        self._measures = not limits.only_rows_count
        self._ramp = [min(rows, limits.rows) for rows in ramp]
        self._filling: dict[int, Batch] = {}
        self._bytes: dict[int, int] = {}

    @property
    def in_ramp(self) -> bool:
        """Whether the next batch is still a canary."""
        return bool(self._ramp)

    def fill(self, badges: Sequence[EarnedBadge], origin: Any, *, unseen: bool = False) -> Iterator[Batch]:
        """Put rows into their lanes' batches; give each batch that becomes full before the next row is looked at.

        Where rows need not be measured and canaries are through, lanes take their rows many at a time; then only
        the order within each lane is that of the rows.
        """
        for done, badge in enumerate(badges):
            if not self._ramp and not self._measures:
                yield from self._deal(badges[done:], origin, unseen)
                return
            yield from self.add(badge, origin, unseen=unseen)

    def _deal(self, badges: Sequence[EarnedBadge], origin: Any, unseen: bool) -> Iterator[Batch]:
        lanes, most = self._limits.lanes, self._limits.rows
        hands: list[list[EarnedBadge]] = [[] for _ in range(lanes)]
        for badge in badges:
            hands[(((badge.customer_id * _MIX) & _MASK) >> 32) % lanes].append(badge)  # lane_of, written out
        while any(hands):  # a batch for each lane in turn, or the others would wait for one
            for lane, hand in enumerate(hands):
                if hand:
                    batch = self._begun(lane, origin, unseen)
                    room = most - len(batch.badges)
                    batch.badges += hand[:room]
                    del hand[:room]
                    if len(batch.badges) == most:
                        yield self._take(lane)

    def add(self, badge: EarnedBadge, origin: Any, *, unseen: bool = False) -> list[Batch]:
        """Put a row into its lane's batch; give the batches that became full (none, one, or two)."""
        lane = self.lane_of(badge.customer_id)
        full: list[Batch] = []
        size = self._limits.size_of(badge) if self._measures else 0
        if lane in self._filling and self._bytes[lane] + size > self._limits.bytes:
            full.append(self._take(lane))
            lane = self.lane_of(badge.customer_id)
        batch = self._begun(lane, origin, unseen)
        batch.badges.append(badge)
        self._bytes[lane] += size
        if len(batch.badges) >= (self._ramp[0] if self._ramp else self._limits.rows):
            full.append(self._take(lane))
        return full

    def lane_of(self, customer_id: int) -> int:
        """The lane on which the customer's next row goes."""
        return 0 if self._ramp else lane_of(customer_id, self._limits.lanes)

    def take_with(self, customer_id: int) -> list[Batch]:
        """Give the batch that is being filled if it holds a row of the customer."""
        lane = self.lane_of(customer_id)
        batch = self._filling.get(lane)
        if batch is None or all(badge.customer_id != customer_id for badge in batch.badges):
            return []
        return [self._take(lane)]

    def flush(self) -> list[Batch]:
        """The batches that are not full, in lane order."""
        return [self._take(lane) for lane in sorted(self._filling)]

    def _begun(self, lane: int, origin: Any, unseen: bool) -> Batch:
        """The lane's batch, which is about to get rows of this origin."""
        batch = self._filling.get(lane)
        if batch is None:
            batch = self._filling[lane] = Batch(lane, [], [], canary=bool(self._ramp))
            self._bytes[lane] = 1  # brackets: as many as separators, and one more
        if not batch.origins or batch.origins[-1] is not origin:
            batch.origins.append(origin)
        batch.unseen = batch.unseen or unseen
        return batch

    def _take(self, lane: int) -> Batch:
        if self._ramp:
            self._ramp.pop(0)
        return self._filling.pop(lane)


def lane_of(customer_id: int, lanes: int) -> int:
    """The lane of a customer: always the same one, whatever the order of the rows."""
    return (((customer_id * _MIX) & _MASK) >> 32) % lanes


def fingerprint(body: bytes) -> str:
    """Name a request body: equal bytes, equal fingerprint."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def request_id(job_id: str, body_fingerprint: str, first_row: int, fence: int, requests: int) -> str:
    """The ``X-CAP-REQUEST-ID`` of one attempt to send one batch: the same attempt, the same id.

    ``requests``: how many requests with these rows may have left before; an intent that was taken back keeps its id.
    ``first_row`` tells batches of equal bodies apart, which there are where duplicates are allowed.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{job_id}:{body_fingerprint}:{first_row}:{fence}:{requests}"))
