"""What a retry, a clear, a later job, and a job at the same time make of what another one left."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_capillary.exceptions import (
    BudgetExceededError,
    JobIsRunningError,
    JobMismatchError,
)
from airflow_provider_capillary.jobs import follow_up
from airflow_provider_capillary.ledger.facts import IntentConflictError

if TYPE_CHECKING:
    from airflow_provider_capillary.jobs.import_job import ImportResult

    from .trial import Trial


# -- what was accepted or rejected -------------------------------------------------------------------------


@pytest.mark.parametrize("again", [{"run_id": "night-2"}, {"max_tries": 2}], ids=["later run", "clear"])
def test_another_job_sends_nothing_that_was_accepted(trial: Trial, again: dict[str, Any]) -> None:
    trial.run(trial.rows(10))
    result = trial.run(trial.rows(14), **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 10, "accepted": 4})
    assert result.summary.requests == 1
    assert trial.times_granted() == [1]


def test_a_retry_after_success_sends_nothing(trial: Trial) -> None:
    first = trial.run(trial.rows(10))
    again = trial.run(trial.rows(10))
    assert (again.error, trial.ends(again)) == (None, {"accepted": 10})
    assert again.summary.job_id == first.summary.job_id
    assert (again.summary.requests, trial.calls()) == (0, 3)


def test_a_retry_sends_no_rejected_row_again(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "message": "nobody", "positions": [2]})
    first = trial.run(trial.rows(12))
    assert isinstance(first.error, BudgetExceededError)
    issue = trial.issues_of(first)
    trial.faults()
    again = trial.run(trial.rows(12))
    assert isinstance(again.error, BudgetExceededError)
    assert trial.ends(again) == {"accepted": 9, "rejected": 3}
    assert trial.calls() == 3
    assert trial.issues_of(again) == issue


@pytest.mark.parametrize("again", [{"run_id": "night-2"}, {"max_tries": 2}], ids=["later run", "clear"])
def test_another_job_sends_rejected_rows_again(trial: Trial, again: dict[str, Any]) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "positions": [2]})
    trial.run(trial.rows(12))
    trial.faults()
    result = trial.run(trial.rows(12), **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 9, "accepted": 3})
    assert trial.states() == {"accepted": 12}
    assert trial.times_granted() == [1]


def test_a_retry_continues_where_the_first_stopped(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 429, "first": 3})
    first = trial.run(trial.rows(20))
    assert trial.ends(first) == {"accepted": 8, "not_sent": 12}
    trial.faults()
    again = trial.run(trial.rows(20), batch_size=5, concurrency=3, canary=True)
    assert (again.error, trial.ends(again)) == (None, {"accepted": 20})
    assert again.summary.job_id == first.summary.job_id
    assert trial.rows_reported_as(again, "not_sent") == []
    assert trial.times_granted() == [1]


CHANGES: dict[str, dict[str, Any]] = {
    "timezone": {"timezone": "Europe/Berlin"},
    "field_mapping": {"field_mapping": {"badgeMetaId": "badgeMetaId"}},
    "on_duplicate": {"on_duplicate": "allow"},
    "once_per_customer": {"once_per_customer": True},
    "import_method": {"client": {"import_method": "POST"}},
    "timestamp_format": {"client": {"timestamp_format": "iso_fields"}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_retry_refuses_other_settings_and_a_clear_takes_them(trial: Trial, name: str) -> None:
    trial.start(methods=("PUT", "POST"))
    trial.run(trial.rows(4))
    with pytest.raises(JobMismatchError, match=name):
        trial.run(trial.rows(4), **CHANGES[name])
    assert trial.calls() == 1
    result = trial.run(trial.rows(4), max_tries=2, **CHANGES[name])
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4})


@pytest.mark.parametrize("rows", [5, 3], ids=["one more", "one less"])
def test_a_retry_refuses_another_dataset_and_a_clear_takes_it(trial: Trial, rows: int) -> None:
    trial.run(trial.rows(4))
    with pytest.raises(JobMismatchError, match="the dataset"):
        trial.run(trial.rows(rows))
    assert trial.calls() == 1
    result = trial.run(trial.rows(rows), max_tries=2)
    assert (result.error, result.summary.already_accepted) == (None, min(rows, 4))


# -- what stayed unknown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [{}, {"run_id": "night-2"}, {"max_tries": 2}], ids=["retry", "later run", "clear"])
@pytest.mark.parametrize("applied", [True, False])
def test_held_rows_are_settled_by_the_next_verify(trial: Trial, again: dict[str, Any], applied: bool) -> None:
    trial.faults({"kind": "drop", "at": "after_applying" if applied else "after_reading", "numbers": [2]})
    first = trial.run(trial.rows(12), on_unknown="hold")
    assert trial.ends(first) == {"accepted": 8, "unknown": 4}
    result = trial.run(trial.rows(12), on_unknown="verify", **again)
    assert (result.error, result.summary.accepted + result.summary.already_accepted) == (None, 12)
    assert result.summary.requests == (0 if applied else 1)
    assert trial.states() == {"accepted": 12}
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("again", [{}, {"run_id": "night-2"}], ids=["retry", "later run"])
def test_held_rows_stay_unknown_without_verify(trial: Trial, again: dict[str, Any]) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    trial.run(trial.rows(12), on_unknown="hold")
    result = trial.run(trial.rows(12), on_unknown="hold", max_unknown="50%", **again)
    assert (result.error, result.summary.unknown, result.summary.requests) == (None, 4, 0)
    assert trial.rows_reported_as(result, "unknown") == [5, 6, 7, 8]
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("again", [{}, {"run_id": "night-2"}, {"max_tries": 2}], ids=["retry", "later run", "clear"])
@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_an_unknown_row_beside_accepted_ones_is_adopted(trial: Trial, again: dict[str, Any], policy: str) -> None:
    trial.faults({"kind": "echo", "field": "expiry", "position": 2, "numbers": [1]})
    first = trial.run(trial.rows(12), on_unknown="hold")
    assert trial.ends(first) == {"accepted": 11, "unknown": 1}
    result = trial.run(trial.rows(12), on_unknown=policy, max_unknown=1, **again)
    assert result.error is None
    assert result.summary.unknown == (policy == "hold")
    assert trial.reported.counts["adoption"] == (1 if again else 0)
    assert trial.rows_reported_as(result, "not_sent") == []
    assert trial.times_granted() == ([1, 2] if policy == "resend" else [1])


def conflict(moment: str, trial: Trial, times: int = 1_000) -> None:
    trial.moments.fail(moment, IntentConflictError("another job was quicker"), times=times)


@pytest.mark.parametrize("times", [2, 3])
def test_rows_others_keep_taking_are_left_to_a_retry(trial: Trial, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setattr(follow_up, "MOST_CONFLICTS", 2)
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    trial.run(trial.rows(12), on_unknown="hold")
    trial.faults()
    conflict("adoption", trial, times)
    result = trial.run(trial.rows(16), run_id="night-2")
    if times == 2:
        assert (result.error, trial.ends(result)) == (None, {"already_accepted": 8, "accepted": 8})
        return
    assert isinstance(result.error, JobIsRunningError)
    assert trial.reported.counts["adoption"] == 3
    assert trial.ends(result) == {"already_accepted": 8, "not_sent": 4, "accepted": 4}
    assert trial.rows_reported_as(result, "not_sent") == [5, 6, 7, 8]
    assert trial.states() == {"accepted": 12, "unknown": 4}
    again = trial.run(trial.rows(16), run_id="night-2")
    assert (again.error, trial.ends(again)) == (None, {"already_accepted": 8, "accepted": 8})
    assert trial.times_granted() == [1]


def test_endless_conflicts_leave_a_batch_unsent(trial: Trial) -> None:
    conflict("intent", trial)
    result = trial.run(trial.rows(4))
    assert isinstance(result.error, JobIsRunningError)
    assert trial.reported.counts["intent"] == follow_up.MOST_CONFLICTS + 1
    assert (trial.ends(result), trial.calls(), trial.states()) == ({"not_sent": 4}, 0, {})
    again = trial.run(trial.rows(4))
    assert (again.error, trial.ends(again)) == (None, {"accepted": 4})


def test_own_rows_among_conflicts_are_settled(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_up, "MOST_CONFLICTS", 2)
    trial.faults({"kind": "drop", "at": "after_applying"})
    trial.run(trial.rows(4), on_unknown="hold")
    conflict("adoption", trial)
    first = trial.run(trial.rows(8), on_unknown="hold", run_id="night-2")
    assert trial.ends(first) == {"not_sent": 4, "unknown": 4}
    trial.faults()
    conflict("adoption", trial)
    result = trial.run(trial.rows(8), run_id="night-2")
    assert isinstance(result.error, JobIsRunningError)
    assert trial.ends(result) == {"not_sent": 4, "accepted": 4}
    assert trial.times_granted() == [1]


def test_a_resending_job_names_rows_perhaps_doubled(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    trial.run(trial.rows(12), on_unknown="hold")
    result = trial.run(trial.rows(12), on_unknown="resend", run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 8, "accepted": 4})
    assert [number for number, *_, message in trial.issues_of(result) if "twice" in message] == [5, 6, 7, 8]
    assert Counter(trial.granted().values()) == {1: 8, 2: 4}


def test_a_retry_repeats_what_may_be_double(trial: Trial) -> None:
    trial.faults(
        {"kind": "drop", "at": "after_applying", "numbers": [1]}, {"kind": "status", "status": 429, "first": 3}
    )
    first = trial.run(trial.rows(12), on_unknown="resend")
    reported = [number for number, *_, message in trial.issues_of(first) if "twice" in message]
    assert reported == [1, 2, 3, 4]
    trial.faults()
    again = trial.run(trial.rows(12), on_unknown="resend")
    assert (again.error, trial.ends(again)) == (None, {"accepted": 12})
    assert [number for number, *_, message in trial.issues_of(again) if "twice" in message] == reported


def test_a_first_job_accepts_what_a_later_settled(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    trial.run(trial.rows(12), on_unknown="hold")
    trial.run(trial.rows(12), on_unknown="verify", run_id="night-2")
    result = trial.run(trial.rows(12), on_unknown="verify")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 8, "already_accepted": 4})
    assert trial.times_granted() == [1]


def test_a_first_job_reports_no_row_accepted_later(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "positions": [2]})
    trial.run(trial.rows(12))
    trial.faults()
    trial.run(trial.rows(12), run_id="night-2")
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 9, "already_accepted": 3})
    assert trial.rows_reported_as(result, "rejected") == []


def test_a_job_of_other_rows_leaves_unknown_ones(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    trial.run(trial.rows(4), on_unknown="hold")
    result = trial.run(trial.rows(8, first=4), run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 8})
    assert trial.states() == {"unknown": 4, "accepted": 8}


# -- at the same time --------------------------------------------------------------------------------------


def at_once(*jobs: Any) -> list[ImportResult | BaseException]:
    """Run the jobs on a thread each; give what came of them, in order."""
    ends: list[ImportResult | BaseException] = [RuntimeError("did not end")] * len(jobs)

    def run(place: int) -> None:
        try:
            ends[place] = jobs[place]()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            ends[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return ends


@pytest.mark.parametrize("fault", [None, {"kind": "status", "status": 429, "every": 3}], ids=["calm", "pressed"])
def test_two_jobs_at_once_grant_once_and_account_fully(trial: Trial, fault: dict[str, Any] | None) -> None:
    trial.start(latency_ms=2, faults=[fault] if fault else None)
    rows = trial.rows(150)

    def job(run_id: str, first: int, last: int) -> Any:
        return lambda: trial.run(rows[first:last], run_id=run_id, concurrency=3, batch_size=7)

    ends = at_once(job("night-1", 0, 100), job("night-2", 50, 150))
    for end in ends:
        assert not isinstance(end, BaseException), end
        assert end.error is None or isinstance(end.error, JobIsRunningError)
        assert trial.ends(end).keys() <= {"accepted", "already_accepted", "not_sent"}
    assert trial.times_granted() == [1]
    assert len(trial.simulator.store) == 150
    for run_id, first, last in (("night-1", 0, 100), ("night-2", 50, 150)):
        result = job(run_id, first, last)()
        assert (result.error, result.summary.accepted + result.summary.already_accepted) == (None, 100)
    assert trial.states() == {"accepted": 150}
    assert trial.times_granted() == [1]


def test_once_per_customer_holds_between_parallel_jobs(trial: Trial) -> None:
    trial.start(latency_ms=2)
    rows = trial.rows(60)
    others = [row | {"earnEventDate": row["earnEventDate"] + 1_000} for row in rows]

    def job(run_id: str, of: list[dict[str, Any]]) -> Any:
        return lambda: trial.run(of, run_id=run_id, concurrency=3, batch_size=7, once_per_customer=True)

    for end in at_once(job("night-1", rows), job("night-2", others)):
        assert not isinstance(end, BaseException), end
    assert len(trial.simulator.store) == 60
    assert set(Counter(grant.customer_id for grant in trial.simulator.store.grants()).values()) == {1}


def test_a_second_copy_sends_nothing(trial: Trial) -> None:
    second: list[BaseException] = []

    def start_a_second_copy() -> None:
        with pytest.raises(JobIsRunningError) as caught:
            trial.run(trial.rows(12), stop=None)
        second.append(caught.value)

    # the first copy lives on while the second waits for its lease: so it holds it for longer than that
    lease = {"lease_seconds": 1_000.0}
    trial.moments.at("sent", start_a_second_copy)
    trial.clock.meanwhile = lambda seconds: trial.clock.advance(-seconds)
    result = trial.run(trial.rows(12), ledger=lease)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert len(second) == 1
    assert trial.calls() == 3


def test_a_reused_run_id_explains_rejected_rows(trial: Trial) -> None:
    rows = trial.rows(8)
    trial.faults({"kind": "row_error", "code": 1026, "positions": [0, 2]})
    first = trial.run(rows, max_rejected="100%")
    trial.faults()
    calls, rejected = trial.calls(), first.summary.rejected
    again = trial.run([*rows], max_rejected="100%")
    assert (trial.calls(), again.summary.rejected, again.summary.accepted) == (calls, rejected, 8 - rejected)
    [reason] = again.summary.reasons
    assert reason.rows == rejected > 0
    assert reason.message.endswith("not sent again: clear the task, or use another run id")
    assert trial.run([*rows], max_tries=2).summary.accepted == rejected
