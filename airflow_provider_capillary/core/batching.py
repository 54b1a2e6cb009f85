"""Earned badges -> batches: by rows, by bytes, and never one customer in two batches in flight.

Customers are dealt to *lanes* by their id. A lane has at most one batch in flight, so the rows of one
customer are sent in the dataset's order, and lanes never wait for each other.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges, lane_of

#: The canary ramp: batches of these sizes go first, one at a time.
RAMP = (1, 10, 100)


class Batch(msgspec.Struct):
    """The earned badges of one request, in order.

    ``origins``: the windows that hold the rows, each once, for the issues of those that are not accepted.
    """

    lane: int
    badges: EarnedBadges
    origins: list[Any]
    canary: bool = False
    tries: int = 0  #: how often it was tried within the job already; failed connections count, for the backoff
    requests: int = 0  #: how many requests with its rows may have left already: no intent that was taken back counts
    split: bool = False  #: part of a batch that was refused as a whole
    waited: float = 0.0  #: seconds that its rows have waited to be sent again
    unseen: bool = False  #: filled without looking its rows up in the ledger; a part is made after a look-up
    conflicts: int = 0  #: how often another job was quicker with some of its rows since the last intent was noted

    def part(self, badges: Iterable[EarnedBadge], *, tries: int | None = None) -> Batch:
        """A batch of some of the rows, for a later request."""
        tries = self.tries if tries is None else tries
        return msgspec.structs.replace(self, badges=EarnedBadges.of(badges), tries=tries, unseen=False)

    def halves(self) -> list[Batch]:
        """Two batches, in order."""
        middle = (len(self.badges) + 1) // 2
        halves = [self.part(self.badges[:middle], tries=0), self.part(self.badges[middle:], tries=0)]
        return [msgspec.structs.replace(half, split=True) for half in halves]


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


class _Filling(msgspec.Struct):
    """A lane's batch before it is full."""

    parts: list[EarnedBadges]
    origins: list[Any]
    rows: int = 0
    bytes: int = 1  #: of the body: the brackets are two, and separators one less than rows
    unseen: bool = False


class Batcher:
    """Fills the lanes' batches with rows. ``fill`` gives each batch when it is full, ``flush`` what is left."""

    def __init__(self, limits: BatchLimits, ramp: Sequence[int] = ()) -> None:
        self._limits = limits
        self._measures = not limits.only_rows_count
        self._ramp = [min(rows, limits.rows) for rows in ramp]
        self._filling: dict[int, _Filling] = {}

    @property
    def in_ramp(self) -> bool:
        """Whether the next batch is still a canary."""
        return bool(self._ramp)

    def fill(self, badges: Sequence[EarnedBadge], origins: Sequence[Any], *, unseen: bool = False) -> Iterator[Batch]:
        """Put rows into their lanes' batches, and give each batch that becomes full before going on.

        While canaries go, all rows are of one lane. Within a lane the rows keep their order.
        """
        rest = EarnedBadges.of(badges)
        while self._ramp and len(rest):
            taken, full = self._put(0, rest, origins, unseen)
            rest = rest[taken:]
            if full:
                yield full
        shares = rest.by_lane(self._limits.lanes)
        while shares:  # a batch for each lane in turn, or the others would wait for one
            for lane, share in list(shares.items()):
                taken, full = self._put(lane, share, origins, unseen)
                shares[lane] = share[taken:]
                if taken == len(share):
                    del shares[lane]
                if full:
                    yield full

    def lane_of(self, customer_id: int) -> int:
        """The lane on which the customer's next row goes."""
        return 0 if self._ramp else lane_of(customer_id, self._limits.lanes)

    def take_with(self, customer_id: int) -> list[Batch]:
        """Give the batch that is being filled if it holds a row of the customer."""
        lane = self.lane_of(customer_id)
        filling = self._filling.get(lane)
        if filling is None or all(customer_id not in part.customer_ids for part in filling.parts):
            return []
        return [self._take(lane)]

    def flush(self) -> list[Batch]:
        """The batches that are not full, in lane order."""
        return [self._take(lane) for lane in sorted(self._filling)]

    def _put(self, lane: int, badges: EarnedBadges, origins: Sequence[Any], unseen: bool) -> tuple[int, Batch | None]:
        """Put as many of the rows as there is room for; give their number, and the batch where it is full."""
        filling = self._filling.setdefault(lane, _Filling([], []))
        room = (self._ramp[0] if self._ramp else self._limits.rows) - filling.rows
        taken, is_full = min(room, len(badges)), len(badges) >= room
        if self._measures:
            taken, is_full = self._measured(filling, badges[:taken], is_full)
        if taken:
            filling.parts.append(badges[:taken] if taken < len(badges) else badges)
            filling.origins += origins if not filling.origins else _new(origins, filling.origins[-1])
            filling.rows += taken
            filling.unseen = filling.unseen or unseen
        return taken, self._take(lane) if is_full else None

    def _measured(self, filling: _Filling, badges: EarnedBadges, is_full: bool) -> tuple[int, bool]:
        """How many of the rows fit by their bytes, one at least in an empty batch; and whether that fills it."""
        for taken, badge in enumerate(badges):
            size = self._limits.size_of(badge)
            if filling.bytes + size > self._limits.bytes and filling.rows + taken:
                return taken, True
            filling.bytes += size
        return len(badges), is_full

    def _take(self, lane: int) -> Batch:
        filling = self._filling.pop(lane)
        canary = bool(self._ramp)
        if self._ramp:
            self._ramp.pop(0)
        badges = EarnedBadges.joined(filling.parts)
        return Batch(lane, badges, filling.origins, canary=canary, unseen=filling.unseen)


def _new(origins: Sequence[Any], last: Any) -> Sequence[Any]:
    """The origins behind the last one that a batch has already."""
    for position, origin in enumerate(origins):
        if origin is last:
            return origins[position + 1 :]
    return origins


def fingerprint(body: bytes) -> str:
    """Name a request body: equal bytes, equal fingerprint."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def request_id(job_id: str, body_fingerprint: str, first_row: int, fence: int, requests: int) -> str:
    """The ``X-CAP-REQUEST-ID`` of one attempt to send one batch: the same attempt, the same id.

    ``requests``: how many requests with these rows may have left before; an intent that was taken back keeps its id.
    ``first_row`` distinguishes batches of equal bodies, which there are where duplicates are allowed.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{job_id}:{body_fingerprint}:{first_row}:{fence}:{requests}"))
