"""Deals with a batch that was not accepted as a whole: row by row, again after a pause, in halves, or planned again.

A batch whose rows were all accepted never comes here; see ``lane.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Judgement, RowOutcome, Verdict
from airflow_provider_capillary.core.planning import Held, Plan
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ApiUnavailableError
from airflow_provider_capillary.jobs import stopping
from airflow_provider_capillary.jobs.account import issue_of
from airflow_provider_capillary.jobs.aside import Unproven
from airflow_provider_capillary.jobs.planner import ToDo
from airflow_provider_capillary.jobs.read_back import UnknownRows
from airflow_provider_capillary.jobs.running_import import RunningImport
from airflow_provider_capillary.jobs.settings import OnUnknown
from airflow_provider_capillary.ledger.facts import IntentConflictError, Outcome, RowChange, RowIssue

log = logging.getLogger(__name__)

#: Each conflict means that another job got on, so few follow each other. More are a fault, which must end.
MOST_CONFLICTS = 20

Work = Batch | Unproven


class Exchanged(msgspec.Struct, frozen=True):
    """A batch that was sent, the ledger's number of it, what came back, and the judgement on that."""

    batch: Batch
    key: int
    request_id: str
    reply: Reply
    judgement: Judgement

    def outcome(
        self,
        changes: Sequence[RowChange] = (),
        issues: Sequence[RowIssue] = (),
        accepted: Sequence[EarnedBadge] = (),
        ids: Sequence[str] = (),
    ) -> Outcome:
        """The outcome for the ledger."""
        judged = self.judgement
        return Outcome(
            self.key, judged.verdict.name, self.reply.status, changes, issues, accepted, ids, given=judged.given
        )

    def not_applied(self) -> Outcome:
        """The outcome for the ledger if the reply proves that nothing was applied."""
        return self.outcome([RowChange(badge, RowState.PLANNED) for badge in self.batch.badges])

    def issue(self, badge: EarnedBadge, row: RowOutcome) -> RowIssue:
        """The issue of a row of the batch: why it was not accepted, or why it is in doubt although it was."""
        return issue_of(
            badge,
            self.batch.origins,
            row.state,
            "send",
            row.message,
            code=row.code,
            request_id=self.reply.server_request_id or self.request_id,
            attempt=self.batch.requests,
        )


