"""Settles rows that no reply proves, by reading the customer's badge back. Every job that does so does it here.

``ReadBack`` reads one row, when a read may be believed, and says what that proves. ``UnknownRows`` is what an import
does with the unknown rows of one batch: hold them, send them again, or read them back first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.send_limits import left_by
from airflow_provider_capillary.core.verification import Finding, settle
from airflow_provider_capillary.exceptions import ApiError, ApiUnavailableError, ImportInterruptedError
from airflow_provider_capillary.jobs.account import Account, issue_of
from airflow_provider_capillary.jobs.pacing import STOPPED, Pace, StopSignal
from airflow_provider_capillary.jobs.planner import Planner
from airflow_provider_capillary.jobs.settings import ImportSettings, OnUnknown
from airflow_provider_capillary.ledger.facts import Adoption, Job, Outcome, RowChange, RowIssue
from airflow_provider_capillary.ledger.writer import LedgerWriter

log = logging.getLogger(__name__)

FOUND = "found by reading back"
MAY_BE_TWICE = "sent again without proof, as on_unknown=resend asks: may be granted twice"
CUT_OFF = "an earlier try was cut off before the outcome was known"
REFUSED = "the API refuses to read this badge of this customer"
_SHORTEST_WAIT = 0.01
#: States of rows whose earn the API may show. It goes on showing what was revoked.
_MAY_SHOW = frozenset({RowState.ACCEPTED, RowState.UNKNOWN, RowState.INTENT, RowState.REVOKED})
#: Statuses with which the API refuses to read one customer; any other refusal would meet every read.
_ABOUT_THE_CUSTOMER = frozenset({200, 400, 404})


class Read(msgspec.Struct, frozen=True):
    """What a read proves; ``why`` and ``code`` are for a row that stays unknown."""

    finding: Finding
    earned_badge_id: str | None = None
    why: str = Finding.UNDECIDED.value
    code: int | None = None


class ReadBack:
    """Reads rows of one job back.

    :param find: what the ledger holds of rows, by customer and badge.
    :param now: the ledger's clock, epoch seconds.
    :param verify_after: seconds that must have passed since a body left, at the latest, before a read may be trusted to
        say that the badge is not there.
    """

    def __init__(
        self,
        client: BadgeClient,
        find: Callable[[Sequence[EarnedBadge]], dict[tuple[int, str], list[Held]]],
        now: Callable[[], float],
        pace: Pace,
        stop: StopSignal,
        *,
        verify_after: float,
    ) -> None:
        self._client = client
        self._find = find
        self._now = now
        self._pace = pace
        self._stop = stop
        self._verify_after = verify_after

    def read(self, badge: EarnedBadge, *, left: float) -> Read:
        """Wait until a read may be believed, and read.

        :param left: the latest moment at which the row's body can have left, epoch seconds by the ledger's clock.
        :raises ApiError: the API cannot be used, or refuses every read.
        :raises ImportInterruptedError: asked to stop.
        """
        self._wait_until(left + self._verify_after)
        try:
            customer_badge = self._pace.call(
                lambda: self._client.get_customer_badge(badge.customer_id, badge.badge_meta_id)
            )
        except ApiUnavailableError:
            raise
        except ApiError as error:
            if error.status not in _ABOUT_THE_CUSTOMER:
                raise
            return Read(Finding.UNDECIDED, None, REFUSED, error.code)
        # Ask the ledger after the read: whatever the read shows was recorded as an intent before it was sent.
        others = self._others_at_instant(badge)
        verified = settle(badge.earned_at, customer_badge.view(), others_at_instant=others)
        return Read(verified.finding, verified.earned_badge_id)

    def _others_at_instant(self, badge: EarnedBadge) -> int:
        """How many other rows claim the same customer, badge and instant."""
        held = self._find([badge]).get((badge.customer_id, badge.badge_meta_id), ())
        return sum(
            other.earned_at == badge.earned_at and other.occurrence != badge.occurrence and other.state in _MAY_SHOW
            for other in held
        )

    def _wait_until(self, due: float) -> None:
        """Wait by the ledger's clock, which need not run as ours does."""
        is_logged = False
        while (wait := due - self._now()) > 0 and not self._stop.requested:
            if not is_logged:
                log.info("Reading back in %.0f s: the API may still be at work on what was sent", wait)
                is_logged = True
            self._stop.pause(max(wait, _SHORTEST_WAIT))
        if self._stop.requested:
            raise ImportInterruptedError(STOPPED)


class Unproven(msgspec.Struct, frozen=True):
    """Rows that the ledger knows as unknown, all of one sent batch."""

    batch: Batch
    key: int  #: the ledger's number of the batch in which they were sent
    left: float  #: the latest moment at which their body can have left, by the ledger's clock
    reason: str
    request_id: str | None = None


