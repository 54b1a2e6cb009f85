"""A living process whose lease ran out: its replies come when another copy, or another job, has its rows."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from airflow_provider_capillary.exceptions import LeaseLostError
from airflow_provider_capillary.jobs.import_job import ImportResult

from .trial import Trial


def ends_when_all_is_over(trial: Trial, result: ImportResult) -> dict[str, int]:
    """How a job's rows ended, as the ledger's summary says now."""
    summary = trial.summary_of(result)
    names = ("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
    assert sum(summary[name] for name in names) == summary["rows_read"]
    return {name: summary[name] for name in names if summary[name]}


@pytest.mark.parametrize("others", [0, 4])
def test_a_late_reply_settles_held_rows(trial: Trial, others: int) -> None:
    rows = trial.rows(4 + others)
    results: list[ImportResult] = []

    def take_over() -> None:
        trial.clock.advance(61)
        results.append(trial.run(rows, on_unknown="hold", max_unknown="100%"))

    trial.moments.at("sent", take_over)
    with pytest.raises(LeaseLostError):
        trial.run(rows, on_unknown="hold")
    [held] = results
    assert trial.ends(held)["unknown"] == 4
    assert ends_when_all_is_over(trial, held) == {"accepted": 4 + others}
    assert trial.rows_reported_as(held, "unknown") == []
    assert trial.times_granted() == [1]


def test_a_late_reply_is_counted_by_the_running_copy(trial: Trial) -> None:
    rows = trial.rows(8)
    held, settled = threading.Event(), threading.Event()

    def second() -> ImportResult:
        return trial.run(rows, on_unknown="hold", max_unknown=0)

    def next_batch() -> None:  # the first one's rows are held by now
        held.set()
        assert settled.wait(60)

    with ThreadPoolExecutor(1) as pool:

        def take_over() -> None:
            trial.clock.advance(61)
            trial.moments.at("sent", next_batch)
            others.append(pool.submit(second))
            assert held.wait(60)

        others: list[Future[ImportResult]] = []
        trial.moments.at("sent", take_over)
        with pytest.raises(LeaseLostError):
            trial.run(rows, on_unknown="hold")
        settled.set()
        result = others[0].result(60)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 8})
    assert ends_when_all_is_over(trial, result) == {"accepted": 8}
    assert trial.rows_reported_as(result, "unknown") == []
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("policy", ["hold", "verify"])
def test_adopted_rows_are_counted_by_their_new_job(trial: Trial, policy: str) -> None:
    trial.prove_reads()
    rows = trial.rows(8)
    results: list[ImportResult] = []

    def take_over() -> None:
        trial.clock.advance(61)
        results.append(trial.run(rows[:4], run_id="night-2", on_unknown=policy, max_unknown="100%"))

    trial.moments.at("sent", take_over)
    first = trial.run(rows)
    assert first.error is None
    assert trial.ends(first) == {"accepted": 4, "already_accepted": 4}
    assert ends_when_all_is_over(trial, results[0]) == {"accepted": 4}
    assert trial.times_granted() == [1]


def test_rows_resent_by_another_job_count_once(trial: Trial) -> None:
    """By ``resend`` a person allows that they are granted twice."""
    rows = trial.rows(8)

    def take_over() -> None:
        trial.clock.advance(61)
        trial.run(rows[:4], run_id="night-2", on_unknown="resend")

    trial.moments.at("sent", take_over)
    first = trial.run(rows)
    assert trial.ends(first) == {"accepted": 4, "already_accepted": 4}