class FollowUp:
    """All lanes share it, because each call has rows of its own. Each call returns the work that is left to do."""

    def __init__(self, running: RunningImport, unknown_rows: UnknownRows, watch: stopping.HarmWatch) -> None:
        self._running = running
        self._planner = running.planner
        self._unknown_rows = unknown_rows
        self._settings = running.settings
        self._stop = running.stop
        self._backoff = running.pace.backoff
        self._watch = watch

    def after(self, exchanged: Exchanged) -> list[Work]:
        """Record the outcome of a batch, and give the work that follows."""
        match exchanged.judgement.verdict:
            case Verdict.PER_ROW | Verdict.UNKNOWN:
                return self._record_each_row(exchanged)
            case Verdict.RETRY_LATER:
                return self._retry_later(exchanged)
            case Verdict.HALVE | Verdict.BISECT:
                return self._split(exchanged)
            case Verdict.STOP:
                self._running.record(exchanged.not_applied())
                method = self._running.client.settings.import_method.value
                self._stop.request(stopping.refusal(exchanged.reply, exchanged.judgement, method))
                return [exchanged.batch]

    def _record_each_row(self, exchanged: Exchanged) -> list[Work]:
        """Record each row's outcome. Rows refused for a passing reason go again; unknown rows follow ``on_unknown``."""
        accepted: list[EarnedBadge] = []
        ids: list[str] = []
        changes: list[RowChange] = []
        issues: list[RowIssue] = []
        again: list[EarnedBadge] = []
        unknown: list[EarnedBadge] = []
        batch = exchanged.batch
        doubts = self._planner.doubts_of(batch.badges)
        exhausted = self._backoff.exhausted(batch.tries, batch.waited)
        for badge, row in zip(batch.badges, exchanged.judgement.rows, strict=True):
            match row:
                case RowOutcome(state=RowState.ACCEPTED, earned_badge_id=str(granted)) if granted:
                    accepted.append(badge)
                    ids.append(granted)
                case RowOutcome(state=RowState.UNKNOWN):
                    unknown.append(badge)
                    changes.append(RowChange(badge, RowState.UNKNOWN, row.earned_badge_id))
                    if self._settings.on_unknown is OnUnknown.HOLD:
                        issues.append(exchanged.issue(badge, row))
                case RowOutcome(state=RowState.REJECTED, passing=True) if not exhausted:
                    again.append(badge)
                    changes.append(RowChange(badge, RowState.PLANNED))
                case RowOutcome(state=RowState.REJECTED):
                    changes.append(RowChange(badge, RowState.REJECTED))
                    issues.append(exchanged.issue(badge, row))
                case _:
                    # Nothing is recorded, so the intents stay, and the next try treats them as unknown.
                    raise AssertionError(f"no reply makes a row {row.state.value} (with id: {row.earned_badge_id})")
        in_doubt = [
            exchanged.issue(badge, RowOutcome(RowState.ACCEPTED, message=doubts[badge.row_number]))
            for badge in accepted
            if badge.row_number in doubts
        ]
        issues += in_doubt
        self._running.record(exchanged.outcome(changes, issues, accepted, ids))
        self._running.account.count(RowState.ACCEPTED, len(accepted) - len(in_doubt))
        self._watch.look(batch, exchanged.reply, exchanged.judgement)
        return self._unproven(exchanged, unknown) + self._after_a_pause(exchanged, again)

    def _unproven(self, exchanged: Exchanged, unknown: list[EarnedBadge]) -> list[Work]:
        if not unknown or self._settings.on_unknown is OnUnknown.HOLD:
            return []
        batch, reason = exchanged.batch.part(unknown), exchanged.judgement.reason
        due = self._running.monotonic() + self._settings.verify_after
        return [Unproven(batch, exchanged.key, due, reason, exchanged.request_id)]

    def _after_a_pause(self, exchanged: Exchanged, badges: Sequence[EarnedBadge]) -> list[Work]:
        if not badges:
            return []
        batch, asked = exchanged.batch, exchanged.judgement.retry_after
        seconds = self._backoff.seconds(batch.tries, asked)
        if asked is not None:
            self._running.pace.hold_all(seconds)
        evidence = stopping.evidence(exchanged.reply, exchanged.judgement)
        log.info("Sending %d rows again in %.1f s (%s)", len(badges), seconds, evidence)
        self._stop.pause(seconds)
        again = batch.part(badges, tries=batch.tries + 1)
        again.waited += seconds
        return [again]

    def _retry_later(self, exchanged: Exchanged) -> list[Work]:
        batch, judgement = exchanged.batch, exchanged.judgement
        self._running.record(exchanged.not_applied())
        if not self._backoff.exhausted(batch.tries, batch.waited, judgement.retry_after):
            return self._after_a_pause(exchanged, batch.badges)
        reason = stopping.short_reason(exchanged.reply, judgement)
        self._stop.request(
            ApiUnavailableError(
                f"the API could not be used ({reason}); nothing of the rows reported as not sent was applied",
                status=exchanged.reply.status,
                retry_after=judgement.retry_after,
            )
        )
        return [batch]

    def _split(self, exchanged: Exchanged) -> list[Work]:
        """Nothing was applied: send each half alone, to find the bad rows. A single row is rejected."""
        if len(exchanged.batch.badges) > 1:
            self._running.record(exchanged.not_applied())
            return list(exchanged.batch.halves())
        judgement = exchanged.judgement
        refused = RowOutcome(RowState.REJECTED, code=judgement.code, message=judgement.reason)
        alone = msgspec.structs.replace(judgement, verdict=Verdict.PER_ROW, looked_at=(refused,))
        return self._record_each_row(msgspec.structs.replace(exchanged, judgement=alone))

    # -- rows that were not sent ---------------------------------------------------------------------------------------

    def end_unsent(self, batch: Batch) -> list[Work]:
        """End the rows of a batch that the stopped job does not send.

        Rows that an earlier try has sent end as that try left them. A batch that was looked up has no such rows.
        """
        works: list[Work] = []
        if batch.unseen:
            rows = self._planner.plan_again(batch.badges)
            self._planner.end(rows.done, batch.origins)
            own, others = self._by_holder(rows)
            works = self.take_over(own, batch)
            batch = batch.part(others)
        self._planner.end_unsent(batch, f"the job stopped: {self._stop.error}")
        return works

    def take_over(self, rows: Sequence[tuple[EarnedBadge, Held]], batch: Batch) -> list[Work]:
        """Make rows that a dead try left unproven this job's work. Rows that others settle first are planned again."""
        works: list[Work] = []
        send: list[EarnedBadge] = []
        while rows:
            try:
                works += self._unknown_rows.take_over(rows, batch)
            except IntentConflictError:
                again = self._look_again(batch, [badge for badge, _ in rows])
                rows = again.settle
                send += again.send
            else:
                break
        return [*works, batch.part(send)] if send else works

    def plan_again(self, batch: Batch) -> list[Work]:
        """Plan the rows of a batch again, because another job was quicker with some of them."""
        rows = self._look_again(batch, batch.badges)
        works = self.take_over(rows.settle, batch)
        return [*works, batch.part(rows.send)] if rows.send else works

    def _look_again(self, batch: Batch, badges: Sequence[EarnedBadge]) -> ToDo:
        """Plan rows by what the ledger holds of them now, and end those that need no request.

        After ``MOST_CONFLICTS`` conflicts, stop competing: rows that other jobs have are reported as not sent, and a
        retry looks again. The rest belong to this job, so no further conflict is possible.
        """
        batch.conflicts += 1
        rows = self._planner.plan_again(badges)
        if batch.conflicts > MOST_CONFLICTS:
            own, left = self._by_holder(rows)
            log.warning("%d rows are not sent: other jobs were quicker %d times in a row", len(left), batch.conflicts)
            rows = ToDo([], own, [*rows.done, *((badge, Plan.BUSY) for badge in left)])
        self._planner.end(rows.done, batch.origins)
        return rows

    def _by_holder(self, rows: ToDo) -> tuple[list[tuple[EarnedBadge, Held]], list[EarnedBadge]]:
        """Divide rows that are to be sent or settled into those that this job left unproven, and all others."""
        own = [(badge, held) for badge, held in rows.settle if held.job == self._running.job.key]
        return own, [*rows.send, *(badge for badge, held in rows.settle if held.job != self._running.job.key)]
