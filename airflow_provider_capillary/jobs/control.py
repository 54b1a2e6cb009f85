"""Reads controls: badges that are known to be there. Only after one is shown, a read that shows no badge is believed.

A reply with an id has accepted such a badge. If a read does not show it at the instant that was sent, this API's reads
do not show imports, or not as they were sent. Then no read can prove that a row is not there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.verification import Control, Finding, settle
from airflow_provider_capillary.exceptions import ApiError, ApiUnavailableError
from airflow_provider_capillary.jobs.pacing import Pace
from airflow_provider_capillary.ledger.facts import Controls

log = logging.getLogger(__name__)

#: For so long a control that was shown counts. Then one is read again.
FRESH_SECONDS = 600.0
#: Statuses with which the API refuses to read one customer. Any other status would refuse every read.
ABOUT_THE_CUSTOMER = frozenset({200, 400, 404})
_MOMENT = 0.001


class FindControls(Protocol):
    """Asks the ledger for controls: a method of ``LedgerWriter``, or of ``Ledger`` with its job."""

    def __call__(self, near: EarnedBadge, *, before: float) -> Controls:
        """See ``Ledger.find_controls``."""
        ...


class _Side(msgspec.Struct):
    """The controls on one side of the expiry. An API may show expired badges differently, so the sides are apart."""

    control: Control = Control.NONE_YET
    shown_at: float = 0.0  #: by the clock for durations


class ControlReads:
    """The controls that this process has read. One for all lanes of a job, thread-safe.

    If no control is shown, this holds for the rest of the job: none of its rows is believed to be absent.

    :param now: the ledger's clock, epoch seconds.
    :param wait_until: waits until a moment of the clock for durations.
    :param monotonic: the clock for durations, in seconds.
    :param verify_after: seconds after its acceptance from which on reads must show a badge.
    """

    def __init__(
        self,
        client: BadgeClient,
        find: FindControls,
        now: Callable[[], float],
        pace: Pace,
        wait_until: Callable[[float], None],
        monotonic: Callable[[], float],
        *,
        verify_after: float,
    ) -> None:
        self._client = client
        self._find = find
        self._now = now
        self._pace = pace
        self._wait_until = wait_until
        self._monotonic = monotonic
        self._verify_after = verify_after
        self._lock = threading.Lock()
        self._sides = {False: _Side(), True: _Side()}

    def may_come(self, badge: EarnedBadge) -> bool:
        """Whether there is a control for this row, or one can be read now without waiting."""
        with self._lock:
            side = self._side_of(badge)
            return side.control is not Control.NONE_YET or bool(self._found(badge).badges)

    def see(self, badge: EarnedBadge, *, wait: bool) -> Control:
        """Give the control that counts for this row; read one if none was read lately.

        :param wait: if the only ones were accepted less than ``verify_after`` ago, wait until one is old enough.
        :raises ApiError: the API cannot be used, or refuses every read.
        :raises ImportInterruptedError: asked to stop.
        """
        with self._lock:
            side = self._side_of(badge)
            if side.control is Control.NONE_YET:
                found = self._found(badge)
                if wait:
                    found = self._awaited(badge, found)
                side.control = self._read(found)
                side.shown_at = self._monotonic()
                if side.control is Control.NOT_SHOWN:
                    log.warning("Reads do not show imports here: no row of this job is believed to be absent")
            return side.control

    def _side_of(self, badge: EarnedBadge) -> _Side:
        side = self._sides[badge.expires_at <= self._now()]
        if side.control is Control.SHOWN and self._monotonic() - side.shown_at > FRESH_SECONDS:
            side.control = Control.NONE_YET
        return side

    def _found(self, badge: EarnedBadge) -> Controls:
        return self._find(badge, before=self._now() - self._verify_after + _MOMENT)

    def _awaited(self, badge: EarnedBadge, found: Controls) -> Controls:
        """Look again when the next candidate is old enough, within ``verify_after`` from now."""
        latest = self._monotonic() + self._verify_after + _MOMENT
        while not found.badges and found.next_at is not None:
            due = self._monotonic() + max(found.next_at + self._verify_after - self._now(), _MOMENT)
            if due > latest:
                break
            log.info("Waiting until a badge that a reply proves must show in reads")
            self._wait_until(due)
            found = self._found(badge)
        return found

    def _read(self, found: Controls) -> Control:
        """Read the candidates until one is shown. More than one is needed, because a person may have revoked one."""
        control = Control.NONE_YET
        for badge in found.badges:
            try:
                seen = self._pace.call(lambda b=badge: self._client.get_customer_badge(b.customer_id, b.badge_meta_id))  # type: ignore[misc]
            except ApiUnavailableError:
                raise
            except ApiError as error:
                if error.status not in ABOUT_THE_CUSTOMER:
                    raise
                continue
            if settle(badge.earned_at, seen.view(), others_at_instant=0).finding is Finding.GRANTED:
                return Control.SHOWN
            control = Control.NOT_SHOWN
        return control
