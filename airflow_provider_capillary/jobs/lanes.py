"""Deals rows into batches and hands them to the lanes' threads. Canaries go first, one at a time, on this thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from airflow_provider_capillary.core.batching import Batch, Batcher
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.jobs.account import Account
from airflow_provider_capillary.jobs.lane import Lane, Work
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.planner import Sorted
from airflow_provider_capillary.jobs.progress import Progress

_LOOK_AGAIN_SECONDS = 1.0
_WAITING = 2  # batches ready for a lane while one is in flight: enough to keep it busy, few enough to stay small
_Work = TypeVar("_Work")


class LaneThreads(Generic[_Work]):
    """One thread a lane. Work of one lane is done in the order in which it was put there.

    The reading thread reports the job's progress while it has to wait for lanes.
    """

    def __init__(self, lanes: int, work_off: Callable[[_Work], None], stop: StopSignal, progress: Progress) -> None:
        self._work_off = work_off
        self._stop = stop
        self._progress = progress
        self._queues: list[queue.Queue[_Work | None]] = [queue.Queue(_WAITING) for _ in range(lanes)]
        self._threads = [
            threading.Thread(target=self._run, args=(waiting,), name=f"capillary-lane-{number}", daemon=True)
            for number, waiting in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: int, works: Sequence[_Work]) -> None:
        """Hand work over; wait while the lane has enough to do."""
        for work in works:
            self._put(lane, work)

    def close(self) -> None:
        """Wait until all work is done."""
        for lane in range(len(self._queues)):
            self._put(lane, None)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_LOOK_AGAIN_SECONDS)
                self._progress.report()

    def _put(self, lane: int, work: _Work | None) -> None:
        while True:
            try:
                return self._queues[lane].put(work, timeout=_LOOK_AGAIN_SECONDS)
            except queue.Full:
                self._progress.report()

    def _run(self, waiting: queue.Queue[_Work | None]) -> None:
        while (work := waiting.get()) is not None:
            try:
                self._work_off(work)
            except BaseException as error:  # noqa: BLE001 - the main thread raises it when all lanes are still
                self._stop.request(error)


class Dealer:
    """The reading thread's end of the lanes. Rows of one customer go in the dataset's order."""

    def __init__(self, lane: Lane, threads: LaneThreads[Work], batcher: Batcher, account: Account) -> None:
        self._lane = lane
        self._threads = threads
        self._batcher = batcher
        self._account = account
        self._unproven: list[tuple[EarnedBadge, Held]] = []
        self._unproven_customers: set[int] = set()

    def deal(self, rows: Sorted, origins: Sequence[Window]) -> None:
        """Hand over rows to send, and those that an earlier try left unproven.

        :param origins: the windows that hold the rows, in the dataset's order.
        """
        if not rows.settle:
            return self._fill(rows.send, origins, unseen=rows.unseen)
        held = {badge.row_number: held for badge, held in rows.settle}
        both = [*rows.send, *(badge for badge, _ in rows.settle)]
        for badge in sorted(both, key=lambda badge: badge.row_number):
            if badge.row_number in held:
                self._settle(badge, held[badge.row_number])
            else:
                if badge.customer_id in self._unproven_customers:
                    self._put_unproven(origins)
                self._fill([badge], origins)
        self._put_unproven(origins)

    def deal_rest(self) -> None:
        """Hand over the batches that did not become full."""
        for batch in self._batcher.flush():
            self._put_batch(batch)

    def _settle(self, badge: EarnedBadge, held: Held) -> None:
        for batch in self._batcher.take_with(badge.customer_id):
            self._put_batch(batch)
        self._unproven_customers.add(badge.customer_id)
        self._unproven.append((badge, held))

    def _fill(self, badges: Sequence[EarnedBadge], origins: Sequence[Window], *, unseen: bool = False) -> None:
        for batch in self._batcher.fill(badges, origins, unseen=unseen):
            self._put_batch(batch)

    def _put_unproven(self, origins: Sequence[Window]) -> None:
        of_lane: dict[int, list[tuple[EarnedBadge, Held]]] = {}
        for badge, held in self._unproven:  # only now: the canaries may have ended since, and with them the one lane
            of_lane.setdefault(self._batcher.lane_of(badge.customer_id), []).append((badge, held))
        for lane, group in of_lane.items():
            badges = EarnedBadges.of(badge for badge, _ in group)
            works = self._lane.take_over(group, Batch(lane, badges, list(origins)))
            self._put(lane, works, here=self._batcher.in_ramp)
        self._unproven.clear()
        self._unproven_customers.clear()

    def _put_batch(self, batch: Batch) -> None:
        self._account.batch_begun()
        self._put(batch.lane, [batch], here=batch.canary)

    def _put(self, lane: int, works: Sequence[Work], *, here: bool) -> None:
        """While canaries go, everything goes on this thread: no customer may be on a lane at the same time."""
        if not here:
            return self._threads.put(lane, works)
        for work in works:
            self._lane.work_off(work)
