"""Which way to try next, what an answer means, and what to set."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.probing import (
    FORMATS,
    MOST_GRANTS,
    Answers,
    Before,
    End,
    RepeatedId,
    Shown,
    Sight,
    Tried,
    Way,
    compared,
    grants_of,
    ids_of_lost,
    judge_try,
    next_way,
    repeated,
    sight,
    with_sight,
)
from airflow_provider_capillary.core.reply import ApiProblem, Entry, EntryData, Reply, Transmission
from airflow_provider_capillary.core.verification import CustomerBadgeView, Sighting

SENT = 1_740_000_037  #: 37 s past the minute
BADGE = EarnedBadge(1, "5eed0000bad9e00000000001", 880_000_001, SENT, SENT + 10_800)
PUT = Way("PUT", "epoch_seconds")
S, MS, INLINE, FIELDS = FORMATS


def entry(**changes: Any) -> Entry:
    data: dict[str, Any] = {
        "badge_meta_id": BADGE.badge_meta_id,
        "customer_id": BADGE.customer_id,
        "earned_badge_id": "a" * 24,
        "expires_on": float(BADGE.expires_at),
        "expires_on_iso": None,
        "request_id": "r_1",
    }
    return Entry(EntryData(**(data | changes)))


def refused(code: int) -> Entry:
    return Entry(errors=[ApiProblem(code, "no")])


def replied(status: int, *entries: Entry, envelope: list[ApiProblem] | None = None) -> Reply:
    return Reply(Transmission.REPLIED, status, list(entries) or None, envelope)


@pytest.mark.parametrize(
    ("reply", "end", "has_id"),
    [
        (replied(200, entry()), End.RIGHT, True),
        (replied(200, entry(expires_on=BADGE.expires_at / 1_000)), End.OTHER_UNIT, True),
        (replied(200, entry(expires_on=BADGE.expires_at * 1_000.0)), End.OTHER_UNIT, True),
        (replied(200, entry(expires_on=None)), End.UNPROVEN, True),
        (replied(200, entry(expires_on=5.0)), End.UNPROVEN, True),
        (replied(200, entry(customer_id=7)), End.UNPROVEN, True),
        (replied(200, entry(earned_badge_id=None)), End.LOST, False),
        (replied(500, entry()), End.UNPROVEN, True),
        (replied(200, refused(400)), End.FORMAT_REFUSED, False),
        (replied(200, refused(1026)), End.BLOCKED, False),
        (replied(200, refused(1054)), End.BLOCKED, False),
        (replied(200, refused(521)), End.BLOCKED, False),
        (replied(400, envelope=[ApiProblem(400, "JSON parse error")]), End.FORMAT_REFUSED, False),
        (replied(400, envelope=[ApiProblem(1054, "GLOBAL.BADGE_NOT_FOUND")]), End.BLOCKED, False),
        (replied(400, envelope=[ApiProblem(809, "same requestId")]), End.REPEATED, False),
        (replied(405, envelope=[]), End.METHOD_REFUSED, False),
        (replied(404, envelope=[]), End.METHOD_REFUSED, False),
        (replied(401, envelope=[]), End.BLOCKED, False),
        (replied(403, envelope=[]), End.BLOCKED, False),
        (replied(429), End.LATER, False),
        (replied(502), End.LOST, False),
        (Reply(Transmission.NOT_WRITTEN, problem="no route"), End.LATER, False),
        (Reply(Transmission.LOST, problem="timed out"), End.LOST, False),
    ],
)
def test_what_an_answer_means(reply: Reply, end: End, has_id: bool) -> None:
    tried = judge_try(PUT, BADGE, reply, "r")
    assert (tried.end, tried.earned_badge_id is not None) == (end, has_id)


def test_zone_and_request_id_are_read_off_the_reply() -> None:
    tried = judge_try(PUT, BADGE, replied(200, entry(expires_on_iso="2025-02-20T05:30:37+05:30")), "r")
    assert (tried.offset, tried.echoes_request_id) == ("+05:30", True)
    assert judge_try(PUT, BADGE, replied(200, entry()), "other").echoes_request_id is False


def tried(*ends: tuple[str, str, End]) -> list[Tried]:
    return [Tried(Way(method, form), end) for method, form, end in ends]


@pytest.mark.parametrize(
    ("so_far", "way"),
    [
        ([], PUT),
        ([("PUT", S, End.RIGHT)], None),
        ([("PUT", S, End.METHOD_REFUSED)], Way("POST", S)),
        ([("PUT", S, End.METHOD_REFUSED), ("POST", S, End.METHOD_REFUSED)], None),
        ([("PUT", S, End.METHOD_REFUSED), ("POST", S, End.FORMAT_REFUSED)], Way("POST", MS)),
        ([("PUT", S, End.OTHER_UNIT)], Way("PUT", MS)),
        ([("PUT", S, End.FORMAT_REFUSED), ("PUT", MS, End.FORMAT_REFUSED)], Way("PUT", INLINE)),
        ([("PUT", form, End.FORMAT_REFUSED) for form in FORMATS], None),
        ([("PUT", form, End.OTHER_UNIT) for form in FORMATS[:3]], None),
        ([("PUT", S, End.LATER)], PUT),
        ([("PUT", S, End.LOST)], None),
        ([("PUT", S, End.UNPROVEN)], None),
        ([("PUT", S, End.BLOCKED)], None),
        ([("PUT", S, End.FORMAT_REFUSED), ("PUT", MS, End.METHOD_REFUSED)], None),
    ],
)
def test_which_way_comes_next(so_far: list[tuple[str, str, End]], way: Way | None) -> None:
    assert next_way(tried(*so_far), "PUT") == way


def test_no_probe_grants_more_than_three() -> None:
    ends = [end for end in End if end is not End.LATER]
    for answers in itertools.product(ends, repeat=5):
        so_far: list[Tried] = []
        for end in answers:
            way = next_way(so_far, "PUT")
            if way is None:
                break
            so_far.append(Tried(way, end))
        else:
            assert next_way(so_far, "PUT") is None or grants_of(so_far) < MOST_GRANTS
        assert grants_of(so_far) <= MOST_GRANTS
        assert len({one.way for one in so_far}) == len(so_far)


@pytest.mark.parametrize(
    ("shown", "how"),
    [
        (SENT, Shown.EXACT),
        (SENT - 19_800, Shown.SHIFTED),
        (SENT + 7_200, Shown.SHIFTED),
        (SENT // 60 * 60, Shown.COARSE),
        (SENT // 60 * 60 - 19_800, Shown.COARSE),
        (SENT // 86_400 * 86_400, Shown.COARSE),
        (SENT // 1_000, Shown.OTHER_UNIT),
        (SENT * 1_000, Shown.OTHER_UNIT),
        (SENT + 1, Shown.OTHER),
        (SENT - 90 * 86_400, Shown.OTHER),
        (SENT // 60 * 60 + 60, Shown.OTHER),
        (None, Shown.NONE),
    ],
)
def test_how_a_read_shows_an_instant(shown: int | None, how: Shown) -> None:
    assert compared(SENT, shown) is how


def view(count: int, last: int | None, *earns: tuple[str | None, int | None]) -> CustomerBadgeView:
    return CustomerBadgeView(count, last, tuple(Sighting(*each) for each in earns))


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (view(1, SENT, ("mine", SENT)), Sight(True, Shown.EXACT, SENT)),
        (view(3, SENT, ("x", SENT), ("mine", None)), Sight(True, Shown.NONE, None)),
        (view(1, SENT), Sight(False, Shown.EXACT, SENT)),
        (view(1, 5), Sight(False, Shown.NONE, None)),  # a later earn of the customer's own hides ours
        (view(0, None), None),
        (view(0, SENT, ("x", SENT)), None),
    ],
)
def test_a_grant_is_found_by_id_or_count(seen: CustomerBadgeView, found: Sight | None) -> None:
    assert sight(BADGE, "mine", Before(0, (), 5), seen, 1) == found


@pytest.mark.parametrize(
    ("earns", "found"),
    [
        ([("a", SENT)], ["a"]),
        ([("a", SENT), ("b", SENT - 19_800)], ["a"]),
        ([("known", SENT), ("b", SENT - 19_800)], ["b"]),
        ([("a", SENT - 19_800), ("b", SENT + 3_600)], ["a", "b"]),
        ([("a", SENT + 1), (None, SENT)], []),
        ([("a", None)], []),
    ],
)
def test_a_lost_grant_is_sought_among_unexplained_earns(
    earns: list[tuple[str | None, int | None]], found: list[str]
) -> None:
    assert ids_of_lost(SENT, {"known"}, view(2, None, *earns)) == found


@pytest.mark.parametrize(
    ("again", "meaning"),
    [
        (Tried(PUT, End.REPEATED), RepeatedId.REFUSED),
        (Tried(PUT, End.RIGHT, "second"), RepeatedId.GRANTED_AGAIN),
        (Tried(PUT, End.RIGHT, "first"), RepeatedId.REPLAYED),
        (Tried(PUT, End.LOST), RepeatedId.UNDECIDED),
        (Tried(PUT, End.BLOCKED), RepeatedId.UNDECIDED),
    ],
)
def test_what_the_answer_to_a_repeated_id_means(again: Tried, meaning: RepeatedId) -> None:
    assert repeated("first", again) is meaning


@pytest.mark.parametrize(
    ("seen", "after", "verify_after", "on_unknown"),
    [
        (Sight(True, Shown.EXACT, SENT), 0.2, 60, "verify"),
        (Sight(False, Shown.EXACT, SENT), 20.0, 60, "verify"),
        (Sight(True, Shown.EXACT, SENT), 41.0, 130, "verify"),
        (Sight(True, Shown.SHIFTED, SENT - 19_800), 0.2, None, "hold"),
        (Sight(True, Shown.NONE, None), 0.2, None, "hold"),
        (None, 180.0, None, "hold"),
    ],
)
def test_what_to_set(seen: Sight | None, after: float, verify_after: float | None, on_unknown: str) -> None:
    answers = with_sight(Answers(Way("POST", MS)), seen, BADGE, after, after)
    assert answers.extras == {"import_method": "POST", "timestamp_format": MS}
    assert (answers.verify_after, answers.on_unknown) == (verify_after, on_unknown)
