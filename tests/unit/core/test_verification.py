"""What a read proves about an unknown row, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.verification import CustomerBadgeView, Finding, Sighting, Verified, settle

QUICK = settings(max_examples=25, deadline=None)

OURS = 1_700_000_000
EARLIER, LATER = OURS - 1, OURS + 1
GRANTED, ABSENT, UNDECIDED = Finding.GRANTED, Finding.ABSENT, Finding.UNDECIDED


def view(count: int, last: int | None, *sightings: tuple[str | None, int | None]) -> CustomerBadgeView:
    return CustomerBadgeView(count, last, tuple(Sighting(*each) for each in sightings))


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
