"""Decides what a read of a customer's badge proves about an unknown row, and whether the read is believed. Pure.

A row is sent again only after a read said "not there". Such a read means something only if this API's reads show what
was imported, at the instant that was sent. The import therefore sees both hold first. A *control* is a read of a badge
that is known to be there, and a count compares the API's earns with those of the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum, StrEnum
from typing import NamedTuple

import msgspec

from airflow_provider_capillary.core.row_state import UNPROVEN, RowState


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
        return Verified(Finding.GRANTED, seen[0].earned_badge_id if len(seen) == 1 else None)
    if view.earn_count == 0 and view.last_earned_at is None and not view.sightings:
        return Verified(Finding.ABSENT)
    if view.last_earned_at is not None and view.last_earned_at < earned_at and not _later(view.sightings, earned_at):
        return Verified(Finding.ABSENT)
    return Verified(Finding.UNDECIDED)


def _later(sightings: Sequence[Sighting], earned_at: int) -> bool:
    """Whether an earn is listed that is later, or has no instant. Then ``last_earned_at`` cannot be trusted."""
    return any(sighting.earned_at is None or sighting.earned_at > earned_at for sighting in sightings)


class Control(StrEnum):
    """What the reads of badges that are known to be there have shown so far."""

    NONE_YET = "no badge that is known to be there was read"
    SHOWN = "a badge that is known to be there was shown, at the instant that was sent"
    NOT_SHOWN = "a badge that is known to be there was not shown: reads do not show imports here"


class Disbelief(StrEnum):
    """Why a finding is not believed, for the report of the row."""

    TOO_MANY_EARNS = (
        "the read does not show this row, but the API counts more earns of this badge than the ledger knows of: "
        "one of them may be this row"
    )
    NO_CONTROL = (
        "the read is not believed before another badge, one that a reply proves, was seen in reads; none was old "
        "enough to be read. Try again once more rows are accepted"
    )
    NOT_SHOWN = (
        "reads do not show imports here: a badge that a reply proves was read and is not shown at the instant that "
        "was sent, so no read can say that a row is not there"
    )


class OtherRow(NamedTuple):
    """Another row that the ledger holds for the same customer and badge."""

    state: RowState
    earned_at: int  #: epoch seconds


def earns_known(others: Sequence[OtherRow], view: CustomerBadgeView) -> int:
    """How many of the earns that a read counts belong to other rows.

    Accepted rows count. So do revoked and seeded ones, because the API goes on counting them. An unproven row counts
    if the read shows its instant. Of two unproven rows, the one that is found is thus settled first, in any order.

    :param others: as the ledger held them before the read. A row that is accepted after the read was not in its count.
    """
    proven = sum(other.state in (RowState.ACCEPTED, RowState.REVOKED) for other in others)
    return proven + earns_found(others, view)


def earns_found(others: Sequence[OtherRow], view: CustomerBadgeView) -> int:
    """How many unproven rows a read shows. Settle these first: a row that is sent again may hide their earns."""
    at = Counter(other.earned_at for other in others)
    return sum(
        settle(other.earned_at, view, others_at_instant=at[other.earned_at] - 1).finding is Finding.GRANTED
        for other in others
        if other.state in UNPROVEN
    )


def earns_possible(others: Sequence[OtherRow]) -> int:
    """How many earns of other rows a read may have shown.

    :param others: as the ledger holds them after the read. What the read shows was recorded before it was sent.
    """
    return sum(other.state is RowState.ACCEPTED or other.state in UNPROVEN for other in others)


def disbelieved(
    finding: Finding, view: CustomerBadgeView, *, known: int, possible: int, control: Control
) -> Disbelief | None:
    """Why the finding is not believed; ``None``: it is.

    "Not there" needs the count and a control. Example: the API cuts instants to the minute, and our row of 10:00:30 was
    applied. The read shows one earn at 10:00:00, which looks like an earlier one, so ``settle`` finds our row absent.
    But the ledger knows of no other row, and the API counts one earn: that one may be ours.

    "There" needs a control only if the earn that is shown may be another row's. Example: rows of 10:00:00 and 10:00:30
    are both unknown, and the second one was applied. Cut to the minute it looks like the first. If the API counts two
    earns, both are there, whatever their instants.

    :param known: from ``earns_known``.
    :param possible: from ``earns_possible``.
    :param control: what this process has seen of badges that are known to be there.
    """
    if finding is Finding.ABSENT and view.earn_count > known:
        return Disbelief.TOO_MANY_EARNS
    needs_control = finding is Finding.ABSENT or (finding is Finding.GRANTED and view.earn_count <= possible)
    if not needs_control or control is Control.SHOWN:
        return None
    return Disbelief.NOT_SHOWN if control is Control.NOT_SHOWN else Disbelief.NO_CONTROL
