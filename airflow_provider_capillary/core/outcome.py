"""The table of outcomes: what a reply proves about the rows of a batch.

Pure. Each line is an assumption about the API that is written down here and nowhere else:

=======================================================  ==========================================
what happened                                            verdict
=======================================================  ==========================================
nothing was written (DNS, connect, TLS)                  not applied: RETRY_LATER
4xx with code 809: this request id was used before       UNKNOWN
401 (after one token refresh)                            not applied: STOP
403, 404, 405, 415                                       not applied: STOP
408, 409, 499, whatever the body                         UNKNOWN
3xx (never followed)                                     UNKNOWN, and the job stops
413; 400 with code 1060                                  not applied: HALVE
400 with code 400 or 1054: the array was refused         not applied: BISECT
429                                                      not applied: RETRY_LATER
other 4xx with an error envelope of the API's own shape  not applied: STOP
other 4xx                                                UNKNOWN
2xx with an array                                        PER_ROW, if every proof holds; else UNKNOWN
any other reply that gives an earnedBadgeId              UNKNOWN, whatever its status says
anything else (5xx, 52x, HTML, truncated, no reply)      UNKNOWN
=======================================================  ==========================================

408, 409 and 499 do not say whether the request was applied: a gateway gives up waiting (408), a client is
believed gone (499), a repeated request meets the first one (409). Codes count only in an envelope of the API's
own shape, which ``client/wire.py`` knows. An entry without echoed data (a refusal) is placed by its position,
and only where every entry that does echo stands at its own; else the whole batch is UNKNOWN. A row refused with
a code that ``core/reason_table.py`` calls passing is sent again within the job.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from itertools import repeat

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.reason_table import API_CODES
from airflow_provider_capillary.core.reply import (
    ApiProblem,
    Entry,
    EntryData,
    GivenId,
    Reply,
    Transmission,
    described,
    given_ids,
    listed,
)
from airflow_provider_capillary.core.row_state import RowState

BATCH_TOO_LARGE = 1060
ARRAY_REFUSED = frozenset({400, 1054})
REQUEST_ID_REUSED = 809
PASSING = frozenset(code for code, entry in API_CODES.items() if entry.is_passing)
STOPPING_STATUSES = frozenset({401, 403, 404, 405, 415})
UNPROVING_STATUSES = frozenset({408, 409, 499})
EXPIRY_TOLERANCE = 1.0  #: seconds
_UNIT_FACTORS = (1_000.0, 1_000_000.0)
_MARK = "\n"  # stands in no requestId of the API's


class Verdict(Enum):
    """What to do with the batch."""

    PER_ROW = "each row has its outcome"
    RETRY_LATER = "not applied: send the same rows later"
    HALVE = "not applied: too large"
    BISECT = "not applied: some row makes the API refuse all"
    STOP = "not applied, and nothing else would be: a person must fix something"
    UNKNOWN = "no proof either way"


class RowOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one row: accepted, rejected or unknown."""

    state: RowState
    earned_badge_id: str | None = None
    code: int | None = None
    message: str = ""
    passing: bool = False  #: refused for a reason that passes with time; worth another try within the job


class Judgement(msgspec.Struct, frozen=True):
    """The verdict on one reply. ``rows`` has one outcome for each row, in order, with ``PER_ROW`` and ``UNKNOWN``."""

    verdict: Verdict
    reason: str = ""
    code: int | None = None
    looked_at: tuple[RowOutcome, ...] = ()  #: the outcomes, unless all rows are accepted with ``granted_ids``
    retry_after: float | None = None
    proof_failed: bool = False  #: a 2xx reply contradicts what was sent
    wrong_time_unit: bool = False  #: an echoed expiry is off by a factor of 1000: stop the job
    redirected: bool = False  #: a 3xx, which is never followed: stop the job
    granted_ids: tuple[str, ...] = ()  #: of all rows, if every one is accepted and one look was enough to know
    given: tuple[GivenId, ...] = ()  #: ids in the reply that accept no row

    @property
    def rows(self) -> tuple[RowOutcome, ...]:
        """The outcome of each row; made anew by each call."""
        return self.looked_at or tuple(map(RowOutcome, repeat(RowState.ACCEPTED), self.granted_ids))


def judge(badges: Sequence[EarnedBadge], reply: Reply) -> Judgement:
    """Judge the reply to one import request."""
    judgement = _judged(badges, reply)
    # Of a reply that accepts every row there is no id left.
    return (
        judgement if judgement.granted_ids or not reply.entries else _with_given_ids(badges, reply.entries, judgement)
    )


def _judged(badges: Sequence[EarnedBadge], reply: Reply) -> Judgement:
    if reply.transmission is Transmission.NOT_WRITTEN:
        return Judgement(Verdict.RETRY_LATER, reply.problem or "no connection", retry_after=reply.retry_after)
    if reply.transmission is Transmission.LOST or reply.status is None:
        return _unknown(badges, reply.problem or "no complete reply")
    if 200 <= reply.status < 300:
        return _judge_success(badges, reply)
    if 300 <= reply.status < 500:
        return _judge_refusal(badges, reply, reply.status)
    return _unknown(badges, _described(reply))


