"""All calls except the import, as typed structs and as JSON: badges, a customer's badge, lookup, revocation, tokens.

Instants are whole epoch seconds; names are untrusted text. Reads are decoded leniently: a field that is missing or of
another type is ``None``, never a guess. Two faults make a reply undecodable, because verification relies on them: a
missing ``earnCount``, and a reply that is not about the badge and the customer that were asked for.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LATEST_INSTANT
from airflow_provider_capillary.core.verification import CustomerBadgeView, Sighting

#: Lifetime in seconds of a token whose reply does not state it; short, because asking often does no harm.
UNSTATED_LIFETIME = 60.0
#: Fields that name a last earn. Any value of them counts as an earn, also one that cannot be read.
_LAST_EARN_NAMES = tuple(
    f"{name}{suffix}" for name in ("lastEarnEventDate", "lastEarnedOn", "lastEarnedOnDate") for suffix in ("", "ISO")
)
_encode = msgspec.json.encode
_Value = TypeVar("_Value")


class Badge(msgspec.Struct, frozen=True):
    """A badge that the organisation has (its ``badgeMeta``)."""

    badge_meta_id: str
    name: str | None = None
    status: str | None = None  #: ``UPCOMING``, ``LIVE``, ``EXPIRED``
    is_active: bool | None = None
    earn_type: str | None = None  #: ``EARN`` or ``ISSUE_EARN``
    starts_at: int | None = None
    expires_at: int | None = None


class BadgeList(msgspec.Struct, frozen=True):
    """One page of the badge list. ``total_pages`` is ``None`` if the reply does not state it."""

    badges: tuple[Badge, ...]
    total_pages: int | None = None


class Earn(msgspec.Struct, frozen=True):
    """One earn of a badge. The API's shape is not documented, so either part may be unknown."""

    earned_badge_id: str | None = None
    earn_event_at: int | None = None


class CustomerBadge(msgspec.Struct, frozen=True):
    """One badge of one customer, as the API gives it with statistics."""

    earn_count: int
    active_earned_count: int | None = None
    last_earn_event_at: int | None = None
    last_earned_at: int | None = None  #: when the last earn was posted to the API, which is not the earn event
    shows_a_last_earn: bool = False  #: the reply has a date of a last earn, even if it could not be read
    earns: tuple[Earn, ...] = ()

    def view(self) -> CustomerBadgeView:
        """Give the facts that verification needs.

        Any sign of an earn counts as one. An ``earnCount`` of 0 beside an active badge must not prove that the badge is
        absent.
        """
        signs = (self.earn_count, self.active_earned_count or 0, int(self.shows_a_last_earn))
        return CustomerBadgeView(
            earn_count=max(signs),
            last_earned_at=self.last_earn_event_at,
            sightings=tuple(Sighting(each.earned_badge_id, each.earn_event_at) for each in self.earns),
        )


class RevokedBadge(msgspec.Struct, frozen=True):
    """The reply to a revocation. ``is_active`` is ``False`` if the API confirms it."""

    earned_badge_id: str | None = None
    is_active: bool | None = None


class AccessToken(msgspec.Struct, frozen=True):
    """An OAuth token and its lifetime in seconds from the reply."""

    token: str
    lifetime: float

    def __repr__(self) -> str:
        """Keep the token out of logs and tracebacks."""
        return f"AccessToken(***, lifetime={self.lifetime})"


class UndecodableError(ValueError):
    """The reply is JSON, but lacks what the call is for."""


class OtherReplyError(UndecodableError):
    """The reply is about another badge or customer than was asked for, or does not name them."""


def encode_token_request(key: str, secret: str) -> bytes:
    """Give the body that asks for an OAuth token."""
    return _encode({"key": key, "secret": secret})


def encode_revocation(badge_meta_id: str, customer_id: int, earned_badge_id: str) -> bytes:
    """Give the body that revokes one earned badge."""
    return _encode({"badgeMetaId": badge_meta_id, "customerId": customer_id, "earnedBadgeId": earned_badge_id})


def decode_token(data: Any) -> AccessToken:
    """Read a token reply; its lifetime is ``ttlSeconds``."""
    token = _text(_get(data, "accessToken"))
    if not token or not token.isascii() or not token.isprintable():
        raise UndecodableError("the reply holds no accessToken")
    lifetime = _number(_get(data, "ttlSeconds"))
    return AccessToken(token, lifetime if lifetime is not None and lifetime > 0 else UNSTATED_LIFETIME)


def decode_badge_list(data: Any) -> BadgeList:
    """Read one reply of the badge list."""
    listed = _get(data, "metaBasicDetails")
    if not isinstance(listed, list):
        raise UndecodableError("the reply holds no metaBasicDetails")
    total = _number(_get(_get(data, "pagination"), "totalPages"))
    badges = tuple(badge for each in listed if (badge := _badge(each)) is not None)
    return BadgeList(badges, int(total) if total is not None else None)


def decode_badge(data: Any, *, badge_meta_id: str) -> Badge:
    """Read the badge that was asked for."""
    badge = _badge(data)
    if badge is None:
        raise UndecodableError("the reply holds no badge with an id")
    _require_badge(data, badge_meta_id)
    return badge


