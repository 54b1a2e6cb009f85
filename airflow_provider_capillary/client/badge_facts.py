"""The results of the API's reads, as typed structs. Instants are whole epoch seconds; names are untrusted text."""

from __future__ import annotations

import msgspec

from airflow_provider_capillary.core.verification import CustomerBadgeView, Sighting


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
