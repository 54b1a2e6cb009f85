"""Settles rows that no reply proves, by reading the customer's badge back. Every job that does so does it here.

``ReadBack`` reads one row, when a read may be believed, and says what that proves. ``UnknownRows`` is what an import
does with the unknown rows of one batch: hold them, send them again, or read them back first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.send_limits import seconds_to_wait
from airflow_provider_capillary.core.verification import (
    Control,
    Disbelief,
    Finding,
    OtherRow,
    disbelieved,
    earns_found,
    earns_known,
    earns_possible,
    settle,
)
from airflow_provider_capillary.exceptions import ApiError, ApiUnavailableError, ImportInterruptedError
from airflow_provider_capillary.jobs.account import issue_of
from airflow_provider_capillary.jobs.aside import Aside, Unproven
from airflow_provider_capillary.jobs.control import ABOUT_THE_CUSTOMER, ControlReads, FindControls
from airflow_provider_capillary.jobs.pacing import STOPPED, Pace, StopSignal
from airflow_provider_capillary.jobs.running_import import RunningImport
from airflow_provider_capillary.jobs.settings import OnUnknown
from airflow_provider_capillary.ledger.facts import Adoption, Age, Outcome, RowChange, RowIssue

log = logging.getLogger(__name__)

FOUND = "found by reading back"
MAY_BE_TWICE = "sent again without proof, as on_unknown=resend asks: may be granted twice"
CUT_OFF = "an earlier try was cut off before the outcome was known"
REFUSED = "the API refuses to read this badge of this customer"
_SHORTEST_WAIT = 0.01
#: States of rows whose earn the API may show. It goes on showing what was revoked.
_MAY_SHOW = frozenset({RowState.ACCEPTED, RowState.UNKNOWN, RowState.INTENT, RowState.REVOKED})


class Read(msgspec.Struct, frozen=True):
    """What a read proves; ``why`` and ``code`` are for a row that stays unknown."""

    finding: Finding
    earned_badge_id: str | None = None
    why: str = Finding.UNDECIDED.value
    code: int | None = None
    shows_others: bool = False  #: other unknown rows of the customer and badge, of which this one would hide the earns

    @property
    def lacks_control(self) -> bool:
        """Whether a later read may prove more, because a badge was seen in reads by then."""
        return self.why == Disbelief.NO_CONTROL


class Find(Protocol):
    """Asks the ledger what it holds of rows: ``LedgerWriter``'s way, and ``Ledger``'s for one job."""

    def __call__(self, badges: Sequence[EarnedBadge], *, any_date: bool = False) -> dict[tuple[int, str], list[Held]]:
        """See ``Ledger.find``."""
        ...


class ReadBack:
    """Reads rows of one job back.

    :param find: what the ledger holds of rows, by customer and badge.
    :param find_controls: badges that are known to be there.
    :param now: the ledger's clock, epoch seconds.
    :param monotonic: the clock for durations, in seconds.
    :param verify_after: seconds that must have passed since a body left, at the latest, before a read may be trusted to
        say that the badge is not there.
    :param waiting: entered while it waits, with the moment until which it does, by the clock for durations.
    """

    def __init__(
        self,
        client: BadgeClient,
        find: Find,
        find_controls: FindControls,
        now: Callable[[], float],
        pace: Pace,
        stop: StopSignal,
        monotonic: Callable[[], float],
        *,
        verify_after: float,
        waiting: Callable[[float], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._client = client
        self._find = find
        self._now = now
        self._pace = pace
        self._stop = stop
        self._monotonic = monotonic
        self._verify_after = verify_after
        self._waiting = waiting
        self._controls = ControlReads(
            client, find_controls, now, pace, self._wait_until, monotonic, verify_after=verify_after
        )

    def due(self, age: Age) -> float:
        """When a read of rows of that age may be believed, by the clock for durations."""
        return self._monotonic() + seconds_to_wait(age.seconds, self._verify_after, cut_off=age.is_cut_off)

    def may_be_believed(self, badges: Sequence[EarnedBadge]) -> bool:
        """Whether a read can prove now that one of the rows is not there, without waiting for a control."""
        now = self._now()
        one_of_each = {badge.expires_at <= now: badge for badge in badges}
        return any(self._controls.may_come(badge) for badge in one_of_each.values())

    def read(self, badge: EarnedBadge, *, due: float, wait: bool) -> Read:
        """Wait until a read may be believed, and read.

        :param due: when a read may be believed, by the clock for durations.
        :param wait: for a control, too, where one can be had within ``verify_after``.
        :raises ApiError: the API cannot be used, or refuses every read.
        :raises ImportInterruptedError: asked to stop.
        """
        self._wait_until(due)
        # The rows are counted before the read: what is accepted after it was not in the API's count.
        before = self._others(badge)
        try:
            customer_badge = self._pace.call(
                lambda: self._client.get_customer_badge(badge.customer_id, badge.badge_meta_id)
            )
        except ApiUnavailableError:
            raise
        except ApiError as error:
            if error.status not in ABOUT_THE_CUSTOMER:
                raise
            return Read(Finding.UNDECIDED, None, REFUSED, error.code)
        # Ask the ledger after the read, too: whatever the read shows was recorded as an intent before it was sent.
        after = self._others(badge)
        view = customer_badge.view()
        at_instant = sum(other.earned_at == badge.earned_at and other.state in _MAY_SHOW for other in after)
        verified = settle(badge.earned_at, view, others_at_instant=at_instant)
        known, possible = earns_known(before, view), earns_possible(after)
        why = disbelieved(verified.finding, view, known=known, possible=possible, control=Control.NONE_YET)
        if why is Disbelief.NO_CONTROL:
            control = self._controls.see(badge, wait=wait)
            why = disbelieved(verified.finding, view, known=known, possible=possible, control=control)
        if why is not None:
            return Read(Finding.UNDECIDED, None, why.value)
        return Read(verified.finding, verified.earned_badge_id, shows_others=earns_found(after, view) > 0)

    def _others(self, badge: EarnedBadge) -> list[OtherRow]:
        """Other rows that the ledger holds of the same customer and badge, at whatever instant."""
        held = self._find([badge], any_date=True).get((badge.customer_id, badge.badge_meta_id), ())
        own = badge.earned_at, badge.occurrence
        return [OtherRow(one.state, one.earned_at) for one in held if (one.earned_at, one.occurrence) != own]

    def _wait_until(self, due: float) -> None:
        """Wait by the clock for durations; the time of day may be set meanwhile."""
        if (wait := due - self._monotonic()) > 0 and not self._stop.requested:
            log.info("Reading back in %.0f s: the API may still be at work on what was sent", wait)
            with self._waiting(due):
                while (wait := due - self._monotonic()) > 0 and not self._stop.requested:
                    self._stop.pause(max(wait, _SHORTEST_WAIT))
        if self._stop.requested:
            raise ImportInterruptedError(STOPPED)


class UnknownRows:
    """Settles unknown rows of an import as ``on_unknown`` says. One for all lanes."""

    def __init__(self, running: RunningImport, read_back: ReadBack) -> None:
        self._running = running
        self._read_back = read_back
        self._ledger = running.ledger
        self._planner = running.planner
        self._policy = running.settings.on_unknown
        self._stop = running.stop
        self._backoff = running.pace.backoff
        self.aside = Aside()  #: rows that wait until the lanes are still
        self._at_end = False

    def take_unproven(self) -> list[Unproven]:
        """Give the unknown rows that were set aside. The lanes are still; from now on none is set aside."""
        self._at_end = True
        return self.aside.take_unproven()

    def take_later_rows(self, most: int) -> Iterator[Batch]:
        """Give the rows that waited for these, in the dataset's order, so many at a time."""
        return self.aside.take_later_rows(most)

    def take_over(self, rows: Sequence[tuple[EarnedBadge, Held]], batch: Batch) -> list[Unproven]:
        """Make rows that a dead job, or a dead try of this one, left unproven this job's own unknown rows.

        :raises IntentConflictError: another job was quicker; plan the rows anew.
        """
        foreign = [(badge, held) for badge, held in rows if held.job != self._running.job.key]
        if foreign:
            self._ledger.record(Adoption(foreign))
        by_batch: dict[int, list[tuple[EarnedBadge, Held]]] = {}
        for badge, held in rows:
            by_batch.setdefault(held.batch, []).append((badge, held))
        ages = self._ledger.ages(by_batch)
        return [
            Unproven(_as_sent_before(batch, group), key, self._read_back.due(ages[key]), CUT_OFF)
            for key, group in by_batch.items()
        ]

    def settle(self, unproven: Unproven) -> list[Batch]:
        """Settle the rows; give those that are to be sent (again)."""
        if self._policy is OnUnknown.HOLD or self._stop.requested:
            self._hold(unproven, unproven.batch.badges, unproven.reason)
            return []
        if self._policy is OnUnknown.RESEND:
            return self._resend(unproven)
        badges = unproven.batch.badges
        if not self._at_end and (self.aside.waits_for(badges) or not self._read_back.may_be_believed(badges)):
            log.info("%d rows came back without proof; they wait until a control can be read", len(badges))
            self.aside.put(unproven)
            return []
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
            read = self._read_back.read(badge, due=unproven.due, wait=self._at_end)
        except ImportInterruptedError:
            self._hold(unproven, [badge], unproven.reason)
            return False
        except ApiError as error:
            # the job stops, and the rows that follow are held without a read
            self._stop.request(error)
            read = Read(Finding.UNDECIDED)
        if not self._at_end and (read.lacks_control or (read.finding is Finding.ABSENT and read.shows_others)):
            self.aside.put(msgspec.structs.replace(unproven, batch=unproven.batch.part([badge])))
            return False
        if read.finding is Finding.UNDECIDED:
            self._running.account.lacks_control += read.lacks_control
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
        self._running.record(Outcome(unproven.key, "", None, [change], [issue]))

    def _hold(self, unproven: Unproven, badges: Sequence[EarnedBadge], reason: str, *, code: int | None = None) -> None:
        issues = [_issue(unproven, badge, RowState.UNKNOWN, reason, code=code) for badge in badges]
        self._running.record(Outcome(unproven.key, "", None, [], issues))


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
