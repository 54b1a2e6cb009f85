"""Decides what a read of a customer's badge proves about an unknown row. Pure, one table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec


class Finding(Enum):
    """What the read proves."""

    GRANTED = "the badge is there"
    ABSENT = "the badge is not there: it may be sent again"
    UNDECIDED = "the read proves neither; the row stays unknown"


class Sighting(msgspec.Struct, frozen=True):
    """One earn of the badge as the API lists it; any part may be missing (the shape is not documented)."""

    earned_badge_id: str | None
    earned_at: int | None  #: epoch seconds


class CustomerBadgeView(msgspec.Struct, frozen=True):
    """What the API says about one badge of one customer."""

    earn_count: int
    last_earned_at: int | None  #: epoch seconds of the last earn event
    sightings: tuple[Sighting, ...] = ()


class Verified(msgspec.Struct, frozen=True):
    """A finding, and the earned badge's id if the API gave exactly one for the instant."""

    finding: Finding
    earned_badge_id: str | None = None


def settle(earned_at: int, view: CustomerBadgeView, *, others_at_instant: int) -> Verified:
    """Settle one unknown row.

    Example: the row was sent for 10:00. A read that lists an earn at 10:00 proves it granted. A read whose last earn is
    at 9:00 proves it absent. A last earn at 11:00 proves neither, because the API may list only the last one.

    :param earned_at: the row's earn instant, epoch seconds.
    :param view: what the API says, read no sooner than ``verify_after`` seconds after the send.
    :param others_at_instant: how many other rows of the ledger have the same customer, badge and instant. If there are
        any, the earn that is shown may be theirs and proves nothing.
    """
    seen = [sighting for sighting in view.sightings if sighting.earned_at == earned_at]
    if seen or view.last_earned_at == earned_at:
        if others_at_instant:
            return Verified(Finding.UNDECIDED)
        return Verified(Finding.GRANTED, _only_id(seen))
    if view.earn_count == 0 and view.last_earned_at is None and not view.sightings:
        return Verified(Finding.ABSENT)
    if view.last_earned_at is not None and view.last_earned_at < earned_at and not _later(view.sightings, earned_at):
        return Verified(Finding.ABSENT)
    return Verified(Finding.UNDECIDED)


def _only_id(seen: Sequence[Sighting]) -> str | None:
    return seen[0].earned_badge_id if len(seen) == 1 else None


def _later(sightings: Sequence[Sighting], earned_at: int) -> bool:
    """Whether an earn is listed that is later, or has no instant. Then ``last_earned_at`` cannot be trusted."""
    return any(sighting.earned_at is None or sighting.earned_at > earned_at for sighting in sightings)
