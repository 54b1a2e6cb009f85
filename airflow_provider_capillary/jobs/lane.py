"""Sends batches: on each lane one at a time, until every row of it is settled.

``BatchSender`` is straight code on a lane's thread: record the intent, send, judge, record the outcome. It alone
decides what is sent again, because the transport sends nothing twice, and a later try goes on from the ledger.
``Dealer`` divides rows into batches on the reading thread and gives them to the lanes. Canaries are sent first, one at
a time, on that thread.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from airflow_provider_capillary.client import wire
from airflow_provider_capillary.core import batching, send_limits
from airflow_provider_capillary.core.batching import Batch, Batcher
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.outcome import judge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.reply import Transmission
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.base import Window
from airflow_provider_capillary.jobs.account import Account
from airflow_provider_capillary.jobs.aside import NO_ROOM, Unproven
from airflow_provider_capillary.jobs.follow_up import Exchanged, FollowUp, Work
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.planner import ToDo
from airflow_provider_capillary.jobs.progress import Progress
from airflow_provider_capillary.jobs.read_back import UnknownRows
from airflow_provider_capillary.jobs.running_import import RunningImport
from airflow_provider_capillary.jobs.stopping import HarmWatch
from airflow_provider_capillary.ledger.facts import Intent, IntentConflictError, Outcome, RowChange

_LATER_ROWS = 4_000
_LOOK_AGAIN_SECONDS = 1.0
_WAITING = 2  # batches ready for a lane while one is in flight: enough to keep it busy, few enough to stay small
_Work = TypeVar("_Work")


class BatchSender:
    """Does one piece of work. All lanes share it, because each call of ``work_off`` has rows of its own."""

    def __init__(self, running: RunningImport, unknown_rows: UnknownRows) -> None:
        self._client = running.client
        self._ledger = running.ledger
        self._job = running.job
        self._planner = running.planner
        self._unknown_rows = unknown_rows
        self._account = running.account
        self._once = running.settings.once_per_customer
        self._stop = running.stop
        self._pace = running.pace
        self._monotonic = running.monotonic
        self._watch = HarmWatch(running.stop, running.pace.backoff)
        self.follow_up = FollowUp(running, unknown_rows, self._watch)

    def work_off(self, work: Work) -> None:
        """Send a batch, or settle rows that an earlier try left unproven, and do all that follows from it."""
        todo: deque[Work] = deque([work])
        while todo:
            todo.extendleft(reversed(self._step(todo.popleft())))

    def work_off_aside(self, batcher: Batcher) -> None:
        """Settle the rows that were set aside because no read was believed yet, then send those that waited for them.

        It runs on the reading thread after the lanes have ended, so that rows of one customer stay in the dataset's
        order. All are read before one is sent again, because a new earn could hide the earns of other rows.
        """
        unproven = self._unknown_rows.take_unproven()
        for batch in [batch for each in unproven for batch in self._unknown_rows.settle(each)]:
            self.work_off(batch)
        for some in self._unknown_rows.take_later_rows(_LATER_ROWS):
            for batch in batcher.fill(some.badges, some.origins, unseen=some.unseen):
                self.work_off(batch)
        for batch in batcher.flush():
            self.work_off(batch)

    def _step(self, work: Work) -> list[Work]:
        if isinstance(work, Unproven):
            return list(self._unknown_rows.settle(work))
        if self._stop.requested:
            return self.follow_up.end_unsent(work)
        batch = self._planner.without_repeats(work)
        if self._unknown_rows.aside.customers:  # rarely
            batch, no_room = self._unknown_rows.aside.divide(batch)
            if no_room is not None:
                self._planner.end_unsent(no_room, NO_ROOM)
        return self._send(batch) if batch.badges else []

    # -- intent, send, judge -----------------------------------------------------------------------------------------

    def _send(self, batch: Batch) -> list[Work]:
        self._pace.wait_for_turn()
        with self._pace.at_work():
            exchanged: Exchanged | list[Work] = [batch] if self._stop.requested else self._exchange(batch)
        return self._follow(exchanged) if isinstance(exchanged, Exchanged) else exchanged

    def _exchange(self, batch: Batch) -> Exchanged | list[Work]:
        """Record the intent, send, judge. If nothing could be sent, give the work to do instead."""
        body = wire.encode_batch(batch.badges, self._client.settings.timestamp_format)
        fingerprint = batching.fingerprint(body)
        request_id = self._request_id(batch, fingerprint)
        doubted = frozenset(self._planner.doubts_of(batch.badges))
        intent = Intent(batch.badges, fingerprint, request_id, batch.requests + 1, self._once, doubted, batch.unseen)
        begun = self._monotonic()
        try:
            (key,) = self._ledger.record(intent)
        except IntentConflictError:
            return self.follow_up.plan_again(batch)
        batch.conflicts = 0
        with self._pace.in_flight():
            ready = self._monotonic()
            too_late = self._stop.requested or self._is_stale(begun)
            keep_back = partial(self._why_kept_back, begun, ready)
            reply = None if too_late else self._client.import_badges(body, request_id, keep_back)
        answered = self._monotonic()
        if reply is None:
            taken_back = [RowChange(badge, RowState.PLANNED) for badge in batch.badges]
            self._ledger.record(Outcome(key, "TAKEN_BACK", None, taken_back))
            return [batch.part(batch.badges)]
        if reply.transmission is not Transmission.NOT_WRITTEN:
            batch.requests += 1
            self._account.request_sent()
        judgement = judge(batch.badges, reply)
        self._pace.observe(answered - ready, len(batch.badges), judgement.verdict, reply.status)
        return Exchanged(batch, key, request_id, reply, judgement)

    def _is_stale(self, begun: float) -> bool:
        return self._monotonic() - begun > send_limits.STALE_INTENT_SECONDS

    def _why_kept_back(self, begun: float, ready: float) -> str | None:
        """Why the body must not leave. Asked after resolving, connecting and TLS, which may have taken long."""
        if not self._is_stale(begun):
            return None
        return f"not sent: the connection took {self._monotonic() - ready:.1f} s"

    def _request_id(self, batch: Batch, fingerprint: str) -> str:
        first_row = batch.badges.row_numbers[0]
        return batching.request_id(self._job.job_id, fingerprint, first_row, self._job.fence, batch.requests)

    def _follow(self, exchanged: Exchanged) -> list[Work]:
        """Record that all rows were accepted, as they nearly always are. ``follow_up.py`` has all other cases."""
        batch, reply, judgement = exchanged.batch, exchanged.reply, exchanged.judgement
        ids = judgement.granted_ids
        if not ids or self._planner.doubts_of(batch.badges):
            return self.follow_up.after(exchanged)
        outcome = Outcome(exchanged.key, judgement.verdict.name, reply.status, accepted=batch.badges, ids=ids)
        self._ledger.record_later(outcome, partial(self._account.count, RowState.ACCEPTED, len(ids)))
        self._watch.look(batch, reply, judgement)
        return []


class LaneThreads(Generic[_Work]):
    """One thread for each lane. A lane does its work in the order in which it was put there.

    While the reading thread waits for lanes, it reports the job's progress.
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
        """Give a lane work; wait while the lane has enough to do."""
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
            except BaseException as error:  # noqa: BLE001 - the main thread raises it after the lanes have ended
                self._stop.request(error)


