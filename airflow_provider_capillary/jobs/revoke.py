"""Revokes what earlier imports granted, each earned badge by its id. The ledger records each request and its answer.

A second request for the same earned badge does no harm, because the API then says that it is not active. So after a
lost reply, or the death of the process in mid-call, the request is repeated.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.wire_reads import RevokedBadge
from airflow_provider_capillary.clocks import steady
from airflow_provider_capillary.core.summary import Reason, Tally
from airflow_provider_capillary.exceptions import BudgetExceededError, CapillaryError, RequestRefusedError
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import Pace, StopSignal, once_the_lease_ran_out
from airflow_provider_capillary.jobs.progress import ProgressLine
from airflow_provider_capillary.ledger.facts import Answer, GrantedRow, Grants, Job
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

#: Code of the API for an earned badge that is not active: revoked already, expired, or never there.
NOT_ACTIVE_CODE = 814
#: Statuses with which the API refuses one revocation. Any other status would refuse all of them.
_ABOUT_THE_ROW = frozenset({200, 400, 404, 409})
_MOST_REFUSED_IN_A_ROW = 5
_ASKS_UNTIL_CONFIRMED = 2


class Revoked(msgspec.Struct, frozen=True):
    """The result. ``error``: why it is no success.

    ``to_revoke == revoked + not_active + refused + unconfirmed``, unless it was a dry run.
    """

    jobs: int
    dry_run: bool
    to_revoke: int  #: known ``earnedBadgeId``s that were not revoked before: one a row, more for rows granted twice
    badges: dict[str, int]  #: the same by ``badgeMetaId``
    revoked: int
    not_active: int  #: were no longer active: expired, or revoked elsewhere
    refused: int
    unconfirmed: int
    already_revoked: int  #: by an earlier revocation
    free: int  #: revoked rows, now or before, that the next import may grant again
    without_id: int  #: accepted, but the API never gave an id, so they cannot be revoked by id
    unknown: int  #: may be granted or not; settle them first
    reasons: tuple[Reason, ...]  #: of the rows that were refused or stay unconfirmed
    error: CapillaryError | None = None

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON-ready values for XCom."""
        plain: dict[str, object] = {name: getattr(self, name) for name in self.__struct_fields__ if name != "error"}
        return plain | {"reasons": msgspec.to_builtins(list(self.reasons))}


