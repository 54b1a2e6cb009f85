"""A real scheduler does to the import all that Airflow can do to it; each badge is granted once all the same."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own
import psycopg
import pytest

from airflow_provider_capillary.core.witness import decode
from airflow_provider_capillary.operators.witness_variable import variable_of
from dev.airflow_home import ORGANISATION
from dev.simulator_process import SimulatorAccount
from dev.stack.airflow_api import AirflowApi
from tests.end_to_end.scheduler import Scheduler, logs_of_tasks
from tests.end_to_end.shop import ROWS_OF_A_DAY, Shop, customer_of
from tests.end_to_end.stacks import Up

DAG_ID = "badges_of_days"
#: The day of its only scheduled run. The others are counted back from it.
LAST_DAY = date(2025, 3, 31)
AT_ONCE = 4
ALL_AT_ONCE = {"max_active_runs": AT_ONCE}


class World:
    """Scheduler, warehouse and simulator, and the days whose badges must be granted by now."""

    def __init__(self, up: Up, warehouse: psycopg.Connection[Any]) -> None:
        self.up = up
        self.api = AirflowApi(up.shown("Airflow"), up.shown("login"), up.shown("password"))
        self.scheduler = Scheduler(self.api, DAG_ID)
        self.simulator = SimulatorAccount(up.shown("simulator").removesuffix("/simulator/summary"))
        self.shop = Shop(warehouse, self.simulator)
        self.done: set[date] = set()
        self.shop.open_on(days(0, 25))

    def everything_is_granted_once(self) -> None:
        earned, granted = self.shop.earned_on(self.done), self.shop.granted()
        assert set(earned.values()) == {1}
        twice = {grant: times for grant, times in granted.items() if times > 1}
        assert not twice, f"granted more than once: {twice}"
        assert not earned - granted, (
            f"{len(earned - granted)} of {len(earned)} not granted: {list(earned - granted)[:3]}"
        )
        assert not granted - earned, f"granted, not earned: {list(granted - earned)[:3]}"

    def accounts_add_up(self, runs: list[str]) -> Counter[str]:
        """The summaries of runs, added."""
        total: Counter[str] = Counter()
        for run_id in runs:
            summary = self.scheduler.summary(run_id)
            total.update({name: count for name, count in summary.items() if isinstance(count, int)})
        parts = ("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
        assert total["rows_read"] == sum(total[part] for part in parts)
        return total


def days(first: int, last: int) -> list[date]:
    """Days by their distance from the last one, the later ones first."""
    return [LAST_DAY - timedelta(days=ago) for ago in range(first, last + 1)]


@contextmanager
def logs_on_failure(up: Up) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"{up.reported()}\n{logs_of_tasks(up.folder / 'airflow', DAG_ID)}")
        raise


@pytest.mark.timeout(2_400)  # many runs of real tasks, on a machine that may have other things to do
def test_a_real_scheduler_grants_each_badge_once(up: Up) -> None:
    with logs_on_failure(up), psycopg.connect(up.warehouse, autocommit=True) as warehouse:
        world = World(up, warehouse)
        scheduled = a_scheduled_run(world)
        a_backfill_with_two_runs_that_fail(world)
        backfills_over_runs_that_are_there(world)
        four_runs_at_once_over_the_same_rows(world)
        a_cleared_task_and_a_cleared_run(world, scheduled)
        a_run_without_logical_date(world)
        killed_workers(world)
        the_nightly_sample(world)
        the_ledger_s_witness(world)


def a_scheduled_run(world: World) -> str:
    world.scheduler.unpause()
    world.scheduler.wait_until("a run is scheduled", world.scheduler.runs)
    world.scheduler.wait_for_all()
    [run] = world.scheduler.runs()
    assert (run["run_type"], run["state"]) == ("scheduled", "success")
    assert run["logical_date"][:10] == str(LAST_DAY)
    world.done.add(LAST_DAY)
    world.everything_is_granted_once()
    return str(run["dag_run_id"])


def a_backfill_with_two_runs_that_fail(world: World) -> None:
    """Two of fourteen days are refused in the middle, and not for a passing reason."""
    fourteen = days(1, 14)
    refused = fourteen[3], fourteen[8]
    world.simulator.use_faults(
        *({"kind": "status", "status": 403, "customer_id": customer_of(day, 30)} for day in refused)
    )
    runs = world.scheduler.backfill(fourteen[-1], fourteen[0], "none", **ALL_AT_ONCE)
    world.simulator.use_faults()
    states = world.scheduler.states(runs)
    assert Counter(states.values()) == {"success": 12, "failed": 2}
    total = world.accounts_add_up(runs)
    assert total["rows_read"] == 14 * ROWS_OF_A_DAY
    granted = world.shop.granted()
    world.done.update(set(fourteen) - set(refused))
    # Of the two days some were granted, before and beside the refused request: as many as were reported.
    some = granted & world.shop.earned_on(refused)
    assert total["accepted"] == 12 * ROWS_OF_A_DAY + some.total()
    assert granted - some == world.shop.earned_on(world.done)


def backfills_over_runs_that_are_there(world: World) -> None:
    fourteen = days(1, 14)
    granted_before = world.shop.granted()
    assert world.scheduler.backfill(fourteen[-1], fourteen[0], "none", **ALL_AT_ONCE) == []
    assert world.shop.granted() == granted_before

    again = world.scheduler.backfill(fourteen[-1], fourteen[0], "failed", **ALL_AT_ONCE)
    assert len(again) == 2
    assert set(world.scheduler.states(again).values()) == {"success"}
    world.done.update(fourteen)
    world.everything_is_granted_once()

    all_again = world.scheduler.backfill(fourteen[-1], fourteen[0], "completed", run_backwards=True, **ALL_AT_ONCE)
    assert [world.scheduler.run(run)["logical_date"][:10] for run in all_again] == [str(day) for day in fourteen]
    assert set(world.scheduler.states(all_again).values()) == {"success"}
    total = world.accounts_add_up(all_again)
    assert (total["accepted"], total["already_accepted"]) == (0, 14 * ROWS_OF_A_DAY)
    world.everything_is_granted_once()


def four_runs_at_once_over_the_same_rows(world: World) -> None:
    """Each reads four days back: three of four rows are wanted by more than one run at the same time."""
    four = days(15, 18)
    runs = world.scheduler.backfill(four[-1], four[0], "none", dag_run_conf={"days": 4}, **ALL_AT_ONCE)
    assert set(world.scheduler.states(runs).values()) == {"success"}
    assert world.scheduler.most_at_once(runs) > 1
    world.done.update(days(15, 21))
    total = world.accounts_add_up(runs)
    assert total["rows_read"] == 16 * ROWS_OF_A_DAY
    world.everything_is_granted_once()


def a_cleared_task_and_a_cleared_run(world: World, run: str) -> None:
    world.scheduler.clear_task(run, "import_badges")
    world.scheduler.wait_for_all()
    assert world.scheduler.summary(run)["already_accepted"] == ROWS_OF_A_DAY
    assert world.scheduler.task(run, "extract")["try_number"] == 1
    world.everything_is_granted_once()

    # The whole run asks the warehouse again, which knows of one more badge by now.
    world.shop.earn(LAST_DAY, ROWS_OF_A_DAY)
    world.scheduler.clear_run(run)
    world.scheduler.wait_for_all()
    summary = world.scheduler.summary(run)
    assert (summary["accepted"], summary["already_accepted"]) == (1, ROWS_OF_A_DAY)
    world.everything_is_granted_once()


def a_run_without_logical_date(world: World) -> None:
    [day] = days(22, 22)
    run = world.scheduler.trigger(last_day=str(day), days=1)
    world.scheduler.wait_for_all()
    found = world.scheduler.run(run)
    assert (found["state"], found["logical_date"], found["data_interval_start"]) == ("success", None, None)
    world.done.add(day)
    world.everything_is_granted_once()


def killed_workers(world: World) -> None:
    """One dies before its request is applied, one after it: neither heard a word of it."""
    two = days(23, 24)
    world.simulator.use_faults(
        *(
            {"kind": "hang", "when": when, "seconds": 600, "customer_id": customer_of(day, 5), "times": 1}
            for when, day in zip(("before", "after"), two, strict=True)
        )
    )
    runs = [world.scheduler.trigger(last_day=str(day)) for day in two]
    world.scheduler.wait_until("both are in the middle", lambda: world.simulator.faults_happened() == [1, 1])
    for run in runs:
        kill_its_process(world, run)
    world.scheduler.wait_for_all()
    assert set(world.scheduler.states(runs).values()) == {"success"}
    assert [world.scheduler.task(run, "import_badges")["try_number"] for run in runs] == [2, 2]
    assert world.accounts_add_up(runs)["accepted"] == 2 * ROWS_OF_A_DAY
    world.done.update(two)
    world.everything_is_granted_once()


def the_nightly_sample(world: World) -> None:
    """Last night's badges of the sample warehouse, as `make up` proposes; and all samples could be read."""
    before = world.shop.granted()
    nightly = Scheduler(world.api, "nightly_badge_sync")
    nightly.unpause()
    nightly.wait_until("a run is scheduled", nightly.runs)
    nightly.wait_for_all()
    runs = nightly.runs()
    assert {run["state"] for run in runs} == {"success"}
    granted = world.shop.granted() - before
    accepted = sum(nightly.summary(run["dag_run_id"])["accepted"] for run in runs)
    assert 10 < accepted == granted.total() == len(granted)
    assert world.api.get("importErrors")["import_errors"] == []
    days_of_the_form(world, nightly)


