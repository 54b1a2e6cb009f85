"""Settles rows whose fate is not proven, as the policy says: hold, send again, or read back first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.send_limits import left_by
from airflow_provider_capillary.core.verification import CustomerBadgeView, Finding, Verified, settle
from airflow_provider_capillary.exceptions import ApiError, ApiUnavailableError
from airflow_provider_capillary.importing.account import issue_of
from airflow_provider_capillary.importing.settings import OnUnknown
from airflow_provider_capillary.importing.shared import Shared
from airflow_provider_capillary.ledger.facts import Adoption, Job, Outcome, RowChange, RowIssue

log = logging.getLogger(__name__)

_SHORTEST_WAIT = 0.01
#: Statuses with which the API refuses to read one customer; any other refusal would meet every read.
_ABOUT_THE_CUSTOMER = frozenset({200, 400, 404})

MAY_BE_TWICE = "sent again without proof, as on_unknown=resend asks: may be granted twice"
FOUND = "found by reading back"


class Reader(Protocol):
    """What reads a customer's badge."""

    def view_customer_badge(self, customer_id: int, badge_meta_id: str) -> CustomerBadgeView:
        """Read; raise ``ApiError`` where that fails."""
        ...


class Unproven(msgspec.Struct, frozen=True):
    """Rows that the ledger knows as unknown, all of one sent batch."""

    batch: Batch
    key: int  #: the ledger's number of the batch in which they were sent
    since: float  #: by when their body has left or was given up, by the ledger's clock
    reason: str
    request_id: str | None = None


class Verifier:
    """One for all lanes; keeps no state of its own."""

    def __init__(self, shared: Shared, reader: Reader) -> None:
        self._reader = reader
        self._ledger = shared.ledger
        self._planner = shared.planner
        self._account = shared.account
        self._settings = shared.settings
        self._stop = shared.stop
        self._backoff = shared.backoff
        self._pace = shared.pace

    def settle(self, unproven: Unproven) -> list[Batch]:
        """Settle the rows; give those that are to be sent (again)."""
        policy = self._settings.on_unknown
        if policy is OnUnknown.HOLD or self._stop.requested:
            self._hold(unproven, unproven.batch.badges, unproven.reason)
            return []
        if policy is OnUnknown.RESEND:
            return self._resend(unproven)
        return self._verify(unproven)

    def _resend(self, unproven: Unproven) -> list[Batch]:
        batch = unproven.batch
        if self._backoff.exhausted(batch.tries, batch.waited):
            self._hold(unproven, batch.badges, f"{unproven.reason}; sent {batch.requests} times without proof")
            return []
        log.warning("%d rows are sent again without proof: they may be granted twice", len(batch.badges))
        self._ledger.record(_change(unproven, batch.badges, RowState.PLANNED, MAY_BE_TWICE))
        for badge in batch.badges:
            self._planner.doubtful.note(badge, MAY_BE_TWICE)
        return [batch.part(batch.badges, tries=batch.tries + 1)]

    def _verify(self, unproven: Unproven) -> list[Batch]:
        badges = unproven.batch.badges
        due = unproven.since + self._settings.verify_after
        log.info(
            "%d rows came back without proof; reading back in %.0f s", len(badges), max(due - self._ledger.now(), 0)
        )
        self._wait_until(due)
        absent: list[EarnedBadge] = []
        for badge in badges:
            if self._stop.requested:
                self._hold(unproven, [badge], unproven.reason)
                continue
            verified = self._read(badge)
            if verified.finding is Finding.ABSENT:
                absent.append(badge)
            elif verified.finding is Finding.GRANTED:
                self._found(unproven, badge, verified)
            else:
                self._hold(unproven, [badge], f"{unproven.reason}; {verified.finding.value}")
        return self._send_again(unproven, absent)

    def _send_again(self, unproven: Unproven, absent: list[EarnedBadge]) -> list[Batch]:
        if not absent:
            return []
        batch = unproven.batch
        self._ledger.record(_change(unproven, absent, RowState.PLANNED))
        if self._backoff.exhausted(batch.tries, batch.waited):
            told = f"rows were sent {batch.requests} times and never arrived"
            self._stop.request(ApiUnavailableError(told))
        return [batch.part(absent, tries=batch.tries + 1)]

    def _wait_until(self, due: float) -> None:
        """Wait by the ledger's clock, which need not run as ours does."""
        while (wait := due - self._ledger.now()) > 0 and not self._stop.requested:
            self._stop.pause(max(wait, _SHORTEST_WAIT))

    def _read(self, badge: EarnedBadge) -> Verified:
        tries = 0
        while True:
            self._pace.wait_for_turn()
            try:
                view = self._reader.view_customer_badge(badge.customer_id, badge.badge_meta_id)
                # Asked after the read: whatever the read shows was noted as an intent before it was sent.
                others = self._planner.others_at_instant([badge])[badge.row_number]
                return settle(badge.earned_at, view, others_at_instant=others)
            except ApiUnavailableError as error:
                if self._backoff.exhausted(tries, asked=error.retry_after) or self._stop.requested:
                    self._stop.request(error)
                    return Verified(Finding.UNDECIDED)
                self._pace.hold_all(self._backoff.seconds(tries, error.retry_after))
                tries += 1
            except ApiError as error:
                if error.status not in _ABOUT_THE_CUSTOMER:
                    self._stop.request(error)
                return Verified(Finding.UNDECIDED)

    def _found(self, unproven: Unproven, badge: EarnedBadge, verified: Verified) -> None:
        doubts = self._planner.doubtful.among([badge])
        told = "; ".join([unproven.reason, FOUND, *doubts.values()])
        # only of stage verify is what is proven to be granted once
        issue = _issue(unproven, badge, RowState.ACCEPTED, told, stage="send" if doubts else "verify")
        change = RowChange(badge, RowState.ACCEPTED, verified.earned_badge_id)
        self._ledger.record(Outcome(unproven.key, "", None, [change], [issue]))
        self._account.close_rows([issue])
        self._planner.doubtful.forget(doubts)

    def _hold(self, unproven: Unproven, badges: Sequence[EarnedBadge], reason: str) -> None:
        issues = [_issue(unproven, badge, RowState.UNKNOWN, reason) for badge in badges]
        self._ledger.record(Outcome(unproven.key, "", None, [], issues))
        self._account.close_rows(issues)


