"""What counts as an attempt, and what no reply can make of a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Judgement, RowOutcome, Verdict
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.jobs import lane

from .trial import Trial


def take_back(trial: Trial, *numbers: int) -> None:
    """Let the intents of these numbers wait too long before they are sent."""
    for number in numbers:
        trial.moments.at("intent-done", lambda: trial.clock.advance(3_600), number=number)


def batches(trial: Trial) -> list[tuple[str, int, str]]:
    """Verdict, attempt and request id of each batch."""
    return trial.ask_ledger("SELECT verdict, attempt, request_id FROM capillary_batch ORDER BY id")


def attempts(trial: Trial) -> list[int]:
    found = trial.ask_ledger("SELECT details FROM capillary_row_issue")
    return [json.loads(details)["attempt"] for (details,) in found]


def test_intents_that_were_taken_back_are_no_attempts(trial: Trial) -> None:
    take_back(trial, 1, 2, 3)
    trial.faults({"kind": "row_error", "code": 1026})
    trial.run(trial.rows(1))
    *taken_back, sent = batches(trial)
    assert [verdict for verdict, _, _ in taken_back] == ["TAKEN_BACK"] * 3
    assert (sent[1], attempts(trial)) == (1, [1])
    assert {request_id for *_, request_id in taken_back} == {sent[2]}  # nothing left under that id


def test_withdrawn_intents_use_up_no_tries(trial: Trial) -> None:
    take_back(trial, *range(1, 7))
    trial.faults({"kind": "status", "status": 429, "numbers": [1]})
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})


def test_a_reason_says_how_many_requests_left(trial: Trial) -> None:
    rows = trial.rows(200)
    unlucky = rows[0]["customerId"]
    trial.start(latency_ms=2)  # the other lanes' good batches come between, or the job would stop early
    take_back(trial, *range(2, 40, 3))
    trial.faults({"kind": "drop", "at": "after_applying", "customer_id": unlucky})
    result = trial.run(rows, on_unknown="resend", batch_size=1, concurrency=4, max_unknown=1)
    times = trial.granted()[unlucky, trial.badge, trial.first_earned]
    [message] = [message for number, state, *_, message in trial.issues_of(result) if (number, state) == (1, "unknown")]
    assert times > 1
    assert f"sent {times} times without proof" in message


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "times": 2},
        {"kind": "status", "status": 503, "times": 2},
        {"kind": "drop", "at": "after_reading", "times": 2},
        {"kind": "row_error", "times": 2},
    ],
    ids=["429", "503", "lost", "passing refusal"],
)
def test_each_sent_request_has_its_own_id(trial: Trial, fault: dict[str, Any]) -> None:
    trial.prove_reads()
    take_back(trial, 2)
    trial.faults(fault)
    result = trial.run(trial.rows(1))
    assert result.error is None
    _, *sent = batches(trial)
    left = [request_id for verdict, _, request_id in sent if verdict != "TAKEN_BACK"]
    assert len(set(left)) == len(left) == trial.calls() == 3
    assert [attempt for verdict, attempt, _ in sent if verdict != "TAKEN_BACK"] == [1, 2, 3]


def test_a_row_of_a_dead_try_keeps_its_count(trial: Trial) -> None:
    trial.moments.die("sent")
    with pytest.raises(trial.killed):
        trial.run(trial.rows(1))
    trial.run(trial.rows(1), on_unknown="hold")
    assert attempts(trial) == [1]
    trial.simulator.store.clear()
    trial.prove_reads()
    trial.faults({"kind": "row_error", "code": 1026})
    trial.run(trial.rows(1))
    assert attempts(trial) == [2]


#: What no reply can say today, and a state that is added later might.
UNFORESEEN = {
    "accepted without an id": RowOutcome(RowState.ACCEPTED),
    "accepted with an empty id": RowOutcome(RowState.ACCEPTED, ""),
    "planned": RowOutcome(RowState.PLANNED),
    "not sent": RowOutcome(RowState.NOT_SENT),
    "revoked": RowOutcome(RowState.REVOKED, "65" * 12),
}


@pytest.mark.parametrize("unforeseen", UNFORESEEN.values(), ids=UNFORESEEN)
def test_an_unforeseen_outcome_is_no_refusal(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, unforeseen: RowOutcome
) -> None:
    def judged(badges: Sequence[EarnedBadge], reply: Reply) -> Judgement:
        return Judgement(Verdict.PER_ROW, looked_at=(unforeseen,) * len(badges))

    with monkeypatch.context() as patched:
        patched.setattr(lane, "judge", judged)
        with pytest.raises(AssertionError, match="no reply makes a row"):
            trial.run(trial.rows(4))
    assert trial.states() == {"intent": 4}  # unknown to the next try
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.times_granted() == [1]
