"""The budget of requests, what the server asks for, and how many are in flight."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_capillary.core.outcome import Verdict
from airflow_provider_capillary.jobs import import_job
from airflow_provider_capillary.jobs.pacing import Backoff, Pace, StopSignal, lanes_for

from .trial import Trial


@pytest.mark.parametrize("concurrency", [1, 4])
def test_every_request_takes_a_turn(trial: Trial, concurrency: int) -> None:
    begun = trial.clock.now()
    result = trial.run(trial.rows(40), requests_per_minute=30, concurrency=concurrency)
    assert result.error is None
    assert trial.clock.now() - begun >= (result.summary.requests - 1) * 2.0


def test_reads_are_taken_out_of_the_budget_too(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    begun = trial.clock.now()
    result = trial.run(trial.rows(4), requests_per_minute=60, verify_after=0, check_badges=True)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.clock.now() - begun >= 1 + 1 + 4 - 1  # a badge looked up, a batch, four customers read


def test_two_jobs_on_one_ledger_share_the_budget(trial: Trial) -> None:
    rows = trial.rows(24)
    begun = trial.clock.now()
    first = trial.run(rows[:12], requests_per_minute=60)
    second = trial.run(rows[12:], requests_per_minute=60, run_id="night-2")
    requests = first.summary.requests + second.summary.requests
    assert trial.clock.now() - begun >= requests - 1


def test_without_a_budget_nothing_waits(trial: Trial) -> None:
    trial.run(trial.rows(12))
    assert sum(trial.clock.waits) == 0


def test_one_lanes_pushback_holds_all_lanes() -> None:
    waits: list[float] = []
    pace = Pace(4, None, StopSignal(waits.append), Backoff(), lambda: 100.0)
    pace.hold_all(7.0)
    pace.hold_all(3.0)
    pace.wait_for_turn()
    assert waits == [7.0]


def test_pushback_lowers_requests_in_flight() -> None:
    pace = Pace(2, None, StopSignal(), Backoff(), lambda: 0.0)
    pace.observe(0.1, 500, Verdict.RETRY_LATER, 429)
    second_began = threading.Event()

    def second() -> None:
        with pace.in_flight():
            second_began.set()

    with pace.in_flight():
        thread = threading.Thread(target=second)
        thread.start()
        assert not second_began.wait(0.1)
    assert second_began.wait(5)
    thread.join()


def test_a_read_waits_for_the_only_place() -> None:
    pace = Pace(1, None, StopSignal(), Backoff(), lambda: 0.0)
    asked = threading.Event()
    with pace.in_flight():
        thread = threading.Thread(target=pace.call, args=(asked.set,))
        thread.start()
        assert not asked.wait(0.1)
    assert asked.wait(5)
    thread.join()


@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_healthy_canaries_keep_the_limit(trial: Trial, concurrency: int, caplog: pytest.LogCaptureFixture) -> None:
    """A server that takes time for each row answers canaries sooner than it will answer full batches."""
    rows = trial.rows(3_000)
    sizes: list[int] = []

    def observed(self: Pace, seconds: float, count: int, verdict: Verdict, status: int | None) -> None:
        sizes.append(count)
        observe(self, 0.1 + 0.004 * count, count, verdict, status)

    observe = Pace.observe
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(Pace, "observe", observed)
        result = trial.run(rows, batch_size=200, concurrency=concurrency, canary=True)
    assert result.error is None
    assert sizes[:3] == [1, 10, 100]
    assert max(sizes) == 200
    assert "Requests in flight" not in caplog.text


@pytest.mark.parametrize("concurrency", [1, 2])
def test_more_lanes_do_not_raise_the_limit(trial: Trial, monkeypatch: pytest.MonkeyPatch, concurrency: int) -> None:
    monkeypatch.setattr(import_job, "lanes_for", lanes_for)  # the trial has one lane for one request
    result = trial.run(trial.rows(200), concurrency=concurrency, canary=True)
    assert trial.ends(result) == {"accepted": 200}
    assert lanes_for(concurrency) > concurrency
    assert 1 <= trial.in_flight.most <= concurrency
