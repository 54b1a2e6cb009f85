"""Rows -> batches -> lanes. Canaries go first, one at a time, before any lane has work."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_capillary.core.batching import Batch, Batcher
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.importing.account import Account
from airflow_provider_capillary.importing.delivery import Delivery, Work
from airflow_provider_capillary.importing.lanes import Lanes
from airflow_provider_capillary.importing.planner import Sorted


class HandOver:
    """The reading thread's end of the lanes. Rows of one customer go in the dataset's order."""

    def __init__(self, delivery: Delivery, lanes: Lanes[Work], batcher: Batcher, account: Account) -> None:
        self._delivery = delivery
        self._lanes = lanes
        self._batcher = batcher
        self._account = account
        self._unproven: dict[int, list[tuple[EarnedBadge, Held]]] = {}
        self._unproven_customers: set[int] = set()

    def rows(self, rows: Sorted, window: Window) -> None:
        """Hand over rows to send, and those that an earlier try left unproven."""
        if not rows.settle:
            for batch in self._batcher.fill(rows.send, window, unseen=rows.unseen):
                self._put_batch(batch)
            return
        held = {badge.row_number: held for badge, held in rows.settle}
        both = [*rows.send, *(badge for badge, _ in rows.settle)]
        for badge in sorted(both, key=lambda badge: badge.row_number):
            if badge.row_number in held:
                self._settle(badge, held[badge.row_number])
            else:
                if badge.customer_id in self._unproven_customers:
                    self._put_unproven(window)
                self._send(badge, window)
        self._put_unproven(window)

    def rest(self) -> None:
        """Hand over the batches that did not become full."""
        for batch in self._batcher.flush():
            self._put_batch(batch)

    def _send(self, badge: EarnedBadge, window: Window) -> None:
        for batch in self._batcher.add(badge, window):
            self._put_batch(batch)

    def _settle(self, badge: EarnedBadge, held: Held) -> None:
        for batch in self._batcher.take_with(badge.customer_id):
            self._put_batch(batch)
        self._unproven_customers.add(badge.customer_id)
        self._unproven.setdefault(self._batcher.lane_of(badge.customer_id), []).append((badge, held))

    def _put_unproven(self, window: Window) -> None:
        for lane, group in self._unproven.items():
            works = self._delivery.take_over(group, Batch(lane, [badge for badge, _ in group], [window]))
            self._put(lane, works, here=self._batcher.in_ramp)
        self._unproven.clear()
        self._unproven_customers.clear()

    def _put_batch(self, batch: Batch) -> None:
        self._account.batch_begun()
        self._put(batch.lane, [batch], here=batch.canary)

    def _put(self, lane: int, works: Sequence[Work], *, here: bool) -> None:
        """While canaries go, everything goes on this thread: no customer may be on a lane at the same time."""
        if not here:
            self._lanes.put(lane, works)
        for work in works if here else ():
            self._delivery.deliver(work)
