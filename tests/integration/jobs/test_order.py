"""Rows of one customer: in the dataset's order, and never in two requests at the same time."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest

from .trial import Trial


def customers_with_many_rows(trial: Trial, customers: int, rows_each: int) -> list[dict[str, Any]]:
    """Rows of all customers in turn; each customer's earn dates only ever grow."""
    return [
        row | {"customerId": trial.first_customer + row_number % customers}
        for row_number, row in enumerate(trial.rows(customers * rows_each))
    ]


def assert_in_order(trial: Trial) -> None:
    earned: dict[int, list[float]] = {}
    for grant in trial.simulator.store.grants():
        earned.setdefault(grant.customer_id, []).append(grant.earned_at)
    for dates in earned.values():
        assert all(before < after for before, after in pairwise(dates))


@pytest.mark.parametrize("canary", [True, False])
def test_four_lanes_keep_each_customers_order(trial: Trial, canary: bool) -> None:
    trial.start(latency_ms=1)
    result = trial.run(customers_with_many_rows(trial, 30, 12), concurrency=4, batch_size=7, canary=canary)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 360})
    assert trial.times_granted() == [1]
    assert_in_order(trial)


@pytest.mark.parametrize("policy", ["verify", "hold"])
def test_faults_do_not_change_a_customers_order(trial: Trial, policy: str) -> None:
    trial.prove_reads()
    trial.faults(
        {"kind": "status", "status": 429, "retry_after": 1, "every": 7},
        {"kind": "drop", "at": "after_applying", "first": 3, "every": 9},
        {"kind": "status", "status": 413, "first": 5, "every": 13, "min_rows": 2},
        *([{"kind": "drop", "at": "after_reading", "first": 4, "every": 11}] if policy == "verify" else []),
    )
    rows = customers_with_many_rows(trial, 20, 12)
    result = trial.run(rows, concurrency=4, batch_size=7, on_unknown=policy, max_unknown="50%", verify_after=5)
    assert result.error is None
    assert trial.ends(result).keys() <= {"accepted", "unknown"}
    assert len(trial.simulator.store) == 1 + 240
    assert trial.times_granted() == [1]
    assert_in_order(trial)


def test_requests_are_really_at_the_server_at_once(trial: Trial) -> None:
    """Else the order above would prove nothing."""
    together = threading.Barrier(4, timeout=5)

    for number in range(1, 5):
        trial.moments.at("send", together.wait, number=number)
    result = trial.run(trial.rows(200), concurrency=4, batch_size=10)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 200})


@pytest.mark.parametrize("canary", [True, False])
def test_a_dead_trys_rows_precede_the_customers_later(trial: Trial, canary: bool) -> None:
    rows = customers_with_many_rows(trial, 1, 12)
    trial.prove_reads()
    trial.moments.die("send")
    with pytest.raises(trial.killed):
        trial.run(rows)
    another_was_sent = threading.Event()
    trial.moments.at("read", lambda: another_was_sent.wait(0.1))
    trial.moments.at("send", another_was_sent.set)
    result = trial.run(rows, canary=canary, concurrency=4)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert_in_order(trial)


@pytest.mark.parametrize("canary", [True, False])
def test_an_earlier_jobs_unproven_row_keeps_its_place(trial: Trial, canary: bool) -> None:
    rows = customers_with_many_rows(trial, 1, 6)
    trial.prove_reads()
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})
    trial.run(rows[3:4], on_unknown="hold", run_id="before")
    result = trial.run(rows, canary=canary, concurrency=4)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 6})
    assert_in_order(trial)


def test_one_lane_keeps_the_datasets_order(trial: Trial) -> None:
    result = trial.run(trial.rows(50), canary=True)
    assert result.error is None
    sent = [grant.customer_id for grant in trial.simulator.store.grants()]
    assert sent == sorted(sent)


@pytest.mark.parametrize("settled_row", range(3))
def test_an_unproven_canary_row_precedes_its_customers_later(trial: Trial, settled_row: int) -> None:
    """The canaries, here of one row each, end between the two rows of the customer."""
    rows = trial.rows(6)
    early, late = rows[settled_row], rows[settled_row] | {"earnEventDate": rows[5]["earnEventDate"] + 1}
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})
    trial.run([early], on_unknown="hold", run_id="before")
    another_was_sent = threading.Event()
    trial.moments.at("read", lambda: another_was_sent.wait(0.2))
    trial.moments.at("send", another_was_sent.set, number=6)
    result = trial.run([*rows, late], canary=True, concurrency=16, batch_size=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 7})
    assert_in_order(trial)
