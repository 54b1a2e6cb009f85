"""Where no clock is left that saw both moments, an intent is as old as the time for which it was looked at."""

from __future__ import annotations

from airflow_provider_capillary.clocks import Boot

from .backends import PostgresBackend
from .building import badge, begin, claim


def test_after_a_failover_one_wait_is_enough_for_all_intents(postgres_backend: PostgresBackend) -> None:
    elsewhere = postgres_backend.open(boot=lambda: Boot("another machine", 7.0), owner="another machine/7/1")
    job = begin(elsewhere)
    first, second = (claim(elsewhere, job, badge(number)) for number in (1, 2))
    with postgres_backend.look() as connection:  # a server that began to run at another time has another clock
        connection.exec_driver_sql("UPDATE capillary_batch SET server_started = server_started - 1")
    passed = [100.0]
    ledger = postgres_backend.open(boot=lambda: Boot("this machine", passed[0]), steady=lambda: passed[0])
    assert ledger.ages([first])[first].seconds == 0
    passed[0] += 30
    assert ledger.ages([second])[second].seconds == 30
    third = claim(elsewhere, job, badge(3))
    assert ledger.ages([third])[third].seconds < 30
