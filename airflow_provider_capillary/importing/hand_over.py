"""Rows -> batches -> lanes. Canaries go first, one at a time, before any lane has work."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_capillary.core.batching import Batch, Batcher, lane_of
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.importing.account import Account
from airflow_provider_capillary.importing.delivery import Delivery, Work
from airflow_provider_capillary.importing.lanes import Lanes
from airflow_provider_capillary.importing.planner import Sorted


class HandOver:
    """The reading thread's end of the lanes."""

    def __init__(
        self, delivery: Delivery, lanes: Lanes[Work], batcher: Batcher, account: Account, *, many: int
    ) -> None:
        self._delivery = delivery
        self._lanes = lanes
        self._batcher = batcher
        self._account = account
        self._many = many

    def rows(self, rows: Sorted, window: Window) -> None:
        """Hand over rows to send, and before them those that an earlier try left unproven."""
        self._unproven(rows.settle, window)
        for badge in rows.send:
            for batch in self._batcher.add(badge, window):
                self._batch(batch)

    def rest(self) -> None:
        """Hand over the batches that did not become full."""
        for batch in self._batcher.flush():
            self._batch(batch)

    def _batch(self, batch: Batch) -> None:
        self._account.batch_begun()
        self._put(batch.lane, [batch], here=batch.canary)

    def _unproven(self, rows: Sequence[tuple[EarnedBadge, Held]], window: Window) -> None:
        by_lane: dict[int, list[tuple[EarnedBadge, Held]]] = {}
        for badge, held in rows:
            by_lane.setdefault(lane_of(badge.customer_id, self._many), []).append((badge, held))
        for lane, group in by_lane.items():
            works = self._delivery.take_over(group, Batch(lane, [badge for badge, _ in group], [window]))
            self._put(lane, works, here=self._batcher.in_ramp)

    def _put(self, lane: int, works: Sequence[Work], *, here: bool) -> None:
        """While canaries go, everything goes on this thread: no customer may be on a lane at the same time."""
        if not here:
            self._lanes.put(lane, works)
        for work in works if here else ():
            self._delivery.deliver(work)
