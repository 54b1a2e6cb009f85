"""One campaign: a dataset, a simulator that misbehaves, a ledger, and many lives of tasks; then the comparison."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import msgspec

from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.simulator.server import RunningSimulator

from .comparison import (
    Difference,
    LedgerList,
    Rules,
    compare,
    compare_ids,
    compare_summary,
    read_ledger,
    rows_with_their_badge,
)
from .dataset import Row, rows_of
from .fault_choice import LATEST_COMMIT
from .fork_server import Child, ForkServer
from .life import Report
from .lives import Lives
from .plans import VERIFY_AFTER, End, Plan, Step, make_plan
from .watched import WatchedSimulator, watched, watched_simulator

MOST_FINAL_TRIES = 12


class Result(msgspec.Struct):
    """What a campaign brought to light."""

    policy: str
    seed: int
    ledger: str
    difference: Difference
    deaths: int = 0
    requests: int = 0
    seconds: float = 0.0


def run_campaign(
    seed: int, *, rows: int, deaths: int, policy: str, ledger: str, folder: Path, server: ForkServer
) -> Result:
    """Run the campaign of a seed. The ledger's URL names an empty database; the folder is empty, too."""
    started = time.monotonic()
    dataset = rows_of(seed, rows)
    plan = make_plan(seed, dataset, deaths)
    lives = Lives(plan, dataset, policy, ledger, folder, server)
    with watched_simulator(plan.faults, **plan.simulator) as running:
        given = running.simulator.watch_given_ids()
        scopes = _disturb(plan, lives, running, deaths)
        running.use_faults(None)
        time.sleep(max(LATEST_COMMIT, plan.lease_seconds))  # late commits come in, leases of dead jobs run out
        last = [_settle(scope, plan, lives, running) for scope in scopes][-1]
        simulator = watched(running)
    found = read_ledger(ledger)
    difference = _compared(plan, dataset, found, simulator, last)
    compare_ids(difference, found, given)
    difference.unaccounted += len(lives.violations)
    difference.problems = [*lives.violations, *difference.problems]
    kind = ledger.partition(":")[0]
    return Result(policy, seed, kind, difference, lives.deaths, simulator.imports(), time.monotonic() - started)


def _disturb(plan: Plan, lives: Lives, running: RunningSimulator, deaths: int) -> list[JobScope]:
    """Take the plan's steps until so many processes died; give the scopes that were begun."""
    scopes: list[JobScope] = []
    for step in plan.steps:
        if lives.deaths >= deaths:
            break
        scopes += [scope for scope, _ in step.copies if scope not in scopes]
        _take(step, lives, running)
        watched(running).wait_until_idle()
    return list(dict.fromkeys(scopes))


def _take(step: Step, lives: Lives, running: RunningSimulator) -> None:
    begun = [(lives.start(scope, end, running), end) for scope, end in step.copies]
    started = time.monotonic()
    for child, end in sorted(begun, key=lambda each: each[1].kill_after or each[1].stop_after or float("inf")):
        _send_signal(child, end, started)
    for child, _ in begun:
        lives.wait(child)


def _send_signal(child: Child, end: End, started: float) -> None:
    after = end.kill_after if end.kill_after is not None else end.stop_after
    if after is not None and not child.over.wait(max(0.0, started + after - time.monotonic())):
        child.send_signal(signal.SIGTERM if end.kill_after is None else signal.SIGKILL)


def _settle(scope: JobScope, plan: Plan, lives: Lives, running: RunningSimulator) -> Report:
    """Run a scope until nothing holds it up; rows that another job has taken need its lease to run out."""
    for _ in range(MOST_FINAL_TRIES):
        reported = lives.wait(lives.start(scope, End(), running))
        if reported.error not in ("JobIsRunningError", "ApiUnavailableError"):
            break
        time.sleep(plan.lease_seconds / 3)
    # a later job sends refused rows again: where nothing else is left to do, many refusals in a row end it
    refused = reported.error == "ImportStoppedError" and "refused" in reported.message
    if reported.summary is None or (reported.error is not None and not refused):
        lives.violations.append(f"{scope}: undisturbed, it ended with {reported.error}: {reported.message}")
    return reported


def _compared(plan: Plan, rows: list[Row], ledger: LedgerList, simulator: WatchedSimulator, last: Report) -> Difference:
    rules = Rules(
        once_per_customer=bool(plan.settings["once_per_customer"]),
        allow_duplicates=plan.settings["on_duplicate"] == "allow",
    )
    grants = list(simulator.store.grants())
    difference = compare(rows, ledger, grants, rules)
    if last.summary is not None:
        compare_summary(difference, last.summary, rows, rows_with_their_badge(rows, grants, rules))
    if difference.twice:
        difference.problems += _late(ledger, simulator)
    return difference


def _late(ledger: LedgerList, simulator: WatchedSimulator) -> list[str]:
    """Requests that took longer from intent to grant than is waited for: a machine too busy, or a defect."""
    reported = []
    for request_id, applied in simulator.applied.items():
        noted, arrived = ledger.sent_at.get(request_id, applied), simulator.arrived[request_id]
        if applied - noted > VERIFY_AFTER:
            reported.append(
                f"(evidence) request {request_id} was granted {applied - noted:.2f} s after its intent and "
                f"{applied - arrived:.2f} s after it arrived; reading back may begin {VERIFY_AFTER} s after the intent"
            )
    return reported[:5]
