"""Budgets, and jobs that are asked to stop: by a signal, by a lost lease, by a ledger that is gone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badges import lane_of
from airflow_provider_capillary.exceptions import (
    BudgetExceededError,
    DatasetError,
    ImportInterruptedError,
    LeaseLostError,
    LedgerUnavailableError,
    RequestRefusedError,
)
from airflow_provider_capillary.jobs import import_job
from airflow_provider_capillary.jobs.pacing import lanes_for

from .trial import Trial

INTERRUPTED = ImportInterruptedError("asked to stop")
GONE = LedgerUnavailableError("the database is gone")


# -- budgets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "enough"), [(3, True), (2, False), ("15%", True), ("14.9%", False), (0, False), ("100%", True)]
)
def test_rejected_and_invalid_rows_share_one_budget(trial: Trial, budget: int | str, enough: bool) -> None:
    rows = trial.rows(20)
    rows[4]["customerId"] = "nobody"
    refused = [{"kind": "row_error", "code": 1026, "customer_id": rows[n]["customerId"]} for n in (7, 12)]
    trial.faults(*refused)
    result = trial.run(rows, max_rejected=budget)
    assert trial.ends(result) == {"accepted": 17, "rejected": 2, "invalid": 1}
    assert isinstance(result.error, BudgetExceededError) == (not enough)
    assert enough or "3 of 20 rows" in str(result.error)


@pytest.mark.parametrize(("budget", "enough"), [(4, True), (3, False), ("20%", True), ("19%", False), (0, False)])
def test_unknown_rows_have_a_budget_of_their_own(trial: Trial, budget: int | str, enough: bool) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    result = trial.run(trial.rows(20), on_unknown="hold", max_unknown=budget, max_rejected=0)
    assert trial.ends(result) == {"accepted": 16, "unknown": 4}
    assert isinstance(result.error, BudgetExceededError) == (not enough)
    assert enough or "4 of 20 rows are unknown" in str(result.error)


def test_over_the_budget_everything_is_still_sent(trial: Trial) -> None:
    rows = trial.rows(20)
    rows[0]["customerId"] = None
    result = trial.run(rows, max_rejected=0)
    assert isinstance(result.error, BudgetExceededError)
    assert trial.ends(result) == {"accepted": 19, "invalid": 1}
    [(state, summary)] = trial.ask_ledger("SELECT state, summary FROM capillary_job")
    assert state == "failed"
    assert '"accepted":19' in summary


# -- asked to stop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_a_signal_ends_after_the_batch_in_flight(trial: Trial, policy: str) -> None:
    stop = trial.stop_signal()
    trial.moments.at("send", lambda: stop.request(INTERRUPTED), number=2)
    result = trial.run(trial.rows(20), stop=stop, on_unknown=policy)
    assert result.error is INTERRUPTED
    assert trial.ends(result) == {"accepted": 8, "not_sent": 12}
    assert trial.calls() == 2
    result = trial.run(trial.rows(20))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 20})
    assert trial.times_granted() == [1]


def test_a_signal_lets_all_lanes_end_their_batch(trial: Trial) -> None:
    stop = trial.stop_signal()
    trial.moments.at("send", lambda: stop.request(INTERRUPTED), number=3)
    result = trial.run(trial.rows(200), stop=stop, concurrency=4, canary=True)
    assert result.error is INTERRUPTED
    assert trial.ends(result).keys() == {"accepted", "not_sent"}
    assert result.summary.accepted == len(trial.simulator.store)
    result = trial.run(trial.rows(200), concurrency=4)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 200})
    assert trial.times_granted() == [1]


def test_a_signal_after_the_intent_takes_it_back(trial: Trial) -> None:
    stop = trial.stop_signal()
    trial.moments.at("intent-done", lambda: stop.request(INTERRUPTED), number=2)
    result = trial.run(trial.rows(20), stop=stop)
    assert result.error is INTERRUPTED
    assert trial.ends(result) == {"accepted": 4, "not_sent": 16}
    assert trial.states() == {"accepted": 4, "planned": 4}
    assert trial.calls() == 1


@pytest.mark.parametrize("applied", [True, False])
def test_a_signal_before_verification_leaves_rows_unknown(trial: Trial, applied: bool) -> None:
    stop = trial.stop_signal()
    trial.prove_reads()
    trial.faults({"kind": "drop", "at": "after_applying" if applied else "after_reading", "numbers": [2]})
    trial.clock.meanwhile = lambda seconds: stop.request(INTERRUPTED)
    result = trial.run(trial.rows(12), stop=stop)
    assert result.error is INTERRUPTED
    assert trial.ends(result) == {"accepted": 4, "unknown": 4, "not_sent": 4}
    trial.clock.meanwhile = lambda seconds: None
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


def test_a_signal_ends_a_wait_the_api_asked_for(trial: Trial) -> None:
    stop = trial.stop_signal()
    trial.faults({"kind": "status", "status": 429, "retry_after": 100, "numbers": [2]})
    trial.clock.meanwhile = lambda seconds: stop.request(INTERRUPTED)
    result = trial.run(trial.rows(12), stop=stop)
    assert result.error is INTERRUPTED
    assert trial.ends(result) == {"accepted": 4, "not_sent": 8}
    assert trial.calls() == 2


def test_a_signal_before_the_first_batch_sends_nothing(trial: Trial) -> None:
    stop = trial.stop_signal()
    stop.request(INTERRUPTED)
    result = trial.run(trial.rows(12), stop=stop)
    assert (result.error, trial.ends(result), trial.calls()) == (INTERRUPTED, {"not_sent": 12}, 0)


@pytest.mark.parametrize("number", [1, 2])
def test_an_interrupted_retry_accounts_fully(trial: Trial, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(import_job, "WINDOW_ROWS", 4)
    trial.faults(
        {"kind": "drop", "at": "after_applying", "numbers": [2]}, {"kind": "status", "status": 429, "first": 5}
    )
    first = trial.run(trial.rows(40), on_unknown="hold")
    assert trial.ends(first) == {"accepted": 12, "unknown": 4, "not_sent": 24}
    trial.faults()
    stop = trial.stop_signal()
    if number == 1:
        stop.request(INTERRUPTED)
    trial.moments.at("send", lambda: stop.request(INTERRUPTED), number=number - 1)
    again = trial.run(trial.rows(40), on_unknown="hold", stop=stop)
    assert again.error is INTERRUPTED
    assert again.summary.rows_read == 40
    last = trial.run(trial.rows(40), on_unknown="verify")
    assert (last.error, trial.ends(last)) == (None, {"accepted": 40})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("moment", ["intent-done", "sent"])
@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_a_stopped_retry_gives_dead_rows_reasons(trial: Trial, moment: str, policy: str) -> None:
    trial.moments.die(moment, number=2)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12))
    trial.clock.advance(61)  # its lease is over
    stop = trial.stop_signal()
    stop.request(INTERRUPTED)
    result = trial.run(trial.rows(12), stop=stop, on_unknown=policy)
    assert trial.ends(result) == {"accepted": 4, "unknown": 4, "not_sent": 4}
    reasons = {message for _, state, _, _, message in trial.issues_of(result) if state == "unknown"}
    assert {(reason.message, reason.rows) for reason in result.summary.reasons} >= {(text, 4) for text in reasons}
    assert "stopped before it read the row back" in reasons.pop()


def test_a_stopped_retry_keeps_earlier_reasons(trial: Trial) -> None:
    refused = {"kind": "row_error", "code": 1026, "customer_id": trial.rows(12)[1]["customerId"]}
    trial.faults(refused, {"kind": "drop", "at": "after_reading", "numbers": [2]})
    first = trial.run(trial.rows(12), on_unknown="hold")
    stop = trial.stop_signal()
    stop.request(INTERRUPTED)
    again = trial.run(trial.rows(12), on_unknown="hold", stop=stop)
    assert trial.ends(again) == trial.ends(first) == {"accepted": 7, "rejected": 1, "unknown": 4}
    assert trial.issues_of(again) == trial.issues_of(first)
    assert {reason.message for reason in again.summary.reasons} == {reason.message for reason in first.summary.reasons}


# -- the lease -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["sent", "intent", "outcome"])
@pytest.mark.parametrize("canary", [True, False])
def test_a_copy_without_lease_sends_nothing_more(trial: Trial, moment: str, canary: bool) -> None:
    rows, finished = trial.rows(40), []

    def another_copy_takes_over() -> None:
        trial.clock.advance(61)
        finished.append(trial.run(rows, run_id="night-1"))

    trial.moments.at(moment, another_copy_takes_over, number=2)
    with pytest.raises(LeaseLostError):
        trial.run(rows, canary=canary)
    [result] = finished
    assert result.error is None
    assert trial.states() == {"accepted": 40}
    assert trial.times_granted() == [1]
    result = trial.run(rows)
    assert (result.error, trial.ends(result), result.summary.requests) == (None, {"accepted": 40}, 0)


# -- the ledger ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("moment", ["intent", "outcome"])
@pytest.mark.parametrize("canary", [True, False])
def test_without_a_ledger_nothing_unrecorded_is_sent(trial: Trial, moment: str, number: int, canary: bool) -> None:
    trial.moments.fail(moment, GONE, number=number, times=1_000)
    with pytest.raises(LedgerUnavailableError):
        trial.run(trial.rows(60), concurrency=2, canary=canary)
    noted = sum(trial.states().values())
    assert len(trial.simulator.store) <= noted
    result = trial.run(trial.rows(60), concurrency=2, canary=canary)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 60})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("moment", ["intent", "outcome", "finding", "issues"])
def test_a_passing_ledger_failure_is_finished_by_a_retry(trial: Trial, moment: str) -> None:
    rows = trial.rows(60)
    rows[30]["customerId"] = "nobody"
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [3]})
    trial.moments.fail(moment, GONE)
    with pytest.raises(LedgerUnavailableError):
        trial.run(rows, concurrency=3)
    result = trial.run(rows, concurrency=3)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 59, "invalid": 1})
    assert trial.times_granted() == [1]


def test_an_unforeseen_error_stops_all_lanes(trial: Trial) -> None:
    trial.moments.fail("sent", ZeroDivisionError(), number=3)
    with pytest.raises(ZeroDivisionError):
        trial.run(trial.rows(400), concurrency=2)
    assert trial.calls() < 20
    result = trial.run(trial.rows(400), concurrency=2)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 400})
    assert trial.times_granted() == [1]


def test_a_changing_file_loses_no_outcome(trial: Trial, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_job, "WINDOW_ROWS", 4)
    path = tmp_path / "rows.csv"
    rows = trial.rows(400)

    def write(count: int) -> None:
        lines = [",".join(map(str, row.values())) for row in rows[:count]]
        path.write_text("\n".join([",".join(rows[0]), *lines, ""]))

    write(400)
    trial.moments.at("sent", lambda: write(100))
    with pytest.raises(DatasetError):
        trial.run(str(path), concurrency=2)
    assert "intent" not in trial.states()
    assert trial.states()["accepted"] == len(trial.simulator.store)
    write(400)
    result = trial.run(str(path), concurrency=2)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 400})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("ended", ["accepted", "rejected", "unknown"])
def test_a_stopped_retry_counts_rows_not_looked_up(trial: Trial, ended: str) -> None:
    """One lane was ahead: the rows of the first window waited for their batch to be full when later ones were sent."""
    lanes = lanes_for(2)
    first, second = ([row for row in trial.rows(800) if lane_of(row["customerId"], lanes) == lane] for lane in (0, 1))
    rows = first[:10] + second[:200]
    trial.faults(
        *([{"kind": "row_error", "code": 1026, "numbers": [1]}] if ended == "rejected" else []),
        *([{"kind": "drop", "at": "after_reading", "numbers": [1]}] if ended == "unknown" else []),
    )
    trial.moments.die("outcome-done" if ended != "unknown" else "sent")
    with pytest.raises(trial.killed):
        trial.run(rows, concurrency=2, batch_size=20)
    left = sum(trial.states().values()) - 20
    assert left in (0, 20)  # the next intent may have been committed with the outcome
    trial.faults({"kind": "status", "status": 403, "times": 1})
    result = trial.run(rows, concurrency=1, batch_size=10)
    assert isinstance(result.error, RequestRefusedError)
    assert trial.ends(result) == Counter({ended: 20, "not_sent": 190 - left}) + Counter(unknown=left)


def test_a_ledger_failure_outranks_the_refusal(trial: Trial) -> None:
    """The rows that were not sent are in no account then; that is no fault of the account."""
    trial.faults({"kind": "status", "status": 403, "times": 1})
    trial.moments.fail("issues", GONE)
    with pytest.raises(LedgerUnavailableError):
        trial.run(trial.rows(12))
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})


@pytest.mark.parametrize("moment", ["finding", "finding-done"])
def test_a_copy_with_settled_rows_lost_its_lease(trial: Trial, moment: str) -> None:
    """It sends nothing any more, so no intent says so; its counts and the ledger differ all the same."""
    rows = trial.rows(8)
    trial.faults({"kind": "array", "change": "duplicated", "numbers": [2]})  # the second canary: the job stops
    results: list[dict[str, int]] = []

    def take_over() -> None:
        trial.clock.advance(61)
        results.append(trial.ends(trial.run(rows)))

    trial.moments.at(moment, take_over)
    with pytest.raises(LeaseLostError):
        trial.run(rows, batch_size=50, canary=True)
    assert results == [{"accepted": 8}]
    assert trial.times_granted() == [1]
