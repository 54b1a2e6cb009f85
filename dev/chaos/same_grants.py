"""A job killed many times must end with exactly the grants of an undisturbed job."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.simulator.badge_store import Grant
from airflow_provider_capillary.simulator.fault_plan import FaultPlan

from .campaign import Result
from .comparison import Difference
from .dataset import Row, rows_of
from .fork_server import ForkServer
from .lives import Lives
from .plans import MOMENTS, End, Plan
from .watched import watched, watched_simulator

_SCOPE = JobScope("chaos", "import_badges", "killed-often", max_tries=2)


def killed_often(
    seed: int, *, rows: int, batch_size: int, deaths: int, ledger: str, folder: Path, server: ForkServer
) -> Result:
    """Kill the job so often at random crash points, then let it end; ``verify``, no faults but death."""
    started = time.monotonic()
    dataset = rows_of(seed, rows, plain=True)
    plan = _plan(seed, batch_size)
    undisturbed, _ = _grants(
        Lives(plan, dataset, "verify", f"sqlite:///{folder / 'undisturbed.db'}", folder, server), []
    )
    folder_of_killed = folder / "killed"
    folder_of_killed.mkdir()
    lives = Lives(plan, dataset, "verify", ledger, folder_of_killed, server)
    killed, requests = _grants(lives, _ends(seed, rows // batch_size, deaths))
    difference = _compared(dataset, undisturbed, killed)
    difference.unaccounted += len(lives.violations)
    difference.problems += lives.violations
    if lives.deaths != deaths:
        difference.unaccounted += 1
        difference.note(f"meant to die {deaths} times, died {lives.deaths} times")
    kind = ledger.partition(":")[0]
    return Result("verify", seed, kind, difference, lives.deaths, requests, time.monotonic() - started)


def _plan(seed: int, batch_size: int) -> Plan:
    return Plan(
        seed=seed,
        settings={"batch_size": batch_size, "concurrency": 2, "canary": False, "verify_after": 0.3},
        client={"import_method": "PUT", "auth_type": "basic", "timeout": 30.0, "connect_timeout": 10.0},
        simulator={},
        faults=FaultPlan(),
        steps=(),
        lease_seconds=10.0,
        elsewhere=False,
    )


def _ends(seed: int, batches: int, deaths: int) -> list[End]:
    """Deaths that come early enough for all of them to fall into the job: notes of all lanes may be one call."""
    chance = random.Random(f"killed often {seed}")
    latest = max(1, batches // (deaths * 5))
    calls = ("intent", "send", "outcome")
    return [End(chance.choice(calls), chance.choice(MOMENTS), chance.randint(1, latest)) for _ in range(deaths)]


def _grants(lives: Lives, ends: list[End]) -> tuple[Counter[tuple[int, str, int]], int]:
    with watched_simulator() as running:
        for end in ends:
            lives.wait(lives.start(_SCOPE, end, running))
        reported = lives.wait(lives.start(_SCOPE, End(), running))
        if reported.error is not None:
            lives.violations.append(f"undisturbed, it ended with {reported.error}: {reported.message}")
        return _counted(running.store.grants()), watched(running).imports()


def _counted(grants: Iterable[Grant]) -> Counter[tuple[int, str, int]]:
    return Counter((grant.customer_id, grant.badge_meta_id, int(grant.earned_at)) for grant in grants)


def _compared(
    rows: list[Row], undisturbed: Counter[tuple[int, str, int]], killed: Counter[tuple[int, str, int]]
) -> Difference:
    difference = Difference(rows=len(rows))
    asked = Counter({row.identity: 1 for row in rows})
    if undisturbed != asked:
        difference.unaccounted += 1
        difference.note("undisturbed, the job did not grant each badge once")
    difference.twice = (killed - undisturbed).total()
    difference.lost = (undisturbed - killed).total()
    for identity in [*(killed - undisturbed), *(undisturbed - killed)]:
        difference.note(f"{identity}: granted {killed[identity]} times, undisturbed {undisturbed[identity]} times")
    return difference
