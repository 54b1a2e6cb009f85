"""When a read is believed, case by case."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.belief import (
    Control,
    Disbelief,
    OtherRow,
    disbelieved,
    earns_known,
    earns_possible,
)
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.verification import CustomerBadgeView, Finding, Sighting

ABSENT, GRANTED, UNDECIDED = Finding.ABSENT, Finding.GRANTED, Finding.UNDECIDED
TOO_MANY, NO_CONTROL, NOT_SHOWN = Disbelief.TOO_MANY_EARNS, Disbelief.NO_CONTROL, Disbelief.NOT_SHOWN
EARLY, LATE = 1_700_000_000, 1_700_000_900


def view(earned: int, last: int | None = None, *listed: int) -> CustomerBadgeView:
    return CustomerBadgeView(earned, last, tuple(Sighting(None, instant) for instant in listed))


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
    assert disbelieved(ABSENT, view(earned), known=known, possible=9, control=control) is why


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
    assert disbelieved(GRANTED, view(earned), known=0, possible=possible, control=control) is why


@pytest.mark.parametrize("control", Control)
@pytest.mark.parametrize("earned", [0, 5])
def test_what_proves_nothing_needs_no_reason(control: Control, earned: int) -> None:
    assert disbelieved(UNDECIDED, view(earned), known=0, possible=9, control=control) is None


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
    others = [OtherRow(state, EARLY)]
    assert (earns_known(others, view(0)), earns_possible(others)) == (known, possible)


@pytest.mark.parametrize(
    ("others", "seen", "known"),
    [
        pytest.param([EARLY], view(1, EARLY), 1, id="the last earn is at its instant"),
        pytest.param([EARLY], view(2, LATE, EARLY, LATE), 1, id="its instant is listed"),
        pytest.param([EARLY, LATE], view(2, LATE, EARLY, LATE), 2, id="both are listed"),
        pytest.param([EARLY, LATE], view(2, LATE), 1, id="the later one hides the earlier one"),
        pytest.param([EARLY, EARLY], view(1, EARLY), 0, id="two rows of one instant: either may be meant"),
    ],
)
def test_an_unknown_row_the_read_shows_is_known(others: list[int], seen: CustomerBadgeView, known: int) -> None:
    assert earns_known([OtherRow(RowState.UNKNOWN, instant) for instant in others], seen) == known
