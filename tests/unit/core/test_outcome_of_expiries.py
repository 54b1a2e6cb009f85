"""An entry that echoes another expiry than ours proves nothing of its row, and by a factor of a thousand it warns."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core.outcome import Verdict

from .row_replies import ACCEPTED, EXPIRES, NOT_FOUND, UNKNOWN, echo, grant, judged, refusal, states

EXPIRY_MISSES = [
    pytest.param({"expires_on": None, "expires_on_iso": None}, id="no expiry is echoed"),
    pytest.param({"expires_on": EXPIRES + 1.1}, id="1.1 s late"),
    pytest.param({"expires_on": EXPIRES - 1.1}, id="1.1 s early"),
    pytest.param({"expires_on": EXPIRES + 2.0, "expires_on_iso": None}, id="2 s late, no ISO"),
    pytest.param({"expires_on": 0.0}, id="zero"),
    pytest.param({"expires_on": -float(EXPIRES)}, id="negative"),
    pytest.param({"expires_on": float("inf")}, id="infinite"),
    pytest.param({"expires_on": float("nan")}, id="NaN"),
    pytest.param({"expires_on": "nan"}, id="NaN as text"),
    pytest.param({"expires_on": 10**400}, id="more than a float holds"),
    pytest.param({"expires_on": ""}, id="empty text"),
    pytest.param({"expires_on": "soon"}, id="no number"),
    pytest.param({"expires_on_iso": "2024-01-21T09:06:53Z"}, id="ISO 2 s late beside a good number"),
    pytest.param({"expires_on": None, "expires_on_iso": "2024-01-21T09:06:51+05:30"}, id="ISO of another zone"),
    pytest.param({"expires_on_iso": "2024-01-21T09:06:51"}, id="ISO without an offset"),
    pytest.param({"expires_on_iso": "+57906-04-18T07:06:40Z"}, id="ISO of a year beyond ours"),
    pytest.param({"expires_on_iso": ""}, id="empty ISO"),
    pytest.param({"expires_on_iso": "never"}, id="ISO that is none"),
]


@pytest.mark.parametrize("changed", EXPIRY_MISSES)
def test_another_expiry_leaves_only_its_row_unknown(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed), grant(3)])
    assert judgement.verdict is Verdict.PER_ROW
    assert states(judgement) == [ACCEPTED, UNKNOWN, ACCEPTED]
    assert judgement.proof_failed
    assert judgement.reason == judgement.rows[1].message
    assert "expir" in judgement.reason
    assert judgement.rows[1].earned_badge_id == echo(2).earned_badge_id
    assert not judgement.wrong_time_unit


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"expires_on": EXPIRES * 1000.0}, id="1000 times ours"),
        pytest.param({"expires_on": EXPIRES / 1000}, id="a thousandth of ours"),
        pytest.param({"expires_on": float(EXPIRES // 1000)}, id="a thousandth of ours, cut off"),
        pytest.param({"expires_on": EXPIRES * 1_000_000.0}, id="a million times ours"),
        pytest.param({"expires_on": f"{EXPIRES * 1000}.000000000"}, id="1000 times ours as text"),
        pytest.param(
            {"expires_on": EXPIRES * 1000.0, "expires_on_iso": "+56025-07-11T21:10:00Z"}, id="1000 times ours, both"
        ),
        pytest.param({"expires_on": None, "expires_on_iso": "1970-01-20T17:50:28Z"}, id="a thousandth, only as ISO"),
    ],
)
def test_a_thousandfold_expiry_is_the_wrong_unit(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed)])
    assert states(judgement) == [ACCEPTED, UNKNOWN]
    assert judgement.wrong_time_unit
    assert judgement.proof_failed


def test_a_good_reply_is_no_wrong_unit() -> None:
    assert not judged([grant(1), refusal(NOT_FOUND)]).wrong_time_unit
