"""Batches seen from another machine: by a server's clock that was set, and where no clock is left that saw both."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import PostgresBackend
from .building import badge, begin, bring_to, claim, outcome

HOUR = 3_600.0
#: Intents without an end, ends of a whole batch, ends row by row.
LEFT = ("intent", "unknown", "one unknown")
THIS_MACHINE: dict[str, Any] = {
    "boot_id": lambda: "this machine",
    "steady": lambda: 9.0,
    "owner": "this machine/7/1",
}
ANOTHER_MACHINE: dict[str, Any] = {
    "boot_id": lambda: "another machine",
    "steady": lambda: 7.0,
    "owner": "another machine/7/1",
}


@pytest.fixture
def elsewhere(postgres_backend: PostgresBackend) -> Ledger:
    """The ledger as another machine has it open."""
    return postgres_backend.open(**ANOTHER_MACHINE)


def leave(ledger: Ledger, job: Job, how: str, number: int) -> int:
    """Leave a batch as a process may leave it; give its key."""
    if how == "intent":
        return claim(ledger, job, badge(number))
    if how == "unknown":
        return bring_to(ledger, job, RowState.UNKNOWN, badge(number))
    batch = claim(ledger, job, badge(number), badge(number + 100))
    for state, row in ((RowState.UNKNOWN, badge(number)), (RowState.REJECTED, badge(number + 100))):
        ledger.record(job, [outcome(batch, state, row)])
    return batch


@pytest.mark.parametrize("how", LEFT)
@pytest.mark.parametrize("set_by", [HOUR, 30.0, -HOUR])
def test_a_set_server_clock_ages_no_batch(
    postgres_backend: PostgresBackend, elsewhere: Ledger, how: str, set_by: float
) -> None:
    batch = leave(elsewhere, begin(elsewhere), how, 1)
    postgres_backend.set_clock(set_by)
    begun = time.monotonic()
    ledger = postgres_backend.open(**THIS_MACHINE)
    assert ledger.ages([batch])[batch].seconds <= time.monotonic() - begun + 5


@pytest.mark.parametrize("how", LEFT)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_disagreeing_machines_age_no_batch(
    postgres_backend: PostgresBackend, elsewhere: Ledger, how: str, ahead: float
) -> None:
    batch = leave(elsewhere, begin(elsewhere), how, 1)
    ledger = postgres_backend.open(**THIS_MACHINE, clock=lambda: time.time() + ahead)
    assert ledger.ages([batch])[batch].seconds <= 5


@pytest.mark.parametrize("how", LEFT)
def test_time_passed_by_all_clocks_counts(postgres_backend: PostgresBackend, elsewhere: Ledger, how: str) -> None:
    batch = leave(elsewhere, begin(elsewhere), how, 1)
    postgres_backend.pass_time(HOUR)
    ledger = postgres_backend.open(**THIS_MACHINE)
    assert HOUR <= ledger.ages([batch])[batch].seconds <= HOUR + 60


@pytest.mark.parametrize("how", LEFT)
def test_one_wait_after_a_failover_is_enough(postgres_backend: PostgresBackend, elsewhere: Ledger, how: str) -> None:
    job = begin(elsewhere)
    first, second = (leave(elsewhere, job, how, number) for number in (1, 2))
    with postgres_backend.look() as connection:  # a server that began to run at another time has another clock
        connection.exec_driver_sql("UPDATE capillary_batch SET server_started = server_started - 1")
    passed = [100.0]
    ledger = postgres_backend.open(boot_id=lambda: "this machine", steady=lambda: passed[0])
    assert ledger.ages([first])[first].seconds == 0
    passed[0] += 30
    assert ledger.ages([second])[second].seconds == 30
    third = leave(elsewhere, job, how, 3)
    assert ledger.ages([third])[third].seconds < 30


def test_an_end_after_the_look_is_no_older(postgres_backend: PostgresBackend, elsewhere: Ledger) -> None:
    job = begin(elsewhere)
    batch = claim(elsewhere, job, badge(1))
    with postgres_backend.look() as connection:
        connection.exec_driver_sql("UPDATE capillary_batch SET server_started = server_started - 1")
    passed = [100.0]
    ledger = postgres_backend.open(boot_id=lambda: "this machine", steady=lambda: passed[0])
    ledger.ages([batch])
    passed[0] += HOUR
    elsewhere.record(job, [outcome(batch, RowState.UNKNOWN, badge(1))])  # the process lived on
    assert ledger.ages([batch])[batch].seconds < 30


def test_a_look_at_one_server_proves_no_other(postgres_backend: PostgresBackend, elsewhere: Ledger) -> None:
    job = begin(elsewhere)
    batch = claim(elsewhere, job, badge(1))
    passed = [100.0]
    ledger = postgres_backend.open(boot_id=lambda: "this machine", steady=lambda: passed[0])
    ledger.ages([batch])
    passed[0] += HOUR
    postgres_backend.begin_again()  # such as a standby that lacked the batch, and gave its number anew
    assert ledger.ages([batch])[batch].seconds < 30
