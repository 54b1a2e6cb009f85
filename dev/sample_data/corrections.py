"""Rows keyed in by hand, late, in a spreadsheet: each is wrong in another way, and its note says how.

They show what becomes of bad rows: found before sending (``invalid``), refused because the organisation has no such
badge (``rejected``), or recognised as granted already. All values are text, as spreadsheets export them.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec.structs import astuple, replace

#: A badge that was deleted from the organisation; the shop's spreadsheet still names it.
DELETED_BADGE = "65815f80d3f5b2e8a9014bff"


class Correction(msgspec.Struct, frozen=True):
    """A row of the table ``badge_corrections``."""

    recorded_on: str
    badge_meta_id: str | None
    customer_id: str | None
    earn_event_date: str | None
    earn_expires_on: str | None
    note: str


def corrections(badge_meta_id: str, *, customer_id: int, earned_at: datetime) -> list[tuple[object, ...]]:
    """All corrections, given one badge that the customer did earn. The first repeats exactly that badge."""
    good = Correction(
        recorded_on="2025-01-02",
        badge_meta_id=badge_meta_id,
        customer_id=str(customer_id),
        earn_event_date=earned_at.isoformat(),
        earn_expires_on=earned_at.replace(year=earned_at.year + 1).isoformat(),
        note="duplicate: the customer asked twice, but the nightly query grants this badge too",
    )
    return [astuple(row) for row in (good, *_invalid(good), *_without_badge(good))]


def _invalid(good: Correction) -> list[Correction]:
    milliseconds = "1736942400000"
    return [
        replace(good, recorded_on="2025-01-08", customer_id=None, note="missing field: the customer was not looked up"),
        replace(
            good,
            recorded_on="2025-01-09",
            badge_meta_id="=VLOOKUP(A7;badges!A:B;2)",
            note="badgeMetaId not 24 hex: the formula was exported instead of its value",
        ),
        replace(good, recorded_on="2025-01-14", customer_id="-84", note="customerId not positive"),
        replace(
            good,
            recorded_on="2025-01-15",
            customer_id=str(2**63),
            note="customerId beyond 64 bits: a loyalty card's number stands in its place",
        ),
        replace(good, recorded_on="2025-01-21", earn_event_date="31/02/2025 noon", note="unparsable timestamp"),
        replace(
            good,
            recorded_on="2025-01-28",
            earn_event_date="2025-01-27T12:00:00",
            note="naive timestamp: noon, but in which time zone",
        ),
        replace(good, recorded_on="2025-02-04", earn_event_date=milliseconds, note="milliseconds instead of seconds"),
        replace(
            good,
            recorded_on="2025-02-11",
            earn_expires_on=good.earn_event_date,
            note="expiry not after earn date: expires in the moment in which it is earned",
        ),
        replace(good, recorded_on="2025-02-18", customer_id="true", note="wrong type: a tick box became the customer"),
        replace(good, recorded_on="2025-02-25", customer_id="NaN", note="NaN: a broken join in a data frame"),
        replace(
            good,
            recorded_on="2025-03-04",
            badge_meta_id="first purchase, see the mail of the branch manager " * 8,
            note="over-long text: a remark stands in the badge's place",
        ),
        replace(
            good,
            recorded_on="2025-03-11",
            customer_id=f"{good.customer_id}\x1b\x07",
            note="control characters: pasted from a terminal",
        ),
    ]


def _without_badge(good: Correction) -> list[Correction]:
    return [
        replace(
            good,
            recorded_on=day,
            badge_meta_id=DELETED_BADGE,
            customer_id=str(int(good.customer_id or 0) + 7_919 * number),
            note="the organisation does not have this badge (any more)",
        )
        for number, day in enumerate(("2025-03-18", "2025-03-19", "2025-03-20"), start=1)
    ]