def _with_given_ids(badges: Sequence[EarnedBadge], entries: Sequence[Entry], judgement: Judgement) -> Judgement:
    """Keep the ids that accept no row. A status that says 'not applied' is not believed beside them."""
    if judgement.verdict is Verdict.PER_ROW:
        unproven = (
            (badge, row.earned_badge_id)
            for badge, row in zip(badges, judgement.looked_at, strict=True)
            if row.earned_badge_id and row.state is not RowState.ACCEPTED
        )
        given = tuple(GivenId(each, badge.customer_id, badge.badge_meta_id, badge) for badge, each in unproven)
        return msgspec.structs.replace(judgement, given=given)
    given = given_ids(badges, entries)
    if not given:
        return judgement
    if judgement.verdict is not Verdict.UNKNOWN:
        judgement = _unknown(badges, f"{judgement.reason}, but the reply gives {len(given)} ids", judgement.code)
    id_of = {one.row.row_number: one.earned_badge_id for one in given if one.row is not None}
    rows = tuple(
        msgspec.structs.replace(row, earned_badge_id=id_of.get(badge.row_number))
        for badge, row in zip(badges, judgement.rows, strict=True)
    )
    return msgspec.structs.replace(judgement, looked_at=rows, given=given)


def _judge_refusal(badges: Sequence[EarnedBadge], reply: Reply, status: int) -> Judgement:
    problem = _first(reply.envelope)
    reason = _described(reply)
    codes = {each.code for each in reply.envelope or ()}
    if REQUEST_ID_REUSED in codes:
        return _unknown(badges, reason, REQUEST_ID_REUSED)
    if status < 400:
        return msgspec.structs.replace(_unknown(badges, reason, problem.code), redirected=True)
    if status == 429:
        return Judgement(Verdict.RETRY_LATER, reason, problem.code, retry_after=reply.retry_after)
    if status == 413 or (status == 400 and problem.code == BATCH_TOO_LARGE):
        return Judgement(Verdict.HALVE, reason, problem.code)
    if status in STOPPING_STATUSES:
        return Judgement(Verdict.STOP, reason, problem.code)
    if status in UNPROVING_STATUSES or not reply.envelope:
        return _unknown(badges, reason, problem.code)
    if status == 400 and codes & ARRAY_REFUSED:
        return Judgement(Verdict.BISECT, reason, problem.code)
    return Judgement(Verdict.STOP, reason, problem.code)


def _judge_success(badges: Sequence[EarnedBadge], reply: Reply) -> Judgement:
    entries = reply.entries
    if entries is None:
        return _unknown(badges, _described(reply), proof_failed=True)
    if len(entries) != len(badges):
        reason = f"the reply has {len(entries)} entries for {len(badges)} rows"
        return _unknown(badges, reason, proof_failed=True)
    ids = _granted_ids(badges, entries)
    if ids is not None:
        return Judgement(Verdict.PER_ROW, granted_ids=tuple(ids))
    misplaced = _first_misplaced(badges, entries)
    if misplaced is not None:
        reason = f"entry {misplaced + 1} of the reply is not about row {misplaced + 1} of the batch"
        return _unknown(badges, reason, proof_failed=True)
    rows = tuple(map(_row_outcome, badges, entries))
    unproven = next((row for row in rows if row.state is RowState.UNKNOWN), None)
    return Judgement(
        Verdict.PER_ROW,
        looked_at=rows,
        reason=unproven.message if unproven else "",
        proof_failed=unproven is not None,
        wrong_time_unit=unproven is not None and any(map(_is_wrong_unit, badges, entries)),
    )


def _granted_ids(badges: Sequence[EarnedBadge], entries: Sequence[Entry]) -> list[str] | None:
    """The ids, if every entry is a grant that echoes all of its row in the plainest form, as it nearly always is.

    ``None`` says nothing: then each entry is looked at with care.
    """
    echoes = [entry.data for entry in entries if entry.data is not None and not entry.errors]
    ids = [echo.earned_badge_id for echo in echoes if echo.earned_badge_id]
    if not len(ids) == len(echoes) == len(badges) != 0:
        return None
    sent = EarnedBadges.of(badges)
    as_sent = (
        [echo.customer_id for echo in echoes] == sent.customer_ids
        and [echo.badge_meta_id for echo in echoes] == sent.badge_meta_ids
        and _are_numbered([echo.request_id or "" for echo in echoes])
        and [echo.expires_on for echo in echoes] == sent.expires_at
        and _are_instants([echo.expires_on_iso for echo in echoes], sent.expires_at)
    )
    return ids if as_sent else None


def _are_numbered(request_ids: list[str]) -> bool:
    """Whether the ids are ``<base>_1``, ``<base>_2`` and so on, of one base.

    They are compared as one text: an id that holds the mark between them would make one mark too many.
    """
    base, _, _ = request_ids[0].rpartition("_")
    wanted = base + f"{_MARK}{base}".join(_suffixes(len(request_ids)))
    return _MARK not in base and _MARK.join(request_ids) == wanted


@functools.lru_cache(maxsize=16)
def _suffixes(rows: int) -> list[str]:
    return [f"_{position}" for position in range(1, rows + 1)]


