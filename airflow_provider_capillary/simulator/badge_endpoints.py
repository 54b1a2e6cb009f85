"""Simulates the API's calls other than the import: reads, revocation, and the customer look-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from airflow_provider_capillary.simulator.badge_store import BadgeStore, Grant
from airflow_provider_capillary.simulator.instants import ServerZone, nine_decimals
from airflow_provider_capillary.simulator.messages import (
    Request,
    SimulatedReply,
    data_reply,
    json_reply,
    parse_error,
    problem,
    refusal,
)
from airflow_provider_capillary.simulator.simulator_settings import SimulatedBadge, SimulatorSettings

_IDENTIFIERS = ("email", "mobile", "externalId", "cardNumber")
_DEFAULT_PAGE_SIZE = 10


class BadgeEndpoints:
    """Answers from the catalogue and the store. Method names are the operations of ``routing.py``."""

    def __init__(self, settings: SimulatorSettings, store: BadgeStore, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._zone = ServerZone(settings.zone)
        self._reads = settings.reads
        self._catalogue = {badge.id: badge for badge in settings.badges}

    # ------------------------------------------------------------------------------------------------ the catalogue

    def badge_list(self, request: Request) -> SimulatedReply:
        """``GET badgeMeta``: the catalogue, page by page, pages counted from 0."""
        name = request.query.get("name", "")
        badges = [badge for badge in self._settings.badges if name in badge.name]
        shown, pagination = _one_page(badges, request.query, size_name="size")
        details = [self._describe(badge) for badge in shown]
        return data_reply({"metaBasicDetails": details, "pagination": pagination}, empty=[])

    def badge(self, request: Request, badge_id: str) -> SimulatedReply:
        """``GET badgeMeta/{badgeId}``: 404 with code 404 for a badge that the organisation does not have."""
        badge = self._catalogue.get(badge_id)
        return _no_such_badge() if badge is None else data_reply(self._describe(badge))

    def _describe(self, badge: SimulatedBadge) -> dict[str, Any]:
        return {
            "id": badge.id,
            "orgId": 100_000,
            "name": badge.name,
            "description": None,
            "earnType": "EARN",
            "status": "LIVE",
            "ownership": {"restrictedToOwners": ["Historical_Import"], "claims": []},
            "customFields": {},
            "active": True,
        }

    # -------------------------------------------------------------------------------------------- badges of customers

    def badges_of_customer(self, request: Request, customer_id: str) -> SimulatedReply:
        """``GET badges/customer/{customerId}``: what the customer holds, summed up by badge."""
        customer = self._customer(request, customer_id)
        if customer is None:
            return _no_such_customer()
        shown, pagination = _one_page(self._held(customer, request.query), request.query, size_name="Limit")
        badges = [
            {
                "badgeMetaId": badge.id,
                "name": badge.name,
                "earnedCount": len(grants),
                **self._last(grants, "lastEarnedOnDate"),
            }
            for badge, grants in shown
        ]
        return data_reply({"badges": badges, "pagination": pagination}, empty=[])

    def customer_badge_list(self, request: Request, customer_id: str) -> SimulatedReply:
        """``GET badges/management/{customerId}``: all badges, or with ``badgeType`` those earned or expired."""
        customer = self._customer(request, customer_id)
        if customer is None:
            return _no_such_customer()
        held = self._held(customer, request.query)
        if "badgeType" not in request.query:
            earned = {badge.id for badge, _ in held}
            held += [(badge, []) for badge in self._settings.badges if badge.id not in earned]
        shown, pagination = _one_page(held, request.query, size_name="size")
        badges = [
            {"badgeMetaId": badge.id, "name": badge.name, "earnCount": len(grants) or None, **self._last(grants)}
            for badge, grants in shown
        ]
        return data_reply({"customerBadges": badges, "pagination": pagination}, empty=[])

    def customer_badge(self, request: Request, customer_id: str, badge_id: str) -> SimulatedReply:
        """``GET badges/management/{customerId}/badge/{badgeId}``: a client reads it back after a lost reply.

        ``earnCount`` counts every earn, also expired and revoked ones; ``activeEarnedCount`` leaves these out.
        """
        customer = self._customer(request, customer_id)
        if customer is None:
            return _no_such_customer()
        badge = self._catalogue.get(badge_id)
        if badge is None:
            return _no_such_badge()
        grants = self._visible(customer, badge.id)
        data: dict[str, Any] = {
            "id": badge.id,
            "name": badge.name,
            "badgeType": "EARN",
            "badgeStatus": "LIVE",
            "action": "ACTIVATED",
        }
        statistics: dict[str, Any] = {"activeEarnedCount": sum(self._is_active(grant) for grant in grants)}
        if request.query.get("includeStatistics", "").lower() == "true":
            earns = [self._earn(grant) for grant in grants] if self._settings.earns_detail else []
            statistics["issualDetails"] = {"issuedCount": 0, "issuals": []}
            statistics["earnDetails"] = {"earnCount": len(grants), "earns": earns}
        if self._reads.echo_customer:
            data["customerId"] = customer
        return data_reply(data | statistics | self._last(grants) | {"customFields": {}}, empty=[])

    def _visible(self, customer: int, badge_id: str | None = None) -> list[Grant]:
        if not self._reads.show_imports:
            return []
        newest = self._clock() - self._settings.read_delay_seconds
        return [grant for grant in self._store.grants_of(customer, badge_id) if grant.granted_at <= newest]

    def _held(self, customer: int, query: Mapping[str, str]) -> list[tuple[SimulatedBadge, list[Grant]]]:
        """Badges with the customer's grants of the wanted kind; without a query, those that have not expired."""
        wants_expired = query.get("badgeType") == "EXPIRED"
        wants_all = query.get("includeExpired", "").lower() == "true"
        held: dict[str, list[Grant]] = {}
        for grant in self._visible(customer):
            if grant.is_active and (wants_all or (grant.expires_at <= self._clock()) == wants_expired):
                held.setdefault(grant.badge_meta_id, []).append(grant)
        return [(self._catalogue[badge_id], grants) for badge_id, grants in held.items()]

    def _is_active(self, grant: Grant) -> bool:
        return grant.is_active and grant.expires_at > self._clock()

    def _last(self, grants: list[Grant], *names: str) -> dict[str, Any]:
        """The dates of the last earn, all or those of ``names`` beside the event's; null without any.

        ``lastEarnedOnDate`` is when it was posted. ``lastEarnedOn`` is the event date, as in the one published sample
        that has all three.
        """
        events = [self._shown(grant.earned_at) for grant in grants]  # in the order in which they were posted
        event_date = max(events[-1:] if self._reads.last == "posted" else events, default=None)
        posted_at = max((grant.granted_at for grant in grants), default=None)
        dates = {"lastEarnedOn": event_date, "lastEarnedOnDate": posted_at}
        chosen = {name: dates[name] for name in names} if names else dates
        every = chosen | {"lastEarnEventDate": event_date}
        return {name: value for each, date in every.items() for name, value in self._instant(each, date).items()}

    def _earn(self, grant: Grant) -> dict[str, Any]:
        """One of ``earns``. Its shape is not published, so it follows that of ``issuals``, or of the event."""
        if self._settings.earns_shape == "event":
            return {"earnId": grant.earned_badge_id, "earnedOn": math.floor(self._shown(grant.earned_at) * 1000)}
        return {
            "earnedBadgeId": grant.earned_badge_id,
            **self._instant("earnedOn", self._shown(grant.earned_at)),
            **self._instant("earnEventDate", self._shown(grant.earned_at)),
            **self._instant("expiresOn", grant.expires_at),
            "isActive": self._is_active(grant),
        }

    def _shown(self, event_date: float) -> float:
        """The instant of an earn event, as these reads show it."""
        precision = self._reads.event_precision_seconds
        shifted = event_date + self._reads.event_shift_seconds
        return shifted if precision == 1 else shifted // precision * precision

    def _instant(self, name: str, seconds: float | None) -> dict[str, Any]:
        if seconds is None:
            return {name: None, f"{name}ISO": None}
        number = nine_decimals(seconds) if not self._reads.milliseconds else int(seconds * 1_000)
        return {name: number, f"{name}ISO": self._zone.iso(math.floor(seconds))}

    # ------------------------------------------------------------------------------------------ revocation and look-up

    def revoke(self, request: Request) -> SimulatedReply:
        """``POST badges/customer/revokeEarn``: 409 with code 814 if the earn does not exist, or was revoked before."""
        try:
            sent = msgspec.json.decode(request.body, type=dict[str, Any])
            customer = self._customer(request, str(sent.get("customerId")))
        except msgspec.DecodeError as error:
            return parse_error(str(error))
        badge_id, earned_id = str(sent.get("badgeMetaId")), str(sent.get("earnedBadgeId"))
        if customer is None or not self._store.revoke(customer, badge_id, earned_id):
            return refusal(409, 814, "Active earn instance is not present.")
        revoked = {"badgeMetaId": badge_id, "customerId": customer, "earnedBadgeId": earned_id, "isActive": False}
        return data_reply(revoked, empty=[])

    def lookup(self, request: Request) -> SimulatedReply:
        """``GET /v2/customers/lookup``: the customer id behind a mobile number and the like, else 8015."""
        identifier = request.query.get("identifierName", ""), request.query.get("identifierValue", "")
        customer = self._settings.identifiers.get(identifier)
        if customer is not None:
            return json_reply({"entity": customer, "warnings": []})
        missing = problem(8015, "Customer not found for the given identifiers") | {"status": False}
        del missing["reference"]  # v2 has its own shape of errors
        return json_reply({"warnings": [], "errors": [missing]}, status=400)

    def _customer(self, request: Request, value: str) -> int | None:
        """The customer that a path or body names: by id, or by the identifier in ``X-CAP-CUSTOMER-IDENTIFIER``."""
        kind = request.headers.get("x-cap-customer-identifier")
        if kind in _IDENTIFIERS:
            return self._settings.identifiers.get((kind, value))
        known = self._settings.customers
        if not value.isdigit() or (known is not None and int(value) not in known):
            return None
        return int(value)


def _one_page(found: list[Any], query: Mapping[str, str], size_name: str) -> tuple[list[Any], dict[str, int]]:
    page = _count(query.get("page"), default=0)
    size = max(_count(query.get(size_name), default=_DEFAULT_PAGE_SIZE), 1)
    pagination = {"page": page, "size": size, "total": len(found), "totalPages": math.ceil(len(found) / size)}
    return found[page * size : (page + 1) * size], pagination


def _count(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


def _no_such_badge() -> SimulatedReply:
    return refusal(404, 404, "Passed badge is not found")


def _no_such_customer() -> SimulatedReply:
    return refusal(400, 1026, "Customer with the specified ID is not found")