def decode_customer_badge(data: Any, *, customer_id: int, badge_meta_id: str) -> CustomerBadge:
    """Read what the customer has of the badge. The published samples name the badge as ``id``, and no customer.

    :raises OtherReplyError: the reply does not name the badge, or names another badge or customer.
    """
    details = _get(data, "earnDetails")
    count = _number(_get(details, "earnCount"))
    if count is None:
        raise UndecodableError("the reply holds no earnDetails.earnCount")
    active = _number(_get(data, "activeEarnedCount"))
    earns = _get(details, "earns")
    _require_badge(data, badge_meta_id)
    for each in (data, details, *(earns if isinstance(earns, list) else ())):
        _refuse_other(each, "badgeMetaId", badge_meta_id)
        _refuse_other(each, "customerId", str(customer_id))
    return CustomerBadge(
        earn_count=int(count),
        active_earned_count=int(active) if active is not None else None,
        last_earn_event_at=_instant(data, "lastEarnEventDate"),
        last_earned_at=_instant(data, "lastEarnedOnDate"),
        shows_a_last_earn=any(_get(data, name) is not None for name in _LAST_EARN_NAMES),
        earns=tuple(map(_earn, earns)) if isinstance(earns, list) else (),
    )


def decode_customer_id(data: Any) -> int:
    """Read a customer lookup: the id is the reply's ``entity``."""
    entity = _get(data, "entity")
    if isinstance(entity, str) and entity.isascii() and entity.isdigit():
        return int(entity)
    if not isinstance(entity, int) or isinstance(entity, bool):
        raise UndecodableError("the reply holds no entity")
    return entity


def decode_revoked(data: Any, *, badge_meta_id: str, customer_id: int, earned_badge_id: str) -> RevokedBadge:
    """Read the reply to a revocation. A reply that does not name the earned badge confirms nothing."""
    _refuse_other(data, "badgeMetaId", badge_meta_id)
    _refuse_other(data, "customerId", str(customer_id))
    _refuse_other(data, "earnedBadgeId", earned_badge_id)
    named = _text(_get(data, "earnedBadgeId"))
    return RevokedBadge(named, _flag(_get(data, "isActive")) if named else None)


def _require_badge(data: Any, badge_meta_id: str) -> None:
    """Refuse a reply that does not name this badge."""
    if _get(data, "id") is None and _get(data, "badgeMetaId") is None:
        raise OtherReplyError("the reply does not name the badge that was asked for")
    _refuse_other(data, "id", badge_meta_id)
    _refuse_other(data, "badgeMetaId", badge_meta_id)


def _refuse_other(found: Any, name: str, asked: str) -> None:
    """Refuse a reply whose field ``name`` holds another value than was asked for. The field may be missing."""
    value = _get(found, name)
    if value is not None and (isinstance(value, bool) or str(value).lower() != asked.lower()):
        raise OtherReplyError(f"the reply is about another {name} than the one asked for")


def _badge(found: Any) -> Badge | None:
    badge_meta_id = _text(_get(found, "id"))
    if not badge_meta_id:
        return None
    return Badge(
        badge_meta_id=badge_meta_id.lower(),
        name=_text(_get(found, "name")),
        status=_text(_get(found, "status")),
        is_active=_first(_flag(_get(found, "active")), _flag(_get(found, "isActive"))),
        earn_type=_text(_get(found, "earnType")),
        starts_at=_instant(found, "startOn"),
        expires_at=_instant(found, "expiresOn"),
    )


def _earn(found: Any) -> Earn:
    """Read one of ``earns``, whose shape is not published: it may follow its siblings, or the event ``badgeEarned``."""
    names_event_date = any(_get(found, name) is not None for name in ("earnEventDate", "earnEventDateISO"))
    ids = {text for name in ("earnedBadgeId", "earnId", "id") if (text := _text(_get(found, name))) and text.strip()}
    return Earn(
        earned_badge_id=ids.pop() if len(ids) == 1 else None,
        earn_event_at=_instant(found, "earnEventDate") if names_event_date else _earned_on(found),
    )


def _earned_on(found: Any) -> int | None:
    """Read ``earnedOn``: events have milliseconds, siblings have seconds. From 2000 to 2100 no number can be both."""
    value, iso = _get(found, "earnedOn"), _get(found, "earnedOnISO")
    number = _number(value)
    if number is None:
        return _instant(found, "earnedOn")
    seconds = next((math.floor(number / unit) for unit in (1, 1000) if _is_of_our_time(number / unit)), None)
    return seconds if iso is None else _agreed(seconds, iso)


def _is_of_our_time(seconds: float) -> bool:
    return EARLIEST_INSTANT <= seconds < LATEST_INSTANT


def _instant(found: Any, name: str) -> int | None:
    """Read ``name``, a number of epoch seconds or ISO text, or ``<name>ISO``; ``None`` if the two disagree."""
    value, iso = _get(found, name), _get(found, f"{name}ISO")
    return _seconds(iso) if value is None else _seconds(value) if iso is None else _agreed(_seconds(value), iso)


def _agreed(seconds: int | None, iso: Any) -> int | None:
    return seconds if seconds == _seconds(iso) else None


def _seconds(value: Any) -> int | None:
    number = _number(value)
    if number is not None:
        return math.floor(number) if math.isfinite(number) else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return math.floor(moment.timestamp()) if moment.tzinfo is not None else None


def _get(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _first(*values: _Value | None) -> _Value | None:
    return next((value for value in values if value is not None), None)
