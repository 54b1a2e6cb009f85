"""Reads one unknown row back after its import is over, and says what that proves."""

from __future__ import annotations

import logging

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.send_limits import left_by
from airflow_provider_capillary.core.verification import Finding, settle
from airflow_provider_capillary.exceptions import ApiError, ApiUnavailableError, ImportInterruptedError
from airflow_provider_capillary.importing.patience import STOPPED, Patience
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.importing.verifier import Reader
from airflow_provider_capillary.ledger.facts import Job, UnprovenRow
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_SHORTEST_WAIT = 0.01
#: Rows of which the API may show an earn; it goes on showing those that were revoked.
_MAY_SHOW = (RowState.ACCEPTED, RowState.UNKNOWN, RowState.INTENT, RowState.REVOKED)
#: Statuses with which the API refuses to read one customer; any other refusal would meet every read.
_ABOUT_THE_CUSTOMER = frozenset({200, 400, 404})


class Readings(msgspec.Struct, frozen=True):
    """The API as read for one organisation."""

    reader: Reader
    organisation: str
    requests_per_minute: int | None = None


class Read(msgspec.Struct, frozen=True):
    """What a read proves; ``why`` and ``code`` where it proves nothing."""

    finding: Finding
    earned_badge_id: str | None = None
    why: str = ""
    code: int | None = None


class ReadingBack:
    """Reads rows of one job.

    :param verify_after: seconds that must have passed since a body left, at the latest, before a read may be trusted to
        say that the badge is not there.
    """

    def __init__(
        self,
        ledger: Ledger,
        job: Job,
        reader: Reader,
        patience: Patience,
        stop: StopSignal,
        *,
        verify_after: float,
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._patience = patience
        self._stop = stop
        self._verify_after = verify_after
        self._job = job

    def read(self, row: UnprovenRow) -> Read:
        """Wait until a read can be trusted, and read.

        :raises ApiError: the API cannot be used, or refuses every read.
        :raises ImportInterruptedError: told to stop.
        """
        self._wait_until(left_by(row.since, cut_off=row.is_cut_off) + self._verify_after)
        badge = row.badge
        try:
            view = self._patience.ask(lambda: self._reader.view_customer_badge(badge.customer_id, badge.badge_meta_id))
        except ApiUnavailableError:
            raise
        except ApiError as error:
            if error.status not in _ABOUT_THE_CUSTOMER:
                raise
            why = "the API refuses to read this badge of this customer"
            return Read(Finding.UNDECIDED, None, why, error.code)
        # Asked after the read: whatever the read shows was noted as an intent before it was sent.
        verified = settle(badge.earned_at, view, others_at_instant=self._others_at_instant(badge))
        return Read(verified.finding, verified.earned_badge_id, verified.finding.value)

    def _others_at_instant(self, badge: EarnedBadge) -> int:
        held = self._ledger.find(self._job, [badge]).get((badge.customer_id, badge.badge_meta_id), [])
        return sum(one.earned_at == badge.earned_at and _is_another(one, badge) for one in held)

    def _wait_until(self, due: float) -> None:
        """Wait by the ledger's clock, which need not run as ours does."""
        if (wait := due - self._ledger.now()) > 0:
            log.info("Reading back in %.0f s: the API may still be at work on what was sent", wait)
        while (wait := due - self._ledger.now()) > 0 and not self._stop.requested:
            self._stop.pause(max(wait, _SHORTEST_WAIT))
        if self._stop.requested:
            raise ImportInterruptedError(STOPPED)


def _is_another(held: Held, badge: EarnedBadge) -> bool:
    return held.occurrence != badge.occurrence and held.state in _MAY_SHOW
