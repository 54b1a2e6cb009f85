"""What happens in a campaign, as a pure function of its seed: settings, faults, and how Airflow starts and loses tasks.

The operating system decides between which two instructions a kill falls; everything else comes from here.
"""

from __future__ import annotations

import random

import msgspec

from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.simulator.fault_plan import FaultPlan

from .dataset import Row
from .fault_choice import CLIENT_TIMEOUT, choose_faults

VERIFY_AFTER = 1.0  #: seconds
MOMENTS = ("before", "after")
#: Every call that touches the ledger or the wire: a life ends at one of the first so many, or fewer in a small job.
CALLS = {
    "open_job": 1, "find": 3, "intent": 8, "send": 8, "outcome": 8, "adoption": 2, "issues": 3, "view": 150,
    "finish_job": 1,
}  # fmt: skip


class End(msgspec.Struct, frozen=True):
    """How a life ends: at a crash point, by a signal after some seconds, or (all empty) with its work."""

    call: str = ""
    moment: str = ""
    number: int = 0  #: which call of that name, from 1
    kill_after: float | None = None
    stop_after: float | None = None  #: SIGTERM, as Airflow asks a task to stop
    pause: bool = False  #: at the crash point the process is stopped (SIGSTOP) instead, until the driver continues it


class Step(msgspec.Struct, frozen=True):
    """Airflow starts the task: one copy, or two at the same time (of one scope, or of two over the same rows)."""

    copies: tuple[tuple[JobScope, End], ...]


class Plan(msgspec.Struct, frozen=True):
    """One campaign: many lives of tasks over one dataset."""

    seed: int
    settings: dict[str, str | int | float | bool]
    client: dict[str, str | float]
    simulator: dict[str, str | int | bool]
    faults: FaultPlan
    steps: tuple[Step, ...]
    lease_seconds: float
    elsewhere: bool  #: workers cannot see each other's processes: a dead one's lease has to run out


def make_plan(seed: int, rows: list[Row], deaths: int) -> Plan:
    """The plan of a seed for its rows."""
    chance = random.Random(f"plan {seed}")
    poison = [int(row.customer) for row in chance.sample(rows, min(2, len(rows))) if row.valid]
    elsewhere = chance.random() < 0.15
    method, auth_type = chance.choice(("PUT", "POST")), chance.choice(("basic", "basic", "oauth"))
    settings = _settings(chance)
    batches = len(rows) // int(settings["batch_size"])
    return Plan(
        seed=seed,
        settings=settings,
        client={
            "import_method": method,
            "auth_type": auth_type,
            "timestamp_format": chance.choice(("epoch_seconds", "epoch_seconds", "iso_inline", "iso_fields")),
            "timeout": CLIENT_TIMEOUT,
            "connect_timeout": 2.0,
        },
        simulator={
            "unknown_badge": chance.choice(("row", "row", "call")),
            "earns_detail": chance.random() < 0.8,
            "refuse_repeated_request_ids": chance.random() < 0.3,
            "token_ttl_seconds": chance.choice((1, 300)),
            "zone": chance.choice(("UTC", "Asia/Kolkata")),
        },
        faults=choose_faults(seed, poison),
        steps=tuple(_steps(chance, deaths * 4 + 4, batches)),
        lease_seconds=1.5 if elsewhere else 3.0,
        elsewhere=elsewhere,
    )


def _settings(chance: random.Random) -> dict[str, str | int | float | bool]:
    return {
        "batch_size": chance.choice((50, 80, 120, 200)),
        "concurrency": chance.choice((1, 2, 4)),
        "canary": chance.random() < 0.3,
        "check_badges": chance.random() < 0.5,
        "on_duplicate": chance.choice(("skip", "skip", "skip", "allow")),
        "once_per_customer": chance.random() < 0.15,
        "verify_after": VERIFY_AFTER,
        "max_rejected": "100%",
        "max_unknown": "100%",
    }


def _steps(chance: random.Random, count: int, batches: int) -> list[Step]:
    steps: list[Step] = []
    scopes = [JobScope("chaos", "import_badges", "night-1", max_tries=2)]
    for _ in range(count):
        scope = _next_scope(chance, scopes)
        if scope not in scopes:
            scopes.append(scope)
        copies = [(scope, _end(chance, batches))]
        draw = chance.random()
        if draw < 0.1:
            copies.append((scope, _end(chance, batches)))
        elif draw < 0.25:
            other = msgspec.structs.replace(scope, run_id=f"backfill-{len(scopes)}")
            scopes.append(other)
            copies.append((other, _end(chance, batches)))
        steps.append(Step(tuple(copies)))
    return steps


def _next_scope(chance: random.Random, scopes: list[JobScope]) -> JobScope:
    """Mostly Airflow's retry; else a clear (another ``max_tries``), a later run, or a retry of an earlier one."""
    draw = chance.random()
    if draw < 0.6:
        return scopes[-1]
    if draw < 0.75:
        return msgspec.structs.replace(scopes[-1], max_tries=scopes[-1].max_tries + 3)
    if draw < 0.9:
        return JobScope("chaos", "import_badges", f"night-{len(scopes) + 1}", max_tries=2)
    return chance.choice(scopes)


def _end(chance: random.Random, batches: int) -> End:
    draw = chance.random()
    if draw < 0.65:
        call = chance.choice([*CALLS, "intent", "send", "send", "outcome"])
        most = min(CALLS[call], max(1, batches // 3)) if call in ("intent", "send", "outcome") else CALLS[call]
        return End(call=call, moment=chance.choice(MOMENTS), number=chance.randint(1, most))
    if draw < 0.88:
        return End(kill_after=round(chance.uniform(0.05, 1.5), 3))
    if draw < 0.94:
        return End(stop_after=round(chance.uniform(0.05, 1.0), 3))
    return End()
