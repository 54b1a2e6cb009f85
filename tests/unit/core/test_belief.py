"""When "not there" is believed, case by case."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.belief import Control, believe
from airflow_provider_capillary.core.verification import CustomerBadgeView, Finding, Verified

ABSENT, GRANTED, UNDECIDED = Verified(Finding.ABSENT), Verified(Finding.GRANTED, "id"), Verified(Finding.UNDECIDED)


@pytest.mark.parametrize(
    ("earned", "accepted", "control", "believed"),
    [
        pytest.param(0, 0, Control.SHOWN, ABSENT, id="no earn, and a control was shown"),
        pytest.param(2, 2, Control.SHOWN, ABSENT, id="as many earns as accepted rows"),
        pytest.param(1, 2, Control.SHOWN, ABSENT, id="fewer earns than accepted rows: one was taken back"),
        pytest.param(1, 0, Control.SHOWN, UNDECIDED, id="an earn too many: it may be ours"),
        pytest.param(3, 2, Control.SHOWN, UNDECIDED, id="an earn too many beside accepted rows"),
        pytest.param(0, 0, Control.NONE_YET, UNDECIDED, id="no control was read yet"),
        pytest.param(0, 0, Control.NOT_SHOWN, UNDECIDED, id="a control was not shown"),
        pytest.param(1, 0, Control.NOT_SHOWN, UNDECIDED, id="neither count nor control"),
    ],
)
def test_absence_needs_both_count_and_control(earned: int, accepted: int, control: Control, believed: Verified) -> None:
    view = CustomerBadgeView(earned, None)
    assert believe(ABSENT, view, accepted=accepted, control=control) == believed


@pytest.mark.parametrize("verified", [GRANTED, UNDECIDED])
@pytest.mark.parametrize("control", Control)
@pytest.mark.parametrize("earned", [0, 5])
def test_other_findings_stay_as_they_are(verified: Verified, control: Control, earned: int) -> None:
    assert believe(verified, CustomerBadgeView(earned, None), accepted=0, control=control) is verified
