"""Keeps rows that wait for a control: unknown rows that no read can settle yet, and later rows of their customers.

They wait until the lanes are still. By then the job has usually granted a badge that serves as a control. The rows of
one customer stay in the dataset's order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.jobs.account import place_of

#: At most so many rows wait, so that memory stays small. Further ones are left to a retry.
MOST_ROWS = 50_000
NO_ROOM = "rows of the customer are unknown and wait for a control, and too many rows wait; a retry sends it"


class Unproven(msgspec.Struct, frozen=True):
    """Unknown rows, all of one batch that was sent."""

    batch: Batch
    key: int  #: the ledger's number of the batch in which they were sent
    due: float  #: when a read may be believed, by the clock for durations
    reason: str
    request_id: str | None = None


class KeptRow(msgspec.Struct, frozen=True):
    """One row's place and columns for the report, so that its window need not stay in memory."""

    first_row_number: int
    source: str
    place: int
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return 1

    def line(self, index: int) -> int:
        """The row's place in its source."""
        return self.place

    def original(self, index: int) -> dict[str, Any]:
        """The row as the dataset gave it."""
        return dict(self.columns)


class Aside:
    """One for all lanes, thread-safe. A customer's rows are on one lane, so none overtakes another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.customers: set[int] = set()  #: those of whom rows wait
        self._unproven: list[Unproven] = []
        self._batches: list[Batch] = []
        self._rows = 0

    def waits_for(self, badges: Sequence[EarnedBadge]) -> bool:
        """Whether a customer of these rows has rows that wait."""
        return bool(self.customers) and any(badge.customer_id in self.customers for badge in badges)

    def put(self, unproven: Unproven) -> None:
        """Let unknown rows wait."""
        with self._lock:
            self.customers.update(badge.customer_id for badge in unproven.batch.badges)
            self._unproven.append(msgspec.structs.replace(unproven, batch=_compact(unproven.batch)))
            self._rows += len(unproven.batch.badges)

    def divide(self, batch: Batch) -> tuple[Batch, Batch | None]:
        """Keep the rows of a batch whose customers have waiting rows; give the others.

        The second batch holds rows for which there is no room.
        """
        waits = [customer in self.customers for customer in batch.badges.customer_ids]
        if not any(waits):
            return batch, None
        waiting, rest = _part(batch, waits), _part(batch, [not one for one in waits])
        with self._lock:
            if self._rows + len(waiting.badges) > MOST_ROWS:
                return rest, waiting
            self._batches.append(_compact(waiting))
            self._rows += len(waiting.badges)
        return rest, None

    def take_unproven(self) -> list[Unproven]:
        """Give the unknown rows. From then on no row waits for them."""
        with self._lock:
            unproven, self._unproven = self._unproven, []
            self.customers = set()
        return unproven

    def take_later_rows(self, most: int) -> Iterator[Batch]:
        """Give the rows that were not sent, in the dataset's order, so many at a time."""
        with self._lock:
            batches, self._batches, self._rows = self._batches, [], 0
        rows = [(badge, origin, each.unseen) for each in batches for badge, origin in _with_origins(each)]
        rows.sort(key=lambda row: row[0].row_number)
        for some in (rows[start : start + most] for start in range(0, len(rows), most)):
            badges, origins = EarnedBadges.of(badge for badge, _, _ in some), [origin for _, origin, _ in some]
            yield Batch(0, badges, origins, unseen=any(unseen for _, _, unseen in some))


def _part(batch: Batch, chosen: Sequence[bool]) -> Batch:
    part = batch.part(batch.badges.where(chosen))
    part.unseen = batch.unseen
    return part


def _compact(batch: Batch) -> Batch:
    compact = batch.part(batch.badges)
    compact.unseen = batch.unseen
    compact.origins = [KeptRow(badge.row_number, *place_of(badge, batch.origins)) for badge in batch.badges]
    return compact


def _with_origins(batch: Batch) -> Iterator[tuple[EarnedBadge, KeptRow]]:
    return zip(batch.badges, batch.origins, strict=True)