class RevokeJob:
    """One revocation of one or many jobs. ``run`` it once. Each answer is recorded before the next request.

    :param organisation: whose API is asked, or ``None`` to count only (a dry run).
    :param by: who asks for it, for the ledger.
    :param import_again: free the rows that are revoked, now or before, so that an import grants them again.
    :param stop: lets another thread or a signal handler stop it.
    :param monotonic: the clock for durations, in seconds.
    :param jitter: the randomness of waits, 0 <= value < 1.
    """

    def __init__(
        self,
        ledger: Ledger,
        job_ids: Sequence[str],
        organisation: Organisation | None,
        *,
        by: str,
        import_again: bool = False,
        stop: StopSignal | None = None,
        monotonic: Callable[[], float] = steady,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._job_ids = job_ids
        self._organisation = organisation
        self._by = by
        self._import_again = import_again
        self._freed = 0
        self._monotonic = monotonic
        self._stop = stop or StopSignal()
        self._jitter = jitter
        self._answers: Counter[Answer] = Counter()
        self._tally = Tally()
        self._second: Counter[str] = Counter()  #: ids besides the rows' own, by badge
        self._refused_in_a_row = 0
        self._progress = ProgressLine(monotonic)

    def run(self) -> Revoked:
        """Revoke all that can be revoked.

        :raises JobIsRunningError: one of the imports is running.
        :raises CapillaryError: the API or the ledger cannot be used, or the API refuses every revocation. Earlier
            revocations are recorded.
        """
        for job_id in self._job_ids:
            record = self._ledger.job(job_id)
            if self._organisation is not None:
                self._organisation.check_owns(record)  # before anything is asked
        found = [self._ledger.grants(job_id) for job_id in self._job_ids]
        for job_id in self._job_ids:
            self._second.update(row.badge.badge_meta_id for row in self._ledger.revocations.second_grants(job_id))
        organisation = self._organisation
        if organisation is not None:
            pace = organisation.pace(self._ledger.reserve_request, self._stop, self._jitter, self._monotonic)
            self._progress.begin(sum(sum(one.with_id.values()) for one in found) + self._second.total())
            for job_id in self._job_ids:
                job = once_the_lease_ran_out(
                    partial(self._ledger.settlements.take_stock, job_id), self._stop, self._monotonic
                )
                self._revoke_job(job, organisation.client, pace)
        return self._result(found)

    def _revoke_job(self, job: Job, client: BadgeClient, pace: Pace) -> None:
        for rows in self._ledger.revocations.granted(job.job_id):
            for row in rows:
                self._revoke(job, row, client, pace)
        for row in self._ledger.revocations.second_grants(job.job_id):
            self._revoke(job, row, client, pace)
        while self._import_again and (freed := self._ledger.revocations.free(job, by=self._by)):
            self._freed += freed

    def _revoke(self, job: Job, row: GrantedRow, client: BadgeClient, pace: Pace) -> None:
        self._ledger.revocations.note(job, row, by=self._by)
        answer = self._ask(row, client, pace)
        self._ledger.revocations.answer(job, row, answer)
        self._answers[answer] += 1
        self._progress.write(self._answers.total())

    def _ask(self, row: GrantedRow, client: BadgeClient, pace: Pace) -> Answer:
        """Ask until the API answers. If a reply is lost, the next one says whether the badge is active."""
        asked = 1 if row.asked_before else 0

        def revoke() -> RevokedBadge:
            nonlocal asked
            asked += 1
            return client.revoke_earned_badge(row.badge.badge_meta_id, row.badge.customer_id, row.earned_badge_id)

        try:
            for _ in range(_ASKS_UNTIL_CONFIRMED):
                if pace.call(revoke).is_active is False:
                    self._refused_in_a_row = 0
                    return Answer.REVOKED
        except RequestRefusedError as error:
            return self._refusal(error, asked > 1)
        self._tally.explain("revoke", None, "the API took the request, but does not say that the badge is not active")
        return Answer.UNCONFIRMED

    def _refusal(self, error: RequestRefusedError, asked_before: bool) -> Answer:
        if error.code == NOT_ACTIVE_CODE:
            self._refused_in_a_row = 0
            return Answer.REVOKED if asked_before else Answer.NOT_ACTIVE
        self._refused_in_a_row += 1
        if error.status not in _ABOUT_THE_ROW or error.code is None or self._refused_in_a_row > _MOST_REFUSED_IN_A_ROW:
            raise error
        self._tally.explain("revoke", error.code, str(error))
        return Answer.REFUSED

    def _result(self, found: Sequence[Grants]) -> Revoked:
        badges = Counter(self._second)
        for one in found:
            badges.update(one.with_id)
        answers = self._answers
        return Revoked(
            jobs=len(self._job_ids),
            dry_run=self._organisation is None,
            to_revoke=badges.total() if self._organisation is None else answers.total(),
            badges=dict(badges),
            revoked=answers[Answer.REVOKED],
            not_active=answers[Answer.NOT_ACTIVE],
            refused=answers[Answer.REFUSED],
            unconfirmed=answers[Answer.UNCONFIRMED],
            already_revoked=sum(one.revoked for one in found),
            free=self._freed,
            without_id=sum(one.without_id for one in found),
            unknown=sum(one.unknown for one in found),
            reasons=self._tally.reasons(),
            error=self._shortfall(),
        )

    def _shortfall(self) -> CapillaryError | None:
        left = self._answers[Answer.REFUSED] + self._answers[Answer.UNCONFIRMED]
        if not left:
            return None
        return BudgetExceededError(
            f"{left} of {self._answers.total()} badges are not revoked: the API refused, or did not confirm it. "
            "A later try asks for these again, and for no others"
        )
