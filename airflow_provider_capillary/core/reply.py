"""What came back for one import request: facts only, which ``core/outcome.py`` judges, and the ids in them. Pure.

A reply whose array is reordered, too short, too long or wrongly echoed proves nothing about its rows. But the API gave
its ids. They are kept with the batch, so that what was granted under them can be revoked. An id that can only mean one
row is kept with that row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from enum import Enum

import msgspec

from airflow_provider_capillary.core.earned_badge import LARGEST_CUSTOMER_ID, EarnedBadge


class Transmission(Enum):
    """How far a request got."""

    NOT_WRITTEN = "not written"  #: no connection: DNS, connect or TLS failed, the server saw nothing
    REPLIED = "replied"  #: a complete reply was read
    LOST = "lost"  #: written (perhaps in part), and no complete reply: the server may have acted


class ApiProblem(msgspec.Struct, frozen=True, gc=False):
    """An element of the API's ``errors`` or ``warnings``. Untrusted text."""

    code: int | None = None
    message: str | None = None


class EntryData(msgspec.Struct, rename="camel", gc=False):
    """What the API echoes of one earned badge. Nothing is checked yet, so any field may be missing."""

    badge_meta_id: str | None = None
    customer_id: int | str | None = None
    earned_badge_id: str | None = None
    expires_on: float | str | None = None  #: epoch seconds, as a number with 9 decimals
    expires_on_iso: str | None = msgspec.field(default=None, name="expiresOnISO")
    request_id: str | None = None  #: ``<base>_<position from 1>``


class Entry(msgspec.Struct, gc=False):
    """One element of the reply's array. ``errors`` and ``warnings`` come as null, object or array."""

    data: EntryData | None = None
    errors: list[ApiProblem] | ApiProblem | None = None
    warnings: list[ApiProblem] | ApiProblem | None = None


class Reply(msgspec.Struct, frozen=True):
    """The reply to one import request.

    ``entries`` is the reply's array. ``envelope`` is the list of errors if the body was one JSON object instead (an
    empty list: an object without errors of the API's own shape). Both are ``None`` if the body could not be decoded.
    """

    transmission: Transmission
    status: int | None = None
    entries: list[Entry] | None = None
    envelope: list[ApiProblem] | None = None
    retry_after: float | None = None  #: seconds, from ``Retry-After`` (number or date)
    server_request_id: str | None = None  #: ``X-Cap-Requestid`` of the reply
    problem: str = ""  #: what went wrong, redacted, for people


def listed(problems: list[ApiProblem] | ApiProblem | None) -> list[ApiProblem]:
    """The problems of an entry as a list; the API sends null, an object or an array."""
    if problems is None:
        return []
    return problems if isinstance(problems, list) else [problems]


def described(problem: ApiProblem) -> str:
    """Give an error of the API as short text."""
    text = problem.message or "no message"
    return text if problem.code is None else f"code {problem.code}: {text}"


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
    return echoed if echoed is not None and 0 < echoed <= LARGEST_CUSTOMER_ID else None
