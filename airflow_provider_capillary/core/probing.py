"""The rules of ``airflow capillary probe``: which request to try next, and what the answer says about the API. Pure.

The documentation contradicts itself on the method and on the unit of instants, and says nothing about reads. So a few
badges are granted to one customer to find out. A wrong guess does no harm, because the id of its grant is known, and
the grant is revoked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import REQUEST_ID_REUSED, Judgement, Verdict, judge
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.verification import CustomerBadgeView

MOST_GRANTS = 3
SHORTEST_VERIFY_AFTER = 60.0  #: seconds; also what an import waits by default
#: ``verify_after`` is this many times the delay that was seen, because one read says little about the slowest.
SAFETY = 3
_METHOD_STATUSES = frozenset({404, 405})
#: Codes about the customer or the badge: the API would refuse another form of instants as well.
_ABOUT_THE_BADGE = frozenset({404, 716, 717, 804, 810, 811, 812, 815, 816, 1026, 1028, 1054})
_LONGEST_SHIFT, _ZONE_STEP = 14 * 3600, 900  #: seconds: zones differ by quarters of an hour
_MINUTE, _DAY = 60, 86_400


class Way(msgspec.Struct, frozen=True):
    """How a request is written: values for the connection's extras of the same names."""

    import_method: str
    timestamp_format: str


METHODS = ("PUT", "POST")
FORMATS = ("epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields")


class End(StrEnum):
    """What became of one try."""

    RIGHT = "granted, and the reply echoes the expiry that was sent"
    OTHER_UNIT = "granted with a wrong date: the API reads numbers in another unit"
    UNPROVEN = "granted, but the reply does not echo the expiry that was sent"
    METHOD_REFUSED = "the API does not take this method"
    FORMAT_REFUSED = "the API does not take instants in this form"
    BLOCKED = "refused for another reason"
    REPEATED = "refused: this request id was used before"
    LATER = "not applied: to be sent again later"
    LOST = "no proof either way"

    @property
    def may_have_granted(self) -> bool:
        """Whether a badge may be there."""
        return self in (End.RIGHT, End.OTHER_UNIT, End.UNPROVEN, End.LOST)


class Tried(msgspec.Struct, frozen=True):
    """What one request brought."""

    way: Way
    end: End
    earned_badge_id: str | None = None
    reason: str = ""
    retry_after: float | None = None
    offset: str | None = None  #: the server's zone, as the reply writes it: ``Z`` or ``+05:30``
    echoes_request_id: bool | None = None  #: whether the reply's ``requestId`` begins with the id that was sent
    shape: str = ""


def judge_try(way: Way, badge: EarnedBadge, reply: Reply, request_id: str) -> Tried:
    """Judge the reply to a request with one row."""
    judgement = judge([badge], reply)
    end, found = _end(judgement, reply)
    echo = reply.entries[0].data if reply.entries else None
    base = echo.request_id.rpartition("_")[0] if echo is not None and echo.request_id else None
    return Tried(
        way,
        end,
        found,
        _reason(judgement),
        judgement.retry_after,
        _offset(echo.expires_on_iso if echo is not None else None),
        None if base is None else base == request_id,
        _shape(reply),
    )


def _end(judgement: Judgement, reply: Reply) -> tuple[End, str | None]:
    """The end of a try, and the id that came with it."""
    given = next((one.earned_badge_id for one in judgement.given), None)
    if judgement.verdict is Verdict.PER_ROW:
        row = judgement.rows[0]
        found = row.earned_badge_id or given
        if row.state is RowState.ACCEPTED:
            return End.RIGHT, found
        if row.state is RowState.REJECTED:
            return (End.BLOCKED if row.code in _ABOUT_THE_BADGE or row.passing else End.FORMAT_REFUSED), found
        if found is None:
            return End.LOST, None
        return (End.OTHER_UNIT if judgement.wrong_time_unit else End.UNPROVEN), found
    if judgement.verdict is Verdict.UNKNOWN:
        if judgement.code == REQUEST_ID_REUSED and given is None:
            return End.REPEATED, None
        return (End.LOST if given is None else End.UNPROVEN), given
    if judgement.verdict is Verdict.RETRY_LATER:
        return End.LATER, None
    if judgement.verdict is Verdict.STOP:
        return (End.METHOD_REFUSED if reply.status in _METHOD_STATUSES else End.BLOCKED), None
    return (End.BLOCKED if judgement.code in _ABOUT_THE_BADGE else End.FORMAT_REFUSED), None