class Dealer:
    """Gives rows to the lanes, on the reading thread. Rows of one customer go in the dataset's order."""

    def __init__(self, sender: BatchSender, threads: LaneThreads[Work], batcher: Batcher, account: Account) -> None:
        self._sender = sender
        self._threads = threads
        self._batcher = batcher
        self._account = account
        self._unproven: list[tuple[EarnedBadge, Held]] = []
        self._unproven_customers: set[int] = set()

    def deal(self, rows: ToDo, origins: Sequence[Window]) -> None:
        """Give the lanes rows to send, and those that an earlier try left unproven.

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
        """Give the lanes the batches that did not become full."""
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
        # Ask for the lane only now: if the canaries have ended since, there is more than one lane.
        for badge, held in self._unproven:
            of_lane.setdefault(self._batcher.lane_of(badge.customer_id), []).append((badge, held))
        for lane, group in of_lane.items():
            badges = EarnedBadges.of(badge for badge, _ in group)
            works = self._sender.follow_up.take_over(group, Batch(lane, badges, list(origins)))
            self._put(lane, works, here=self._batcher.in_ramp)
        self._unproven.clear()
        self._unproven_customers.clear()

    def _put_batch(self, batch: Batch) -> None:
        self._account.batch_begun()
        self._put(batch.lane, [batch], here=batch.canary)

    def _put(self, lane: int, works: Sequence[Work], *, here: bool) -> None:
        """Work on this thread while canaries are sent, so that no customer is on a lane at the same time."""
        if not here:
            return self._threads.put(lane, works)
        for work in works:
            self._sender.work_off(work)
