"""What a read proves about an unknown row, and when it is believed, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.verification import (
    Control,
    CustomerBadgeView,
    Disbelief,
    Finding,
    OtherRow,
    Sighting,
    Verified,
    disbelieved,
    earns_known,
    earns_possible,
    settle,
)

QUICK = settings(max_examples=25, deadline=None)

OURS = 1_700_000_000
EARLIER, LATER = OURS - 1, OURS + 1
GRANTED, ABSENT, UNDECIDED = Finding.GRANTED, Finding.ABSENT, Finding.UNDECIDED
TOO_MANY, NO_CONTROL, NOT_SHOWN = Disbelief.TOO_MANY_EARNS, Disbelief.NO_CONTROL, Disbelief.NOT_SHOWN


def view(count: int, last: int | None, *sightings: tuple[str | None, int | None]) -> CustomerBadgeView:
    return CustomerBadgeView(count, last, tuple(Sighting(*each) for each in sightings))


def listing(count: int, last: int, *instants: int) -> CustomerBadgeView:
    return view(count, last, *((None, instant) for instant in instants))


CASES = [
    pytest.param(view(0, None), ABSENT, None, id="no earn at all"),
    pytest.param(view(1, EARLIER), ABSENT, None, id="the last earn is earlier than ours"),
    pytest.param(view(9, EARLIER), ABSENT, None, id="many earns, the last is earlier than ours"),
    pytest.param(view(1, EARLIER, ("a", EARLIER)), ABSENT, None, id="the only earn listed is earlier"),
    pytest.param(view(1, OURS), GRANTED, None, id="the last earn is at our instant"),
    pytest.param(view(1, OURS, ("a", OURS)), GRANTED, "a", id="our instant is listed, with its id"),
    pytest.param(view(1, None, ("a", OURS)), GRANTED, "a", id="our instant is listed, no last earn is reported"),
    pytest.param(view(2, LATER, ("a", OURS), ("b", LATER)), GRANTED, "a", id="our instant is listed, a later one too"),
    pytest.param(
        view(2, OURS, ("a", EARLIER), ("b", OURS)), GRANTED, "b", id="our instant is listed, an earlier one too"
    ),
    pytest.param(
        view(2, OURS, ("a", OURS), ("b", OURS)), GRANTED, None, id="two earns at our instant: which id is open"
    ),
    pytest.param(view(1, OURS, (None, OURS)), GRANTED, None, id="our instant is listed without an id"),
    pytest.param(
        view(2, OURS, ("a", EARLIER)), GRANTED, None, id="the last earn is ours, only an earlier one is listed"
    ),
    pytest.param(view(1, LATER), UNDECIDED, None, id="the last earn is later: ours may be behind it"),
    pytest.param(view(1, LATER, ("a", LATER)), UNDECIDED, None, id="only a later earn is listed"),
    pytest.param(view(1, None), UNDECIDED, None, id="an earn is counted, none is reported"),
    pytest.param(view(1, None, ("a", None)), UNDECIDED, None, id="an earn of unknown time"),
    pytest.param(view(0, None, ("a", None)), UNDECIDED, None, id="none counted, but one listed"),
    pytest.param(view(0, None, ("a", EARLIER)), UNDECIDED, None, id="none counted, but an earlier one listed"),
    pytest.param(view(2, EARLIER, ("a", None)), UNDECIDED, None, id="the last is earlier, but one of unknown time"),
    pytest.param(view(2, EARLIER, ("a", LATER)), UNDECIDED, None, id="the last is earlier, but a later one is listed"),
    pytest.param(view(0, LATER), UNDECIDED, None, id="none counted, but a later one reported"),
]


@pytest.mark.parametrize(("seen", "finding", "earned_badge_id"), CASES)
def test_a_read_proves_what_the_table_says(
    seen: CustomerBadgeView, finding: Finding, earned_badge_id: str | None
) -> None:
    assert settle(OURS, seen, others_at_instant=0) == Verified(finding, earned_badge_id)


@pytest.mark.parametrize(("seen", "finding", "earned_badge_id"), CASES)
def test_a_sighting_beside_another_row_proves_nothing(
    seen: CustomerBadgeView, finding: Finding, earned_badge_id: str | None
) -> None:
    expected = UNDECIDED if finding is GRANTED else finding
    assert settle(OURS, seen, others_at_instant=1) == Verified(expected, None)


_INSTANTS = st.none() | st.integers(OURS - 2, OURS + 2)
_VIEWS = st.builds(
    CustomerBadgeView,
    st.integers(0, 3),
    _INSTANTS,
    st.lists(st.builds(Sighting, st.none() | st.sampled_from("abc"), _INSTANTS), max_size=3).map(tuple),
)


@QUICK
@given(_VIEWS, st.integers(0, 2))
def test_any_sign_of_an_instant_prevents_absence(seen: CustomerBadgeView, others: int) -> None:
    reported = [seen.last_earned_at, *(sighting.earned_at for sighting in seen.sightings)]
    if settle(OURS, seen, others_at_instant=others).finding is ABSENT:
        assert not [instant for instant in reported if instant is not None and instant >= OURS]
        assert not any(sighting.earned_at is None for sighting in seen.sightings)
        assert seen.last_earned_at is not None or seen.earn_count == 0


@QUICK
@given(_VIEWS, st.integers(0, 2))
def test_nothing_is_found_granted_without_our_very_instant(seen: CustomerBadgeView, others: int) -> None:
    reported = [seen.last_earned_at, *(sighting.earned_at for sighting in seen.sightings)]
    verified = settle(OURS, seen, others_at_instant=others)
    assert (verified.finding is GRANTED) == (OURS in reported and others == 0)
    if verified.earned_badge_id is not None:
        assert [each.earned_badge_id for each in seen.sightings if each.earned_at == OURS] == [verified.earned_badge_id]


@pytest.mark.parametrize(
    ("earned", "known", "control", "why"),
    [
        pytest.param(0, 0, Control.SHOWN, None, id="no earn, and a control was shown"),
        pytest.param(2, 2, Control.SHOWN, None, id="as many earns as the ledger knows of"),
        pytest.param(1, 2, Control.SHOWN, None, id="fewer earns than that: one was taken back"),
        pytest.param(1, 0, Control.SHOWN, TOO_MANY, id="an earn too many: it may be ours"),
        pytest.param(3, 2, Control.SHOWN, TOO_MANY, id="an earn too many beside known ones"),
        pytest.param(0, 0, Control.NONE_YET, NO_CONTROL, id="no control was read yet"),
        pytest.param(0, 0, Control.NOT_SHOWN, NOT_SHOWN, id="a control was not shown"),
        pytest.param(1, 0, Control.NONE_YET, TOO_MANY, id="an earn too many: no control would help"),
    ],
)
def test_absence_needs_both_count_and_control(earned: int, known: int, control: Control, why: Disbelief | None) -> None:
    assert disbelieved(ABSENT, view(earned, None), known=known, possible=9, control=control) is why


@pytest.mark.parametrize(
    ("earned", "possible", "control", "why"),
    [
        pytest.param(1, 0, Control.NONE_YET, None, id="the only row that the ledger knows of"),
        pytest.param(1, 0, Control.NOT_SHOWN, None, id="the only one, whatever else reads do not show"),
        pytest.param(2, 1, Control.NONE_YET, None, id="all rows are there"),
        pytest.param(1, 1, Control.SHOWN, None, id="it may be the other row, but reads show instants"),
        pytest.param(1, 1, Control.NONE_YET, NO_CONTROL, id="it may be the other row"),
        pytest.param(1, 1, Control.NOT_SHOWN, NOT_SHOWN, id="it may be the other row, and reads do not show instants"),
        pytest.param(2, 2, Control.NONE_YET, NO_CONTROL, id="it may be one of two other rows"),
    ],
)
def test_an_earn_perhaps_anothers_needs_a_control(
    earned: int, possible: int, control: Control, why: Disbelief | None
) -> None:
    assert disbelieved(GRANTED, view(earned, None), known=0, possible=possible, control=control) is why


@pytest.mark.parametrize("control", Control)
@pytest.mark.parametrize("earned", [0, 5])
def test_what_proves_nothing_needs_no_reason(control: Control, earned: int) -> None:
    assert disbelieved(UNDECIDED, view(earned, None), known=0, possible=9, control=control) is None


@pytest.mark.parametrize(
    ("state", "known", "possible"),
    [
        pytest.param(RowState.ACCEPTED, 1, 1, id="accepted"),
        pytest.param(RowState.REVOKED, 1, 0, id="revoked: counted for ever, but shown perhaps no more"),
        pytest.param(RowState.UNKNOWN, 0, 1, id="unknown, and not shown"),
        pytest.param(RowState.INTENT, 0, 1, id="in flight, and not shown"),
        pytest.param(RowState.PLANNED, 0, 0, id="proven not to be there"),
        pytest.param(RowState.REJECTED, 0, 0, id="rejected"),
    ],
)
def test_what_another_row_says_of_the_count(state: RowState, known: int, possible: int) -> None:
    others = [OtherRow(state, OURS)]
    assert (earns_known(others, view(0, None)), earns_possible(others)) == (known, possible)


@pytest.mark.parametrize(
    ("others", "seen", "known"),
    [
        pytest.param([OURS], view(1, OURS), 1, id="the last earn is at its instant"),
        pytest.param([OURS], listing(2, LATER, OURS, LATER), 1, id="its instant is listed"),
        pytest.param([OURS, LATER], listing(2, LATER, OURS, LATER), 2, id="both are listed"),
        pytest.param([OURS, LATER], view(2, LATER), 1, id="the later one hides the earlier one"),
        pytest.param([OURS, OURS], view(1, OURS), 0, id="two rows of one instant: either may be meant"),
    ],
)
def test_an_unknown_row_the_read_shows_is_known(others: list[int], seen: CustomerBadgeView, known: int) -> None:
    assert earns_known([OtherRow(RowState.UNKNOWN, instant) for instant in others], seen) == known
