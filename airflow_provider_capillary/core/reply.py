"""What came back for one import request: facts only. ``core/outcome.py`` judges them."""

from __future__ import annotations

from enum import Enum

import msgspec


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
