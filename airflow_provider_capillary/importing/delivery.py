"""Delivers one batch until every row of it is settled: intent, send, judge, and what follows from the verdict.

Straight code on a lane's thread. It is the one owner of retries: neither the transport nor Airflow sends
anything again by itself.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from airflow_provider_capillary.core import batching, send_limits
from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import RowOutcome, Verdict, judge
from airflow_provider_capillary.core.planning import Held, Plan
from airflow_provider_capillary.core.reply import Delivery as Delivered
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ApiUnavailableError
from airflow_provider_capillary.importing.ending import Ending
from airflow_provider_capillary.importing.planner import Sorted
from airflow_provider_capillary.importing.sent import Sent
from airflow_provider_capillary.importing.settings import OnUnknown
from airflow_provider_capillary.importing.shared import Shared
from airflow_provider_capillary.importing.verifier import Taker, Unproven, Verifier
from airflow_provider_capillary.importing.watch import Watch
from airflow_provider_capillary.ledger.facts import Intent, IntentConflictError, Job, Outcome, RowChange, RowIssue

log = logging.getLogger(__name__)

#: Each conflict is another job's progress, so few follow each other; more are a fault, and must not go on for ever.
MOST_CONFLICTS = 20

Work = Batch | Unproven


class Sender(Protocol):
    """What sends: one request, one reply, nothing repeated."""

    @property
    def import_method(self) -> str:
        """``PUT`` or ``POST``."""
        ...

    def encode(self, badges: Sequence[EarnedBadge]) -> bytes:
        """The request's body; the same rows give the same bytes."""
        ...

    def import_badges(self, body: bytes, request_id: str, keep_back: Callable[[], str | None]) -> Reply:
        """Send one request; never raise for trouble on the wire.

        :param keep_back: asked where the body is about to leave; a reason keeps it here, and nothing was written.
        """
        ...


