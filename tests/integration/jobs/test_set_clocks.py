"""The time of day is set while rows are in doubt: no read comes too early, and no wait is longer than the rule."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core import send_limits
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from tests.integration.jobs.reconciling import reconcile

from .trial import Trial

HOUR = 3_600.0
VERIFY_AFTER = 15.0
LONGEST_WAIT = send_limits.STALE_INTENT_SECONDS + send_limits.WRITE_SECONDS + VERIFY_AFTER


def apply_late(trial: Trial, seconds: float) -> None:
    due = trial.clock.steady() + seconds
    trial.clock.meanwhile = lambda _: trial.simulator.release_late() if trial.clock.steady() >= due else None


def killed_in_flight(trial: Trial, **settings: Any) -> None:
    trial.run(trial.rows(1, first=900), run_id="before", **settings)  # a badge that shows that reads show imports
    trial.clock.advance(60)
    trial.faults({"kind": "drop", "at": "late", "numbers": [2]})
    trial.moments.die("sent")
    with pytest.raises(trial.killed):
        trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER, **settings)
    trial.faults()


@pytest.mark.parametrize("set_by", [HOUR, -HOUR, 7 * 24 * HOUR, -20.0])
def test_a_clock_set_before_a_retry_doubles_nothing(trial: Trial, set_by: float) -> None:
    killed_in_flight(trial)
    trial.clock.set_to(set_by)
    apply_late(trial, VERIFY_AFTER - 0.5)
    begun = trial.clock.steady()
    result = trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10})
    assert (trial.times_granted(), trial.calls()) == ([1], 2)
    assert trial.clock.steady() - begun <= LEASE_SECONDS + 1 + LONGEST_WAIT


@pytest.mark.parametrize("set_by", [HOUR, -HOUR])
def test_a_clock_set_while_waiting_changes_nothing(trial: Trial, set_by: float) -> None:
    trial.run(trial.rows(1, first=900), run_id="before")
    trial.clock.advance(60)
    trial.faults({"kind": "drop", "at": "late", "numbers": [2]})
    apply_late(trial, VERIFY_AFTER - 0.5)
    late = trial.clock.meanwhile
    steps = [set_by]

    def meanwhile(seconds: float) -> None:
        if steps:
            trial.clock.set_to(steps.pop())
        late(seconds)

    trial.clock.meanwhile = meanwhile
    begun = trial.clock.steady()
    result = trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER)
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 10}, [1])
    assert trial.clock.steady() - begun <= LONGEST_WAIT


@pytest.mark.parametrize("set_by", [HOUR, -HOUR])
def test_a_set_clock_changes_no_reconciliation_wait(trial: Trial, set_by: float) -> None:
    killed_in_flight(trial)
    trial.clock.set_to(set_by)
    [(job_id,)] = trial.ask_ledger("SELECT job_id FROM capillary_job WHERE run_id = 'night-1'")
    apply_late(trial, VERIFY_AFTER - 0.5)
    begun = trial.clock.steady()
    assert reconcile(trial, job_id, verify_after=VERIFY_AFTER).accepted == 10
    assert trial.clock.steady() - begun <= LEASE_SECONDS + 1 + LONGEST_WAIT


def test_a_machine_without_boot_names_continues(trial: Trial) -> None:
    nameless = {"boot_id": lambda: None, "owner": "unknown/7/unknown"}
    killed_in_flight(trial, ledger=nameless)
    apply_late(trial, VERIFY_AFTER - 0.5)
    begun = trial.clock.steady()
    result = trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER, ledger=nameless)
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 10}, [1])
    assert LONGEST_WAIT <= trial.clock.steady() - begun <= LEASE_SECONDS + 1 + LONGEST_WAIT


def test_a_set_clock_delays_no_turn(trial: Trial) -> None:
    trial.run(trial.rows(1, first=900), run_id="before", requests_per_minute=60)
    trial.clock.set_to(-HOUR)
    begun = trial.clock.steady()
    trial.run(trial.rows(10), batch_size=10, requests_per_minute=60)
    assert trial.clock.steady() - begun < 60