def _are_instants(texts: list[str | None], seconds: list[int]) -> bool:
    """Whether all texts are these instants in the usual form, or there is none."""
    if texts.count(None) == len(texts):
        return True
    try:
        instants = msgspec.convert(seconds, list[datetime], strict=False)
        # Nearly always they are the very texts in which we would write these instants, which is quickly seen.
        return msgspec.json.encode(texts) == msgspec.json.encode(instants) or (
            msgspec.convert(texts, list[datetime]) == instants
        )
    except msgspec.ValidationError:  # other texts
        return False  # as where an instant has no offset: it equals none that has one


def _first_misplaced(badges: Sequence[EarnedBadge], entries: Sequence[Entry]) -> int | None:
    """The first entry that is not about the row at its position."""
    for index, (badge, entry) in enumerate(zip(badges, entries, strict=True)):
        data = entry.data
        if data is not None and not _is_about(data, badge, f"_{index + 1}"):
            return index
    return None


def _is_about(data: EntryData, badge: EarnedBadge, suffix: str) -> bool:
    """Whether the echo is of this row. A grant must echo all of it; a refusal may leave parts out."""
    badge_id, customer_id, request_id = data.badge_meta_id, data.customer_id, data.request_id
    if data.earned_badge_id and (badge_id is None or customer_id is None or request_id is None):
        return False
    return (
        (badge_id is None or badge_id == badge.badge_meta_id or badge_id.lower() == badge.badge_meta_id)
        and (customer_id is None or customer_id == badge.customer_id or customer_id == str(badge.customer_id))
        and (request_id is None or request_id.endswith(suffix))
    )


def _row_outcome(badge: EarnedBadge, entry: Entry) -> RowOutcome:
    data = entry.data
    granted_id = data.earned_badge_id if data is not None else None
    problems = _listed(entry.errors) if entry.errors else None
    if problems:
        if granted_id:
            both = "the entry holds both an earnedBadgeId and errors"
            return RowOutcome(RowState.UNKNOWN, earned_badge_id=granted_id, message=both)
        problem = problems[0]
        passing = any(each.code in PASSING for each in problems)
        message = problem.message or "refused without a message"
        return RowOutcome(RowState.REJECTED, code=problem.code, message=message, passing=passing)
    if data is None or not granted_id:
        return RowOutcome(RowState.UNKNOWN, message="the entry holds neither an earnedBadgeId nor errors")
    if (mismatch := _expiry_mismatch(badge, data)) is not None:
        return RowOutcome(RowState.UNKNOWN, earned_badge_id=granted_id, message=mismatch)
    return RowOutcome(RowState.ACCEPTED, granted_id)


def _expiry_mismatch(badge: EarnedBadge, data: EntryData) -> str | None:
    """Why the echoed expiry does not prove ours, or ``None``. Every echo that there is must agree."""
    echoes = _echoed_expiries(data)
    if not echoes:
        return "the entry does not echo the expiry"
    for seconds in echoes:
        if not abs(seconds - badge.expires_at) <= EXPIRY_TOLERANCE:  # not the other way round: NaN proves nothing
            return f"the echoed expiry {seconds:.0f} is not the one sent, {badge.expires_at}"
    return None


def _is_wrong_unit(badge: EarnedBadge, entry: Entry) -> bool:
    return any(
        seconds > 0 and abs(max(seconds / badge.expires_at, badge.expires_at / seconds) / factor - 1) < 0.001
        for seconds in (_echoed_expiries(entry.data) if entry.data is not None else ())
        for factor in _UNIT_FACTORS
    )


def _echoed_expiries(data: EntryData) -> list[float]:
    """The expiry as it was echoed, once or twice, in epoch seconds; what is no instant of ours is infinite."""
    echoes = [] if data.expires_on is None else [_seconds(data.expires_on)]
    return echoes if data.expires_on_iso is None else [*echoes, _iso_seconds(data.expires_on_iso)]


def _seconds(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return _iso_seconds(str(value))


def _iso_seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else math.inf
    except (ValueError, OverflowError):
        return math.inf  # such as +57906-04-18T07:06:40Z: no year of ours


def _listed(problems: list[ApiProblem] | ApiProblem | None) -> list[ApiProblem]:
    """The problems that say something: an empty object says nothing, as ``null`` and ``[]`` do."""
    return [problem for problem in listed(problems) if problem.code is not None or problem.message is not None]


def _first(problems: list[ApiProblem] | None) -> ApiProblem:
    return problems[0] if problems else ApiProblem()


def _described(reply: Reply) -> str:
    problem = _first(reply.envelope)
    text = described(problem) if problem.code is not None else reply.problem
    return f"HTTP {reply.status}" + (f", {text}" if text else "")


def _unknown(
    badges: Sequence[EarnedBadge], reason: str, code: int | None = None, *, proof_failed: bool = False
) -> Judgement:
    rows = tuple(RowOutcome(RowState.UNKNOWN, code=code, message=reason) for _ in badges)
    return Judgement(Verdict.UNKNOWN, reason, code, rows, proof_failed=proof_failed)