class Delivery:
    """Shared by all lanes; each call of ``deliver`` works on rows of its own."""

    def __init__(
        self,
        shared: Shared,
        sender: Sender,
        job: Job,
        verifier: Verifier,
        ending: Ending,
        monotonic: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._job = job
        self._verifier = verifier
        self._ending = ending
        self._monotonic = monotonic
        self._ledger = shared.ledger
        self._planner = shared.planner
        self._account = shared.account
        self._settings = shared.settings
        self._stop = shared.stop
        self._backoff = shared.backoff
        self._pace = shared.pace
        self._taker = Taker(shared, job)
        self._watch = Watch(shared)

    def deliver(self, work: Work) -> None:
        """Deliver a batch, or settle rows that an earlier try left unproven, and all that follows from it."""
        todo: deque[Work] = deque([work])
        while todo:
            todo.extendleft(reversed(self._step(todo.popleft())))

    def take_over(self, rows: Sequence[tuple[EarnedBadge, Held]], batch: Batch) -> list[Work]:
        """Turn rows that a dead try left unproven into work; rows that others settle meanwhile are planned anew."""
        works: list[Work] = []
        send: list[EarnedBadge] = []
        while rows:
            try:
                works += self._taker.take_over(rows, batch)
            except IntentConflictError:
                again = self._look_again(batch, [badge for badge, _ in rows])
                rows = again.settle
                send += again.send
            else:
                self._planner.release([badge for badge, _ in rows])
                break
        return [*works, batch.part(send)] if send else works

    def _step(self, work: Work) -> list[Work]:
        if isinstance(work, Unproven):
            return list(self._verifier.settle(work))
        if self._stop.requested:
            self._ending.not_sent(work, f"the job stopped: {self._stop.error}")
            return []
        return self._send(work)

    def _send(self, batch: Batch) -> list[Work]:
        self._pace.wait_for_turn()
        with self._pace.at_work():
            sent: Sent | list[Work] = [batch] if self._stop.requested else self._exchange(batch)
        return self._follow(sent) if isinstance(sent, Sent) else sent

    def _exchange(self, batch: Batch) -> Sent | list[Work]:
        """Note the intent, send, judge. Where nothing could be sent, give what is to be done instead."""
        body = self._sender.encode(batch.badges)
        fingerprint = batching.fingerprint(body)
        request_id = self._request_id(batch, fingerprint)
        doubted = frozenset(self._planner.doubtful.among(batch.badges))
        once = self._settings.once_per_customer
        intent = Intent(batch.badges, fingerprint, request_id, batch.requests + 1, once, doubted, batch.unseen)
        begun = self._monotonic()
        try:
            (key,) = self._ledger.record(intent)
        except IntentConflictError:
            return self._plan_again(batch)
        batch.conflicts = 0
        self._planner.release(batch.badges)
        with self._pace.in_flight():
            ready = self._monotonic()
            too_late = self._stop.requested or self._is_stale(begun)
            keep_back = partial(self._why_kept_back, begun, ready)
            reply = None if too_late else self._sender.import_badges(body, request_id, keep_back)
        answered = self._monotonic()
        if reply is None:
            taken_back = [RowChange(badge, RowState.PLANNED) for badge in batch.badges]
            self._ledger.record(Outcome(key, "TAKEN_BACK", None, taken_back))
            return [batch.part(batch.badges)]
        if reply.delivery is not Delivered.NOT_WRITTEN:
            batch.requests += 1
            self._account.request_sent()
        judgement = judge(batch.badges, reply)
        self._pace.observe(answered - ready, len(batch.badges), judgement.verdict, reply.status)
        return Sent(batch, key, request_id, reply, judgement)

    def _is_stale(self, begun: float) -> bool:
        return not send_limits.may_leave(self._monotonic() - begun)

    def _why_kept_back(self, begun: float, ready: float) -> str | None:
        """Asked where the body is about to leave: resolving, connecting and TLS may have taken their time."""
        if not self._is_stale(begun):
            return None
        return f"not sent: the connection took {self._monotonic() - ready:.1f} s"

    def _request_id(self, batch: Batch, fingerprint: str) -> str:
        first_row = batch.badges[0].row_number
        return batching.request_id(self._job.job_id, fingerprint, first_row, self._job.fence, batch.requests)

    def _follow(self, sent: Sent) -> list[Work]:
        match sent.judgement.verdict:
            case Verdict.PER_ROW | Verdict.UNKNOWN:
                return self._settle_rows(sent)
            case Verdict.RETRY_LATER:
                return self._retry_later(sent)
            case Verdict.HALVE | Verdict.BISECT:
                return self._split(sent)
            case Verdict.STOP:
                self._ledger.record(sent.not_applied())
                self._stop.request(sent.refusal(self._sender.import_method))
                return [sent.batch]

    def _settle_rows(self, sent: Sent) -> list[Work]:
        """Record each row's outcome; rows refused for a passing reason go again, unknown rows as the policy says."""
        doubts = self._planner.doubtful.among(sent.batch.badges)
        if sent.judgement.granted_ids and not doubts:
            return self._all_accepted(sent)
        accepted: list[EarnedBadge] = []
        ids: list[str] = []
        changes: list[RowChange] = []
        issues: list[RowIssue] = []
        again: list[EarnedBadge] = []
        unknown: list[EarnedBadge] = []
        exhausted = self._backoff.exhausted(sent.batch.tries, sent.batch.waited)
        for badge, row in zip(sent.batch.badges, sent.judgement.rows, strict=True):
            match row:
                case RowOutcome(state=RowState.ACCEPTED, earned_badge_id=str(granted)) if granted:
                    accepted.append(badge)
                    ids.append(granted)
                    if badge.row_number in doubts:
                        told = msgspec.structs.replace(row, message=doubts[badge.row_number])
                        issues.append(sent.issue(badge, told))
                case RowOutcome(state=RowState.UNKNOWN):
                    unknown.append(badge)
                    changes.append(RowChange(badge, RowState.UNKNOWN, row.earned_badge_id))
                    if self._settings.on_unknown is OnUnknown.HOLD:
                        issues.append(sent.issue(badge, row))
                case RowOutcome(state=RowState.REJECTED, passing=True) if not exhausted:
                    again.append(badge)
                    changes.append(RowChange(badge, RowState.PLANNED))
                case RowOutcome(state=RowState.REJECTED):
                    changes.append(RowChange(badge, RowState.REJECTED))
                    issues.append(sent.issue(badge, row))
                case _:
                    # Nothing is recorded: the intents stay, and count as unknown from the next look on.
                    raise AssertionError(f"no reply makes a row {row.state.value} (with id: {row.earned_badge_id})")
        self._ledger.record(sent.outcome(changes, issues, accepted=accepted, ids=ids))
        self._account.close_rows(issues)
        self._planner.doubtful.forget(issue.row_number for issue in issues)
        told_apart = sum(issue.state is RowState.ACCEPTED for issue in issues)
        self._account.count(RowState.ACCEPTED, len(accepted) - told_apart)
        self._watch.look(sent)
        return self._unproven(sent, unknown) + self._after_a_pause(sent, again)

    def _all_accepted(self, sent: Sent) -> list[Work]:
        ids = sent.judgement.granted_ids
        self._ledger.record(sent.outcome(accepted=sent.batch.badges, ids=ids))
        self._account.count(RowState.ACCEPTED, len(ids))
        self._watch.look(sent)
        return []

    def _unproven(self, sent: Sent, unknown: list[EarnedBadge]) -> list[Work]:
        if not unknown or self._settings.on_unknown is OnUnknown.HOLD:
            return []
        reason = sent.judgement.reason
        return [Unproven(sent.batch.part(unknown), sent.key, self._ledger.now(), reason, sent.request_id)]

    def _after_a_pause(self, sent: Sent, badges: list[EarnedBadge]) -> list[Work]:
        if not badges:
            return []
        asked = sent.judgement.retry_after
        seconds = self._backoff.seconds(sent.batch.tries, asked)
        if asked is not None:
            self._pace.hold_all(seconds)
        log.info("Sending %d rows again in %.1f s (%s)", len(badges), seconds, sent.evidence())
        self._stop.pause(seconds)
        again = sent.batch.part(badges, tries=sent.batch.tries + 1)
        again.waited += seconds
        return [again]

    def _retry_later(self, sent: Sent) -> list[Work]:
        self._ledger.record(sent.not_applied())
        if not self._backoff.exhausted(sent.batch.tries, sent.batch.waited, sent.judgement.retry_after):
            return self._after_a_pause(sent, sent.batch.badges)
        self._stop.request(
            ApiUnavailableError(
                f"the API could not be used ({sent.told()}); nothing of the rows reported as not sent was applied",
                status=sent.reply.status,
                retry_after=sent.judgement.retry_after,
            )
        )
        return [sent.batch]

    def _split(self, sent: Sent) -> list[Work]:
        """Nothing was applied: look in each half for the rows that are to blame. A row alone is rejected."""
        if len(sent.batch.badges) > 1:
            self._ledger.record(sent.not_applied())
            return list(sent.batch.halves())
        judgement = sent.judgement
        refused = RowOutcome(RowState.REJECTED, code=judgement.code, message=judgement.reason)
        alone = msgspec.structs.replace(judgement, verdict=Verdict.PER_ROW, looked_at=(refused,))
        return self._settle_rows(msgspec.structs.replace(sent, judgement=alone))

    def _plan_again(self, batch: Batch) -> list[Work]:
        """Another job was quicker with some of the rows: they are sent, taken over, or at their end."""
        rows = self._look_again(batch, batch.badges)
        works = self.take_over(rows.settle, batch)
        return [*works, batch.part(rows.send)] if rows.send else works

    def _look_again(self, batch: Batch, badges: Sequence[EarnedBadge]) -> Sorted:
        """Sort rows by what the ledger holds of them now; end those that are at their end.

        After too many conflicts rows that this job does not hold are left to others: not sent, and a retry may
        bring them home. Those that are left to settle then are its own, which nobody else can take.
        """
        batch.conflicts += 1
        rows = self._planner.sort_again(badges)
        if batch.conflicts > MOST_CONFLICTS:
            own = [(badge, held) for badge, held in rows.settle if held.job == self._job.key]
            left = [*rows.send, *(badge for badge, held in rows.settle if held.job != self._job.key)]
            log.warning("%d rows are not sent: other jobs were quicker %d times in a row", len(left), batch.conflicts)
            rows = Sorted([], own, [*rows.done, *((badge, Plan.BUSY) for badge in left)])
        self._ending.close(rows.done, batch.origins)
        self._planner.release([badge for badge, _ in rows.done])
        return rows
