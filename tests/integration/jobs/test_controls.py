"""A read that does not show a badge is believed only after a control and a count."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core.verification import Disbelief
from airflow_provider_capillary.exceptions import (
    BudgetExceededError,
    ControlMissingError,
    ImportInterruptedError,
    JobIsRunningError,
)
from airflow_provider_capillary.jobs import aside
from airflow_provider_capillary.simulator.badge_store import Grant
from airflow_provider_capillary.simulator.simulator_settings import Reads

from .reconciling import LOST_AFTER, LOST_BEFORE, held, reconcile
from .trial import Trial


def reads_of(trial: Trial) -> int:
    return trial.calls("/management/")


def reasons(trial: Trial, result: Any) -> set[str]:
    return {message.partition("; ")[2] for _, state, _, _, message in trial.issues_of(result) if state == "unknown"}


# -- a ledger that holds nothing yet -------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("fault", [LOST_BEFORE, LOST_AFTER], ids=["not applied", "applied"])
def test_a_first_job_recovers_from_a_lost_canary(trial: Trial, fault: dict[str, Any], lost: int) -> None:
    trial.faults({**fault, "numbers": [lost]})
    begun = trial.clock.now()
    result = trial.run(trial.rows(200), canary=True, concurrency=4, batch_size=30)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 200})
    assert (trial.times_granted(), len(trial.simulator.store)) == ([1], 200)
    assert trial.clock.now() - begun <= 61, "the lanes did not go on, or the end waited longer than verify_after"


def test_lanes_continue_while_rows_wait_for_a_control(trial: Trial) -> None:
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    sent: list[int] = []
    trial.moments.at("read", lambda: sent.append(trial.calls()))
    result = trial.run(trial.rows(40))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 40})
    assert sent == [10], "all batches are sent before the first read"
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("applied", [True, False])
def test_a_single_row_needs_a_control_to_resend(trial: Trial, applied: bool) -> None:
    trial.faults({**(LOST_AFTER if applied else LOST_BEFORE), "numbers": [1]})
    result = trial.run(trial.rows(1))
    trial.faults()
    if applied:
        assert (result.error, trial.ends(result), trial.calls()) == (None, {"accepted": 1}, 1)
        return
    for _ in range(2):
        assert isinstance(result.error, ControlMissingError), "a retry may help"
        assert "airflow capillary resolve" in str(result.error)
        assert (trial.ends(result), trial.calls()) == ({"unknown": 1}, 1)
        assert reasons(trial, result) == {Disbelief.NO_CONTROL.value}
        result = trial.run(trial.rows(1))
    trial.run(trial.rows(5, first=100), run_id="another night")
    trial.clock.advance(61)
    result = trial.run(trial.rows(1))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 1})
    assert (trial.times_granted(), len(trial.simulator.store)) == ([1], 6)


@pytest.mark.parametrize("fault", [LOST_BEFORE, LOST_AFTER], ids=["not applied", "applied"])
def test_a_retry_recovers_what_a_dead_try_left(trial: Trial, fault: dict[str, Any]) -> None:
    trial.faults({**fault, "numbers": [1]})
    trial.moments.die("intent", number=4)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(20))
    trial.faults()
    result = trial.run(trial.rows(20))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 20})
    assert (trial.times_granted(), len(trial.simulator.store)) == ([1], 20)


def test_later_rows_wait_for_the_customers_set_aside_row(trial: Trial) -> None:
    (first,) = trial.rows(1)
    later = [first | {"earnEventDate": first["earnEventDate"] + number} for number in (100, 200)]
    rows = [first, *trial.rows(7, first=1), later[0], *trial.rows(7, first=20), later[1]]
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    result = trial.run(rows, batch_size=1, concurrency=4)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 17})
    granted = [grant.earned_at for grant in trial.simulator.store.grants_of(first["customerId"])]
    assert granted == [row["earnEventDate"] for row in (first, *later)]
    assert trial.times_granted() == [1]


def test_rows_without_room_are_left_to_a_retry(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "MOST_ROWS", 5)
    (first,) = trial.rows(1)
    rows = [first | {"earnEventDate": first["earnEventDate"] + number} for number in range(8)]
    trial.faults({**LOST_AFTER, "numbers": [1]})
    result = trial.run(rows, batch_size=1)
    assert isinstance(result.error, JobIsRunningError)
    assert trial.ends(result) == {"accepted": 5, "not_sent": 3}
    trial.faults()
    result = trial.run(rows)
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 8}, [1])


def test_a_stop_leaves_set_aside_rows_to_a_retry(trial: Trial) -> None:
    (first,) = trial.rows(1)
    rows = [first, *trial.rows(7, first=1), first | {"earnEventDate": first["earnEventDate"] + 100}]
    stop = trial.stop_signal()
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    trial.moments.at("sent", lambda: stop.request(ImportInterruptedError("stop")), number=2)
    result = trial.run(rows, stop=stop, batch_size=1)
    assert trial.ends(result) == {"accepted": 1, "unknown": 1, "not_sent": 7}
    trial.faults()
    result = trial.run(rows)
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 9}, [1])


# -- reads that do not show imports --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reads",
    [
        Reads(show_imports=False),
        Reads(event_shift_seconds=-19_800),
        Reads(event_shift_seconds=-1),
        Reads(event_precision_seconds=7_200),
    ],
    ids=["none", "hours early", "a second early", "cut"],
)
@pytest.mark.parametrize("earns_detail", [True, False])
def test_nothing_is_resent_where_reads_show_no_imports(trial: Trial, reads: Reads, earns_detail: bool) -> None:
    trial.start(reads=reads, earns_detail=earns_detail)
    trial.prove_reads()
    trial.faults({**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    result = trial.run(trial.rows(12))
    assert isinstance(result.error, BudgetExceededError), "a retry would not help"
    assert trial.ends(result) == {"accepted": 4, "unknown": 8}
    assert trial.times_granted() == [1]
    assert any("do not show imports here" in reason.message for reason in result.summary.reasons)
    assert trial.calls() == 3


@pytest.mark.parametrize("reads", [Reads(show_imports=False), Reads(event_precision_seconds=60)])
def test_a_first_job_resends_nothing_without_visible_reads(trial: Trial, reads: Reads) -> None:
    trial.start(reads=reads)
    trial.faults({**LOST_AFTER, "numbers": [1]})
    rows = [row | {"earnEventDate": trial.first_earned + 7} for row in trial.rows(40)]
    for _ in range(2):
        result = trial.run(rows)
        trial.faults()
        assert trial.ends(result) == {"accepted": 36, "unknown": 4}
    assert trial.times_granted() == [1]


# -- the count -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("earns_detail", [True, False])
def test_an_unaccounted_earn_keeps_a_row_unknown(trial: Trial, earns_detail: bool) -> None:
    trial.start(earns_detail=earns_detail)
    trial.prove_reads()
    rows = trial.rows(4)
    trial.grant_elsewhere(rows[1] | {"earnEventDate": rows[1]["earnEventDate"] - 500})
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    result = trial.run(rows)
    assert trial.ends(result) == {"accepted": 3, "unknown": 1}
    assert reasons(trial, result) == {Disbelief.TOO_MANY_EARNS.value}


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the later one first"])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("earns_detail", [True, False])
def test_the_found_row_of_a_customer_is_settled_first(
    trial: Trial, order: int, batch_size: int, earns_detail: bool
) -> None:
    trial.start(earns_detail=earns_detail)
    trial.prove_reads()
    (early,) = trial.rows(1)
    rows = [early, early | {"earnEventDate": early["earnEventDate"] + 500}][::order]
    trial.faults({**LOST_BEFORE, "numbers": [1, 2]})
    assert trial.ends(trial.run(rows, batch_size=batch_size, on_unknown="hold", max_unknown=2)) == {"unknown": 2}
    trial.grant_elsewhere(early)  # their request was applied in part
    trial.faults()
    result = trial.run(rows, batch_size=batch_size)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 2})
    assert (trial.times_granted(), len(trial.simulator.store)) == ([1], 3)


# -- which badges are read -----------------------------------------------------------------------------------------


def test_the_control_costs_one_read_in_ten_minutes(trial: Trial) -> None:
    trial.prove_reads()
    trial.faults({**LOST_BEFORE, "numbers": [1, 4]})
    result = trial.run(trial.rows(20))
    assert (result.error, reads_of(trial)) == (None, 2 * 4 + 1)
    trial.prove_reads()
    trial.faults({**LOST_BEFORE, "numbers": [trial.calls() + 1, trial.calls() + 3]})
    trial.moments.at("intent", lambda: trial.clock.advance(601), number=3)
    before = reads_of(trial)
    result = trial.run(trial.rows(12, first=100), run_id="night-2")
    assert (result.error, reads_of(trial) - before) == (None, 2 * 4 + 2)


def test_an_unreadable_control_is_replaced(trial: Trial) -> None:
    trial.run(trial.rows(3, first=70), run_id="before")
    trial.clock.advance(3_600)
    trial.faults(
        {**LOST_BEFORE, "numbers": [2]},
        {"kind": "status", "status": 400, "operation": "customer_badge", "numbers": [2, 3]},
    )
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 4}, [1])


def test_a_revoked_control_is_replaced(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.run(trial.rows(3, first=70), run_id="before")
    trial.clock.advance(3_600)
    grants = list(trial.simulator.store.grants())
    shown = trial.simulator.store.grants_of
    gone = {grant.customer_id for grant in grants[:2]}

    def not_gone(customer: int, badge: str | None = None) -> list[Grant]:
        return [] if customer in gone else shown(customer, badge)

    monkeypatch.setattr(trial.simulator.store, "grants_of", not_gone)
    trial.faults({**LOST_BEFORE, "numbers": [2]})
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 4}, [1])


def test_an_expired_row_needs_an_expired_control(trial: Trial) -> None:
    trial.prove_reads()
    expired = [row | {"earnExpiresOn": row["earnEventDate"] + 60} for row in trial.rows(8)]
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    result = trial.run(expired[:4])
    assert (trial.ends(result), reasons(trial, result)) == ({"unknown": 4}, {Disbelief.NO_CONTROL.value})
    trial.faults()
    result = trial.run(expired, run_id="night-2")
    assert (result.error, trial.ends(result), trial.times_granted()) == (None, {"accepted": 8}, [1])


def test_a_lasting_control_proves_no_expired_row(trial: Trial) -> None:
    trial.prove_reads()
    lasting, expired = (
        trial.rows(4),
        [row | {"earnExpiresOn": row["earnEventDate"] + 60} for row in trial.rows(4, first=4)],
    )
    trial.faults({**LOST_BEFORE, "numbers": [1, 3]})  # the second request is that of the first rows, sent again
    result = trial.run([*lasting, *expired])
    assert (trial.ends(result), reasons(trial, result)) == (
        {"accepted": 4, "unknown": 4},
        {Disbelief.NO_CONTROL.value},
    )


# -- reconciliation ------------------------------------------------------------------------------------------------


def test_a_reconciliation_believes_no_read_without_a_control(trial: Trial) -> None:
    first = held(trial, {**LOST_BEFORE, "numbers": [1]}, rows=trial.rows(1))
    result = reconcile(trial, first)
    assert isinstance(result.error, ControlMissingError)
    assert (result.unknown, [reason.message for reason in result.reasons]) == (1, [Disbelief.NO_CONTROL.value])
    trial.run(trial.rows(1, first=70), run_id="another night")
    assert reconcile(trial, first).resend == 1, "it waits until the badge is old enough"


def test_a_reconciliation_of_many_jobs_reads_one_control(trial: Trial) -> None:
    trial.prove_reads()
    jobs = [
        held(
            trial, {**LOST_BEFORE, "numbers": [number + 1]}, rows=trial.rows(1, first=number), run_id=f"night {number}"
        )
        for number in range(3)
    ]
    before = reads_of(trial)
    assert reconcile(trial, *jobs).resend == 3
    assert reads_of(trial) - before == 3 + 1


def test_a_reconciliation_frees_nothing_without_visible_reads(trial: Trial) -> None:
    trial.start(reads=Reads(show_imports=False))
    trial.prove_reads()
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    result = reconcile(trial, first)
    assert (result.resend, result.unknown) == (0, 4)
    assert isinstance(result.error, BudgetExceededError)
    assert "do not show imports here" in result.reasons[0].message