def _reason(judgement: Judgement) -> str:
    if judgement.reason or judgement.verdict is not Verdict.PER_ROW:
        return judgement.reason
    row = judgement.rows[0]
    return row.message if row.code is None else f"code {row.code}: {row.message}"


def _offset(text: str | None) -> str | None:
    if text is None or "T" not in text:
        return None
    return text[-6:] if text[-6:-5] in "+-" else text[-1:]


def _shape(reply: Reply) -> str:
    if reply.entries is None:
        return "no array"
    problems = reply.entries[0].errors if reply.entries else None
    kind = "null" if problems is None else "an array" if isinstance(problems, list) else "an object"
    return f"HTTP {reply.status}, an array of {len(reply.entries)}; errors: {kind}"


def next_way(tried: Sequence[Tried], method: str) -> Way | None:
    """Which way to try next; ``None``: the right one is found, or no other one can be tried without harm.

    Epoch seconds come first, as in every published sample. A server of seconds accepts milliseconds silently, so these
    are tried only after seconds were refused, or read in another unit. Example: seconds that are read as milliseconds,
    then milliseconds, then the repeated request id are three grants, and no more are made.

    :param method: the one to begin with.
    """
    if not tried:
        return Way(method, FORMATS[0])
    last = tried[-1]
    if last.end is End.LATER:
        return last.way
    if last.end is End.METHOD_REFUSED:
        return _with_other_method(tried, last.way)
    done = {one.way.timestamp_format for one in tried if one.end is not End.METHOD_REFUSED and one.end is not End.LATER}
    if last.end not in (End.OTHER_UNIT, End.FORMAT_REFUSED) or grants_of(tried) >= MOST_GRANTS:
        return None
    left = next((form for form in FORMATS if form not in done), None)
    return None if left is None else Way(last.way.import_method, left)


def _with_other_method(tried: Sequence[Tried], way: Way) -> Way | None:
    refused = {one.way.import_method for one in tried if one.end is End.METHOD_REFUSED}
    taken = any(one.end not in (End.METHOD_REFUSED, End.LATER) for one in tried)
    other = next((method for method in METHODS if method not in refused), None)
    return None if other is None or taken else Way(other, way.timestamp_format)


def grants_of(tried: Sequence[Tried]) -> int:
    """How many badges the tries may have granted."""
    return sum(one.end.may_have_granted for one in tried)


# -- what reads show -------------------------------------------------------------------------------------------------


class Before(msgspec.Struct, frozen=True):
    """What a read showed before the first grant."""

    earn_count: int = 0
    ids: tuple[str, ...] = ()
    last_earned_at: int | None = None

    @classmethod
    def of(cls, view: CustomerBadgeView) -> Before:
        """Keep what is needed of a read."""
        ids = tuple(each.earned_badge_id for each in view.sightings if each.earned_badge_id)
        return cls(view.earn_count, ids, view.last_earned_at)


class Shown(StrEnum):
    """How a read shows the instant of an earn."""

    EXACT = "the instant that was sent"
    SHIFTED = "another instant: shifted, as by a time zone"
    COARSE = "a coarser instant: cut down to the minute or the day"
    OTHER_UNIT = "an instant in another unit"
    OTHER = "another instant"
    NONE = "no instant that can be read"


class Sight(msgspec.Struct, frozen=True):
    """How a read shows one grant of the probe."""

    by_id: bool  #: listed under the id that the reply gave
    instant: Shown
    shown_at: int | None = None  #: epoch seconds


def sight(
    badge: EarnedBadge, earned_badge_id: str | None, before: Before, view: CustomerBadgeView, granted: int
) -> Sight | None:
    """Find a grant in a read; ``None``: it does not show.

    :param before: the read before the first grant.
    :param granted: how many badges were granted since, the one looked for included.
    """
    listed = [each for each in view.sightings if each.earned_badge_id == earned_badge_id is not None]
    if listed:
        at = listed[0].earned_at
        return Sight(True, compared(badge.earned_at, at), at)
    if view.earn_count < before.earn_count + granted:
        return None
    at = view.last_earned_at if view.last_earned_at != before.last_earned_at else None
    return Sight(False, compared(badge.earned_at, at), at)


