"""Probes an organisation: grants one to three badges to one customer, finds out how its API answers, and revokes them.

Each grant is recorded in the ledger before it is asked for. If the process dies, the next probe of the organisation
revokes the recorded grants: by the id, or by a read that finds the id if the reply was lost.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, repeat

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import TimestampFormat
from airflow_provider_capillary.client.wire import encode_batch
from airflow_provider_capillary.core import probing
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.probing import Answers, Before, End, RepeatedId, Shown, Sight, Tried, Way
from airflow_provider_capillary.core.verification import CustomerBadgeView
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    BudgetExceededError,
    CapillaryError,
    ConfigurationError,
    JobIsRunningError,
    RequestRefusedError,
)
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.revoke import NOT_ACTIVE_CODE
from airflow_provider_capillary.ledger.lease import is_certainly_dead
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.probing import ProbeGrant

log = logging.getLogger(__name__)

WAIT_SECONDS = 180.0
_EARNED_AGO, _LIFETIME = 3_600, 7_200  #: seconds; so a badge that cannot be revoked ends soon by its expiry
_ODD_SECOND = 37  #: of the minute, so that a coarser or shifted instant shows
_MOST_LATER = 6
_FIRST_WAITS = (0.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0)  #: seconds between reads; then as long as the last one
_LONGEST_SILENCE = 600.0  #: seconds after which a probe on another machine counts as dead
_ASKS_TO_REVOKE = 3


class Probed(msgspec.Struct, frozen=True):
    """The result of a probe. ``error``: why it is no success."""

    answers: Answers
    granted: int  #: by this probe
    revoked: int  #: by this call, those that an earlier probe left included
    recovered: int  #: of these, left by a probe that was cut off
    left: tuple[str, ...]  #: descriptions of grants that may still be there
    error: CapillaryError | None = None


class _Sent(msgspec.Struct, frozen=True):
    badge: EarnedBadge
    request_id: str
    grant: int
    tried: Tried
    at: float  #: when the reply was there, by the clock for durations


class ProbeJob:
    """One probe. ``run`` it once.

    :param organisation: its client says how a request is written first.
    :param client_of: gives a client of the same organisation that imports by this method.
    :param by: who asks for it, for the ledger.
    :param wait: seconds after which a read that shows no grant counts.
    :param monotonic: the clock for durations, in seconds.
    :param jitter: the randomness of waits, 0 <= value < 1.
    """

    def __init__(
        self,
        organisation: Organisation,
        client_of: Callable[[str], BadgeClient],
        ledger: Ledger,
        customer_id: int,
        badge_meta_id: str,
        *,
        by: str,
        wait: float = WAIT_SECONDS,
        stop: StopSignal | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = organisation.client
        self._name = organisation.name
        self._client_of = client_of
        self._ledger = ledger
        self._customer = customer_id
        self._badge = badge_meta_id
        self._by = by
        self._wait = wait
        self._stop = stop or StopSignal()
        self._monotonic = monotonic
        self._pace = organisation.pace(ledger.reserve_request, self._stop, jitter, monotonic)
        self._revoked = self._recovered = 0
        self._probe = 0
        self._before = Before()
        self._sent: list[_Sent] = []

    def run(self) -> Probed:
        """Ask, revoke, and keep the answers.

        :raises JobIsRunningError: another probe of the organisation is running.
        :raises ConfigurationError: the organisation does not have the badge; nothing was granted.
        :raises CapillaryError: the API or the ledger cannot be used. What was granted until then is revoked, or stays
            recorded for the next call.
        """
        self._refuse_beside_another()
        self._revoke_known()  # of a probe that was cut off
        if self._pace.call(partial(self._client.get_badge, self._badge)) is None:
            raise ConfigurationError(f"the organisation has no badge {self._badge}. Nothing was granted")
        self._before = Before.of(self._look(self._customer, self._badge))
        self._probe = self._ledger.probes.begin(self._name, self._customer, self._badge, self._before, by=self._by)
        try:
            answers = self._ask()
        except BaseException:
            with suppress(Exception):  # the grants stay recorded, and the next call revokes them
                self._revoke_known()
            raise
        self._revoke_known()
        left = self._settle_lost(answers)
        self._ledger.probes.finish(self._probe, answers.as_dict())
        granted = sum(one.tried.earned_badge_id is not None for one in self._sent)
        return Probed(answers, granted, self._revoked, self._recovered, left, self._shortfall(answers, left))

    # -- the questions -----------------------------------------------------------------------------------------------

    def _ask(self) -> Answers:
        right = self._find_way()
        tries = tuple(
            f"{one.tried.way.import_method} {one.tried.way.timestamp_format}: {one.tried.end.value}"
            f"{f' ({one.tried.reason})' if one.tried.reason else ''}"
            for one in self._sent
        )
        if right is None:
            return Answers(None, tries=tries)
        tried = right.tried
        answers = Answers(tried.way, tried.shape, tried.offset, tried.echoes_request_id, tries=tries)
        seen, last = self._watch(right)
        answers = probing.with_sight(answers, seen, right.badge, last, last)
        return msgspec.structs.replace(answers, repeated_request_id=self._repeat(right))

    def _find_way(self) -> _Sent | None:
        """Try ways until one is right; ``None``: none was."""
        later = 0
        while way := probing.next_way([one.tried for one in self._sent], self._client.settings.import_method.value):
            one = self._send(way, self._new_badge(), str(uuid.uuid4()))
            if one.tried.end is End.LATER:
                later += 1
                if later == _MOST_LATER:
                    raise ApiUnavailableError(f"the API takes no request: {one.tried.reason}")
                self._pace.hold_all(self._pace.backoff.seconds(later, one.tried.retry_after))
            if one.tried.end in (End.LOST, End.UNPROVEN):
                one = self._proven_by_read(one)
                self._sent[-1] = one
            if one.tried.end is End.RIGHT:
                return one
        return None

    def _new_badge(self) -> EarnedBadge:
        """A badge with an instant that no other grant of a probe has, and an expiry that comes soon."""
        minute = int(self._ledger.now()) // 60 * 60
        earned_at = minute - _EARNED_AGO + _ODD_SECOND
        taken = {one.earned_at for one in self._ledger.probes.open_grants(self._name)}
        taken.update(one.badge.earned_at for one in self._sent)
        while earned_at in taken:
            earned_at -= 60
        return EarnedBadge(1, self._badge, self._customer, earned_at, minute + _LIFETIME)

    def _send(self, way: Way, badge: EarnedBadge, request_id: str) -> _Sent:
        """Record the grant, ask for it once, and record its outcome."""
        body = encode_batch([badge], TimestampFormat(way.timestamp_format))
        self._pace.wait_for_turn()
        grant = self._ledger.probes.note_grant(self._probe, badge.earned_at, way, request_id)
        reply = self._client_of(way.import_method).import_badges(body, request_id)
        tried = probing.judge_try(way, badge, reply, request_id)
        if tried.earned_badge_id is not None:
            self._ledger.probes.answer_grant(grant, "granted", tried.earned_badge_id)
        elif not tried.end.may_have_granted:
            self._ledger.probes.answer_grant(grant, "absent")
        log.info("%s %s: %s", way.import_method, way.timestamp_format, tried.end.value)
        sent = _Sent(badge, request_id, grant, tried, self._monotonic())
        self._sent.append(sent)
        return sent

    def _proven_by_read(self, one: _Sent) -> _Sent:
        """Look for a grant whose reply was lost, or did not echo what was sent."""
        tried = one.tried
        for view in self._views(self._customer, self._badge, one.at + self._wait):
            known = self._known_ids()
            if tried.earned_badge_id is None and (found := probing.ids_of_lost(one.badge.earned_at, known, view)):
                tried = msgspec.structs.replace(tried, earned_badge_id=found[0])
                self._ledger.probes.answer_grant(one.grant, "granted", found[0])
            if tried.earned_badge_id is None:
                continue
            seen = probing.sight(one.badge, tried.earned_badge_id, self._before, view, self._granted())
            if seen is not None and seen.instant is not Shown.NONE:
                end = End.OTHER_UNIT if seen.instant in (Shown.OTHER_UNIT, Shown.OTHER) else End.RIGHT
                return msgspec.structs.replace(one, tried=msgspec.structs.replace(tried, end=end))
        return msgspec.structs.replace(one, tried=tried)

    def _watch(self, one: _Sent) -> tuple[Sight | None, float]:
        """Read until the grant shows; give how it shows, and the seconds from its reply to the last read."""
        seen: Sight | None = None
        for view in self._views(self._customer, self._badge, one.at + self._wait):
            seen = probing.sight(one.badge, one.tried.earned_badge_id, self._before, view, self._granted())
            if seen is not None:
                break
        return seen, self._monotonic() - one.at

    def _repeat(self, right: _Sent) -> RepeatedId:
        """Send the right request once more under the same id."""
        if probing.grants_of([one.tried for one in self._sent]) >= probing.MOST_GRANTS:
            return RepeatedId.NOT_TRIED
        again = self._send(right.tried.way, right.badge, right.request_id)
        if again.tried.earned_badge_id == right.tried.earned_badge_id is not None:
            self._ledger.probes.answer_grant(again.grant, "absent")
        if again.tried.end is End.LOST:
            self._sent[-1] = again = self._proven_by_read(again)
        return probing.repeated(right.tried.earned_badge_id, again.tried)

    def _granted(self) -> int:
        return sum(one.tried.end.may_have_granted for one in self._sent)

    # -- reads -------------------------------------------------------------------------------------------------------

    def _look(self, customer_id: int, badge_meta_id: str) -> CustomerBadgeView:
        return self._pace.call(partial(self._client.get_customer_badge, customer_id, badge_meta_id)).view()

    def _views(self, customer_id: int, badge_meta_id: str, until: float) -> Iterator[CustomerBadgeView]:
        """Read at growing intervals, at least once, and for the last time not before ``until``."""
        for pause in chain(_FIRST_WAITS, repeat(_FIRST_WAITS[-1])):
            self._stop.pause(pause)
            is_last = self._stop.requested or self._monotonic() >= until
            yield self._look(customer_id, badge_meta_id)
            if is_last:
                return

    def _known_ids(self) -> set[str]:
        return self._ledger.probes.ids(self._name).union(self._before.ids)

    # -- revoking the grants -----------------------------------------------------------------------------------------

    def _refuse_beside_another(self) -> None:
        for one in self._ledger.probes.open_grants(self._name):
            silence = self._ledger.now() - one.noted_at
            if one.owner != self._ledger.owner and not is_certainly_dead(one.owner) and silence < _LONGEST_SILENCE:
                raise JobIsRunningError(
                    f"another probe of {self._name!r} granted a badge {silence:.0f} s ago and has not revoked it yet. "
                    f"Wait until it ends; if its process is gone, call again in {_LONGEST_SILENCE - silence:.0f} s",
                    retry_after=_LONGEST_SILENCE - silence,
                )

    def _revoke_known(self) -> None:
        """Revoke every grant whose id is known, of this probe and of those before it."""
        for one in self._ledger.probes.open_grants(self._name):
            if one.earned_badge_id is not None:
                self._revoke(one, one.earned_badge_id)

    def _revoke(self, one: ProbeGrant, earned_badge_id: str) -> None:
        """Ask until the API says that the badge is not active."""
        asked = 0

        def ask() -> bool:
            nonlocal asked
            asked += 1
            answer = self._client.revoke_earned_badge(one.badge_meta_id, one.customer_id, earned_badge_id)
            return answer.is_active is False

        for _ in range(_ASKS_TO_REVOKE):
            try:
                is_gone = self._pace.call(ask)
            except RequestRefusedError as error:
                if error.code != NOT_ACTIVE_CODE:
                    raise
                is_gone = True
            if is_gone:
                self._ledger.probes.answer_grant(one.key, "revoked", earned_badge_id)
                self._revoked += 1
                self._recovered += one.probe != self._probe
                return

    def _settle_lost(self, answers: Answers) -> tuple[str, ...]:
        """Find and revoke grants whose replies were lost; give those that may still be there."""
        left = []
        for one in self._ledger.probes.open_grants(self._name):
            if one.earned_badge_id is not None:
                left.append(
                    f"{_shown(one)}: the API does not say that it is revoked (earnedBadgeId {one.earned_badge_id})"
                )
            elif (why := self._search(one, answers)) is not None:
                left.append(f"{_shown(one)}: {why}")
        return tuple(left)

    def _search(self, one: ProbeGrant, answers: Answers) -> str | None:
        """Revoke a grant without an id, or close it as absent; give the reason if neither is possible."""
        age = max(0.0, self._ledger.now() - one.noted_at)
        view = CustomerBadgeView(0, None)
        enough = answers.verify_after or self._wait
        for view in self._views(one.customer_id, one.badge_meta_id, self._monotonic() + enough - age):
            known = self._ledger.probes.ids(self._name).union(one.before.ids)
            found = probing.ids_of_lost(one.earned_at, known, view)
            if len(found) == 1:
                self._ledger.probes.answer_grant(one.key, "granted", found[0])
                self._revoke(one, found[0])
                return None
            if len(found) > 1:
                return f"{len(found)} earns of the customer may be it: {', '.join(found)}"
        if answers.reads_show is None:
            return "its reply was lost, and no read showed it: call again, or look it up in Capillary"
        if not answers.reads_show:
            return "its reply was lost, and reads do not show imports: look it up in Capillary"
        listed = {each.earned_badge_id for each in view.sightings}
        granted = len(self._ledger.probes.ids(self._name, like=one))
        if listed - {None} or view.earn_count <= one.before.earn_count + granted:
            self._ledger.probes.answer_grant(one.key, "absent")
            return None
        return "its reply was lost, and reads show one earn more than before, without an id: revoke it in Capillary"

    def _shortfall(self, answers: Answers, left: tuple[str, ...]) -> CapillaryError | None:
        if left:
            return BudgetExceededError(f"{len(left)} grants may still be there: {'; '.join(left)}")
        if answers.way is None:
            return BudgetExceededError(f"no way to import was found: {'; '.join(answers.tries)}")
        return None


def _shown(one: ProbeGrant) -> str:
    return f"badge {one.badge_meta_id} of customer {one.customer_id}, earned at {one.earned_at}"