class Taker:
    """Takes over rows that a dead job, or a dead try of this one, left unproven."""

    def __init__(self, shared: Shared, job: Job) -> None:
        self._ledger = shared.ledger
        self._job = job

    def take_over(self, rows: Sequence[tuple[EarnedBadge, Held]], batch: Batch) -> list[Unproven]:
        """Make the rows this job's own unknown rows, by the batch in which they were sent.

        Raises ``IntentConflictError`` where another job was quicker; then plan the rows anew.
        """
        foreign = [(badge, held) for badge, held in rows if held.job != self._job.key]
        if foreign:
            self._ledger.record(Adoption(foreign))
        by_batch: dict[int, list[tuple[EarnedBadge, Held]]] = {}
        for badge, held in rows:
            by_batch.setdefault(held.batch, []).append((badge, held))
        return [
            Unproven(
                _sent_before(batch, group),
                key,
                max(left_by(held.unproven_since or 0.0, cut_off=held.is_cut_off) for _, held in group),
                "an earlier try was cut off before the outcome was known",
            )
            for key, group in by_batch.items()
        ]


def _sent_before(batch: Batch, group: Sequence[tuple[EarnedBadge, Held]]) -> Batch:
    part = batch.part([badge for badge, _ in group])
    part.requests = max(held.attempt for _, held in group)
    return part


def _change(unproven: Unproven, badges: Sequence[EarnedBadge], state: RowState, doubt: str | None = None) -> Outcome:
    return Outcome(unproven.key, "", None, [RowChange(badge, state) for badge in badges], doubt=doubt)


def _issue(unproven: Unproven, badge: EarnedBadge, state: RowState, message: str, stage: str = "verify") -> RowIssue:
    return issue_of(
        badge,
        unproven.batch.origins,
        state,
        stage,
        message,
        request_id=unproven.request_id,
        attempt=unproven.batch.requests,
    )