def days_of_the_form(world: World, nightly: Scheduler) -> None:
    """Two days triggered without a logical date: first as a dry run, which starts no DAG that waits for badges."""
    before, events = world.shop.granted(), asset_events(world)
    assert events
    # Two that no scheduled run is about, whatever time of the day it is.
    today = datetime.now(UTC).date()
    nights = {"date_from": str(today - timedelta(days=4)), "date_to": str(today - timedelta(days=2))}
    trial = nightly.trigger(**nights, dry_run=True)
    nightly.wait_for_all()
    assert nightly.run(trial)["state"] == "success"
    assert nightly.summary(trial)["not_sent"] > 20
    assert world.shop.granted() == before
    assert asset_events(world) == events

    real = nightly.trigger(**nights)
    nightly.wait_for_all()
    assert (nightly.run(real)["state"], nightly.run(real)["logical_date"]) == ("success", None)
    granted = world.shop.granted() - before
    planned, accepted = nightly.summary(trial)["not_sent"], nightly.summary(real)["accepted"]
    assert planned == accepted == granted.total() == len(granted)
    assert len(asset_events(world)) == len(events) + 1


def the_ledger_s_witness(world: World) -> None:
    """Every import that ran here, killed ones too, found the ledger that Airflow knows, and was noted."""
    witness = decode(world.api.get(f"variables/{variable_of(ORGANISATION)}")["value"])
    assert witness is not None
    nightly = Scheduler(world.api, "nightly_badge_sync")
    jobs = [nightly.summary(run["dag_run_id"])["job_id"] for run in nightly.runs()]
    assert len(set(jobs) & set(witness.jobs)) == len(jobs) - 1  # all but the dry run
    assert "keeps no witness" not in logs_of_tasks(world.up.folder / "airflow", DAG_ID, 1_000)


def asset_events(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.api.get("assets/events", limit=100)["asset_events"]
    return found


def kill_its_process(world: World, run: str) -> None:
    pid = world.scheduler.task(run, "import_badges")["pid"]
    ours = {process.pid for process in psutil.Process(world.up.process.pid).children(recursive=True)}
    assert pid in ours
    os.kill(pid, signal.SIGKILL)
