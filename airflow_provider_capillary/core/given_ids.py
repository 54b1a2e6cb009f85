"""Collects the ids of a reply that proves nothing, so that what was granted under them can be revoked. Pure.

A reply whose array is reordered, too short, too long or wrongly echoed proves nothing about its rows. But the API gave
its ids. They are kept with the batch, and an id that can only mean one row is kept with that row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.reply import Entry, EntryData

_LARGEST_CUSTOMER = 2**63 - 1


class GivenId(msgspec.Struct, frozen=True, gc=False):
    """An ``earnedBadgeId``, and the customer and badge that its entry names. Untrusted text."""

    earned_badge_id: str
    customer_id: int | None = None
    badge_meta_id: str | None = None
    row: EarnedBadge | None = None  #: the row of the batch that is meant, if it can be no other


def given_ids(badges: Sequence[EarnedBadge], entries: Sequence[Entry]) -> tuple[GivenId, ...]:
    """List every id of the entries, in their order.

    An id means a row under three conditions. It is the only id that names the row's customer and badge. No other row of
    the batch has both. The position at the end of its ``requestId``, if there is one, is the row's own. Example: with
    two rows of one customer and badge, an id could mean either, so it means neither.
    """
    data = [entry.data for entry in entries if entry.data is not None and entry.data.earned_badge_id]
    given = [_given(each) for each in data]
    if not given:
        return ()
    ids_of: dict[tuple[int | None, str | None], set[str]] = defaultdict(set)
    for one in given:
        ids_of[one.customer_id, one.badge_meta_id].add(one.earned_badge_id)
    rows_of = Counter((badge.customer_id, badge.badge_meta_id) for badge in badges)
    row_of: dict[tuple[int | None, str | None], tuple[int, EarnedBadge]] = {
        name: (position, badge)
        for position, badge in enumerate(badges, 1)
        if rows_of[name := (badge.customer_id, badge.badge_meta_id)] == len(ids_of.get(name, ())) == 1
    }
    return tuple(
        msgspec.structs.replace(one, row=_meant(row_of.get((one.customer_id, one.badge_meta_id)), each.request_id))
        for one, each in zip(given, data, strict=True)
    )


def _meant(named: tuple[int, EarnedBadge] | None, request_id: str | None) -> EarnedBadge | None:
    if named is None:
        return None
    position, row = named
    _, _, echoed = (request_id or "").rpartition("_")
    return None if echoed.isdigit() and echoed != str(position) else row


def _given(data: EntryData) -> GivenId:
    badge = data.badge_meta_id
    return GivenId(data.earned_badge_id or "", _customer(data.customer_id), badge.lower() if badge else None)


def _customer(echoed: int | str | None) -> int | None:
    if isinstance(echoed, str):
        if not (echoed.isascii() and echoed.isdigit() and len(echoed) < 20):
            return None
        echoed = int(echoed)
    return echoed if echoed is not None and 0 < echoed <= _LARGEST_CUSTOMER else None
