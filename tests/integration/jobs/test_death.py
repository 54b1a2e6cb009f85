"""The process dies at an instruction: what the next try, or another job, makes of what is in the ledger."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from .trial import Trial

#: The moment of death -> the batches of which the ledger may be left with an intent, counted from the one of that
#: moment, and whether they were applied. An outcome is committed with the next intent, or shortly before.
MOMENTS: dict[str, list[tuple[list[int], bool]]] = {
    "intent": [([], False), ([-1], True)],
    "intent-done": [([0], False)],
    "send": [([0], False)],
    "sent": [([0], True)],
    "outcome": [([0], True)],
    "outcome-done": [([], False), ([1], False)],
}


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_try_finishes_a_dead_job(trial: Trial, moment: str, number: int, policy: str) -> None:
    trial.moments.die(moment, number=number)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12), on_unknown=policy)
    in_doubt = sorted(row.badge.row_number for row in trial.held_rows() if row.state == "intent")
    applied = len(trial.granted()) == len(in_doubt) + trial.states().get("accepted", 0)
    allowed = [([row for each in batches for row in _rows_of(number + each)], was) for batches, was in MOMENTS[moment]]
    assert (in_doubt, applied and bool(in_doubt)) in allowed
    assert trial.times_granted() in ([], [1])
    result = trial.run(trial.rows(12), on_unknown=policy, max_unknown=4)
    assert result.error is None
    held = len(in_doubt) if policy == "hold" else 0
    assert trial.ends(result) == ({"accepted": 12 - held, "unknown": held} if held else {"accepted": 12})
    granted = Counter(trial.granted().values())
    if policy == "resend" and in_doubt and applied:
        assert granted == {1: 8, 2: 4}
    else:
        assert granted == {1: 12 - (held if not applied else 0)}
    twice = [row for row, *_, message in trial.issues_of(result) if "may be granted twice" in message]
    assert twice == (in_doubt if policy == "resend" else [])


def _rows_of(batch: int) -> list[int]:
    """The rows of the first, second or third batch of four; of others, none."""
    return [row for row in range(4 * batch - 3, 4 * batch + 1) if 1 <= row <= 12]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("canary", [True, False])
@pytest.mark.parametrize("number", [2, 5])
def test_a_dead_job_of_four_lanes_grants_once(trial: Trial, moment: str, canary: bool, number: int) -> None:
    trial.moments.die(moment, number=number)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(60), concurrency=4, canary=canary)
    result = trial.run(trial.rows(60), concurrency=4, canary=canary)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 60})
    assert len(trial.simulator.store) == 60
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("moment", ["read", "seen", "finding", "finding-done"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("applied", [True, False])
def test_a_death_while_verifying_is_finished_by_a_retry(trial: Trial, moment: str, number: int, applied: bool) -> None:
    at = "after_applying" if applied else "after_reading"
    trial.faults(
        {"kind": "drop", "at": at, "numbers": [1]}, {"kind": "drop", "at": at, "numbers": [2 if applied else 3]}
    )
    trial.moments.die(moment, number=number)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12))
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert len(trial.simulator.store) == 12
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("moment", MOMENTS)
def test_another_job_settles_a_dead_jobs_rows(trial: Trial, moment: str) -> None:
    trial.moments.die(moment, number=2)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12))
    trial.clock.advance(61)
    later = trial.run(trial.rows(16), run_id="night-2", concurrency=2)
    assert (later.error, later.summary.accepted + later.summary.already_accepted) == (None, 16)
    first = trial.run(trial.rows(12))
    assert (first.error, first.summary.accepted + first.summary.already_accepted) == (None, 12)
    assert len(trial.simulator.store) == 16
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("moment", ["adoption", "adoption-done", "read", "finding-done"])
def test_a_death_while_adopting_is_finished(trial: Trial, moment: str) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    trial.run(trial.rows(12), on_unknown="hold")
    trial.moments.die(moment)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12), run_id="night-2")
    result = trial.run(trial.rows(12), run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 8, "accepted": 4})
    assert trial.times_granted() == [1]


def test_a_job_dying_in_every_try_finishes(trial: Trial) -> None:
    for number, moment in enumerate(["sent", "intent-done", "read", "outcome-done", "outcome", "issues", "send"] * 2):
        trial.moments.die(moment, number=1 + number % 2)
        with suppress(trial.killed):
            trial.run(trial.rows(40), concurrency=2)
    result = trial.run(trial.rows(40), concurrency=2)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 40})
    assert len(trial.simulator.store) == 40
    assert trial.times_granted() == [1]


def test_a_retry_waits_for_the_dead_lease(trial: Trial) -> None:
    trial.moments.die("sent")
    with pytest.raises(trial.killed):
        trial.run(trial.rows(4), ledger={"lease_seconds": 30.0})
    trial.run(trial.rows(4), verify_after=0)
    assert trial.clock.waits[0] == 31.0


def test_a_dead_trys_rows_wait_for_verify_after(trial: Trial) -> None:
    reported: dict[str, float] = {}
    trial.moments.at("send", lambda: reported.update(send=trial.clock.now()))
    trial.moments.die("sent")
    with pytest.raises(trial.killed):
        trial.run(trial.rows(4))
    trial.moments.at("read", lambda: reported.update(read=trial.clock.now()))
    result = trial.run(trial.rows(4), verify_after=300)
    assert result.error is None
    assert reported["read"] - reported["send"] >= 300


def test_a_batch_applied_after_death_is_found(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "late", "numbers": [2]})
    trial.moments.die("sent", number=2)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12))
    assert trial.simulator.release_late() == 1
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


def test_a_stale_intent_is_withdrawn_and_noted_again(trial: Trial) -> None:
    trial.moments.at("intent-done", lambda: trial.clock.advance(30))
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    batches = trial.ask_ledger("SELECT verdict, sent_at FROM capillary_batch ORDER BY id")
    assert [verdict for verdict, _ in batches] == ["TAKEN_BACK", "PER_ROW"]
    assert batches[1][1] - batches[0][1] >= 30
    assert trial.calls() == 1