class UnknownRows:
    """Settles unknown rows of an import as ``on_unknown`` says. One for all lanes; keeps no state of its own."""

    def __init__(
        self,
        read_back: ReadBack,
        ledger: LedgerWriter,
        job: Job,
        planner: Planner,
        account: Account,
        settings: ImportSettings,
        stop: StopSignal,
        pace: Pace,
    ) -> None:
        self._read_back = read_back
        self._ledger = ledger
        self._job = job
        self._planner = planner
        self._account = account
        self._policy = settings.on_unknown
        self._stop = stop
        self._backoff = pace.backoff

    def take_over(self, rows: Sequence[tuple[EarnedBadge, Held]], batch: Batch) -> list[Unproven]:
        """Make rows that a dead job, or a dead try of this one, left unproven this job's own unknown rows.

        :raises IntentConflictError: another job was quicker; plan the rows anew.
        """
        foreign = [(badge, held) for badge, held in rows if held.job != self._job.key]
        if foreign:
            self._ledger.record(Adoption(foreign))
        by_batch: dict[int, list[tuple[EarnedBadge, Held]]] = {}
        for badge, held in rows:
            by_batch.setdefault(held.batch, []).append((badge, held))
        return [
            Unproven(
                _as_sent_before(batch, group),
                key,
                max(left_by(held.unproven_since or 0.0, cut_off=held.is_cut_off) for _, held in group),
                CUT_OFF,
            )
            for key, group in by_batch.items()
        ]

    def settle(self, unproven: Unproven) -> list[Batch]:
        """Settle the rows; give those that are to be sent (again)."""
        if self._policy is OnUnknown.HOLD or self._stop.requested:
            self._hold(unproven, unproven.batch.badges, unproven.reason)
            return []
        if self._policy is OnUnknown.RESEND:
            return self._resend(unproven)
        return self._verify(unproven)

    def _resend(self, unproven: Unproven) -> list[Batch]:
        batch = unproven.batch
        if self._backoff.exhausted(batch.tries, batch.waited):
            self._hold(unproven, batch.badges, f"{unproven.reason}; sent {batch.requests} times without proof")
            return []
        log.warning("%d rows are sent again without proof: they may be granted twice", len(batch.badges))
        changes = [RowChange(badge, RowState.PLANNED) for badge in batch.badges]
        self._ledger.record(Outcome(unproven.key, "", None, changes, doubt=MAY_BE_TWICE))
        for badge in batch.badges:
            self._planner.doubt(badge, MAY_BE_TWICE)
        return [batch.part(batch.badges, tries=batch.tries + 1)]

    def _verify(self, unproven: Unproven) -> list[Batch]:
        badges = unproven.batch.badges
        log.info("%d rows came back without proof; reading them back", len(badges))
        absent = [badge for badge in badges if self._is_absent(unproven, badge)]
        if not absent:
            return []
        batch = unproven.batch
        changes = [RowChange(badge, RowState.PLANNED) for badge in absent]
        self._ledger.record(Outcome(unproven.key, "", None, changes))
        if self._backoff.exhausted(batch.tries, batch.waited):
            self._stop.request(ApiUnavailableError(f"rows were sent {batch.requests} times and never arrived"))
        return [batch.part(absent, tries=batch.tries + 1)]

    def _is_absent(self, unproven: Unproven, badge: EarnedBadge) -> bool:
        """Read a row back. Where it is not proven absent, it is at its end: accepted, or held as unknown."""
        try:
            read = self._read_back.read(badge, left=unproven.left)
        except ImportInterruptedError:
            self._hold(unproven, [badge], unproven.reason)
            return False
        except ApiError as error:
            # the job stops, and the rows that follow are held without a read
            self._stop.request(error)
            read = Read(Finding.UNDECIDED)
        if read.finding is Finding.UNDECIDED:
            self._hold(unproven, [badge], f"{unproven.reason}; {read.why}", code=read.code)
        elif read.finding is Finding.GRANTED:
            self._found(unproven, badge, read)
        return read.finding is Finding.ABSENT

    def _found(self, unproven: Unproven, badge: EarnedBadge, read: Read) -> None:
        doubts = self._planner.doubts_of([badge])
        reason = "; ".join([unproven.reason, FOUND, *doubts.values()])
        # stage verify is only for rows that are proven to be granted once
        issue = _issue(unproven, badge, RowState.ACCEPTED, reason, stage="send" if doubts else "verify")
        change = RowChange(badge, RowState.ACCEPTED, read.earned_badge_id)
        self._ledger.record(Outcome(unproven.key, "", None, [change], [issue]))
        self._account.close_rows([issue])
        self._planner.forget_doubts(doubts)

    def _hold(self, unproven: Unproven, badges: Sequence[EarnedBadge], reason: str, *, code: int | None = None) -> None:
        issues = [_issue(unproven, badge, RowState.UNKNOWN, reason, code=code) for badge in badges]
        self._ledger.record(Outcome(unproven.key, "", None, [], issues))
        self._account.close_rows(issues)
        self._planner.forget_doubts(badge.row_number for badge in badges)


def _as_sent_before(batch: Batch, group: Sequence[tuple[EarnedBadge, Held]]) -> Batch:
    part = batch.part([badge for badge, _ in group])
    part.requests = max(held.attempt for _, held in group)
    return part


def _issue(
    unproven: Unproven,
    badge: EarnedBadge,
    state: RowState,
    message: str,
    *,
    stage: str = "verify",
    code: int | None = None,
) -> RowIssue:
    return issue_of(
        badge,
        unproven.batch.origins,
        state,
        stage,
        message,
        code=code,
        request_id=unproven.request_id,
        attempt=unproven.batch.requests,
    )