def compared(sent: int, shown: int | None) -> Shown:
    """How the instant of a read differs from the one that was sent. Both in epoch seconds."""
    if shown is None:
        return Shown.NONE
    if shown == sent:
        return Shown.EXACT
    if shown in (sent // 1_000, sent * 1_000):
        return Shown.OTHER_UNIT
    distance = shown - sent
    if abs(distance) <= _LONGEST_SHIFT and distance % _ZONE_STEP == 0:
        return Shown.SHIFTED
    if shown % _DAY == 0 and abs(distance) <= _DAY + _LONGEST_SHIFT:
        return Shown.COARSE
    of_minute = shown - sent // _MINUTE * _MINUTE  # a multiple of a zone's step: cut to the minute, perhaps shifted
    if abs(of_minute) <= _LONGEST_SHIFT and of_minute % _ZONE_STEP == 0:
        return Shown.COARSE
    return Shown.OTHER


def ids_of_lost(sent: int, known: Collection[str], view: CustomerBadgeView) -> list[str]:
    """The ids that may belong to a grant whose reply was lost.

    :param sent: its earn instant.
    :param known: ids that stand for other earns.
    """
    kin = (Shown.EXACT, Shown.SHIFTED, Shown.COARSE, Shown.OTHER_UNIT)
    fitting = [
        (compared(sent, each.earned_at), each.earned_badge_id)
        for each in view.sightings
        if each.earned_badge_id and each.earned_badge_id not in known
    ]
    exact = [one for how, one in fitting if how is Shown.EXACT]
    return exact or [one for how, one in fitting if how in kin]


# -- the answers -----------------------------------------------------------------------------------------------------


class RepeatedId(StrEnum):
    """What the API does with a request id that comes twice."""

    REFUSED = "refused (code 809)"
    GRANTED_AGAIN = "granted again: a repeated request id protects from nothing"
    REPLAYED = "answered with the first id: nothing was granted again"
    UNDECIDED = "undecided"
    NOT_TRIED = "not tried: three grants were used up"


class Answers(msgspec.Struct, frozen=True):
    """All that a probe found out. ``way`` is ``None`` if none was right. Times in seconds."""

    way: Way | None
    reply: str = ""
    server_offset: str | None = None
    request_id_echoed: bool | None = None
    repeated_request_id: RepeatedId = RepeatedId.NOT_TRIED
    reads_show: bool | None = None  #: ``None``: not looked
    read_id: bool | None = None  #: whether reads list the id that the reply gave
    read_instant: Shown | None = None
    read_shift: int | None = None  #: seconds, shown less sent
    read_after: float | None = None  #: seconds from the reply to the first read that showed it
    read_waited: float = 0.0
    tries: tuple[str, ...] = ()

    @property
    def extras(self) -> dict[str, str]:
        """The connection's extras to set."""
        return {} if self.way is None else msgspec.structs.asdict(self.way)

    @property
    def verify_after(self) -> float | None:
        """The ``verify_after`` to set, in seconds; ``None`` if no read can be believed."""
        if not self.can_verify or self.read_after is None:
            return None
        return max(SHORTEST_VERIFY_AFTER, math.ceil(SAFETY * self.read_after / 10) * 10)

    @property
    def can_verify(self) -> bool:
        """Whether reads show what was imported, at the instant that was sent."""
        return bool(self.reads_show) and self.read_instant is Shown.EXACT

    @property
    def on_unknown(self) -> str:
        """The ``on_unknown`` that fits."""
        return "verify" if self.can_verify else "hold"

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON-ready values, with what to set."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        del plain["way"]
        return {
            "connection_extras": self.extras,
            "verify_after": self.verify_after,
            "on_unknown": self.on_unknown,
            **plain,
            "tries": list(self.tries),
        }


def repeated(first: str | None, again: Tried) -> RepeatedId:
    """What the answer to a request with the same id means.

    :param first: the id that the first request brought.
    :param again: the second request.
    """
    if again.end is End.REPEATED:
        return RepeatedId.REFUSED
    if again.earned_badge_id is None:
        return RepeatedId.UNDECIDED
    return RepeatedId.REPLAYED if again.earned_badge_id == first else RepeatedId.GRANTED_AGAIN


def with_sight(answers: Answers, seen: Sight | None, badge: EarnedBadge, after: float, waited: float) -> Answers:
    """Add what reads showed of the right grant.

    :param after: seconds from its reply to the first read that showed it.
    :param waited: seconds from its reply to the last read.
    """
    changes: Mapping[str, Any] = {"reads_show": seen is not None, "read_waited": round(waited, 1)}
    if seen is not None:
        shift = None if seen.shown_at is None else seen.shown_at - badge.earned_at
        found = {"read_id": seen.by_id, "read_instant": seen.instant, "read_shift": shift}
        changes = {**changes, **found, "read_after": round(after, 1)}
    return msgspec.structs.replace(answers, **changes)
