"""One scene of a mode: a few rows, a simulator with one defect, a ledger, and lives of tasks that a script begins."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.ledger.engine import make_engine
from airflow_provider_capillary.ledger.facts import Intent, JobPlan, JobScope, Outcome
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.fault_plan import FaultPlan
from airflow_provider_capillary.simulator.server import RunningSimulator

from .comparison import Difference, Rules, compare, read_ledger
from .dataset import Row, even_rows
from .fork_server import Child, ForkServer
from .ids import ids_in_ledger
from .life import ORGANISATION, Report
from .lives import Lives
from .plans import End, Plan
from .watched import WatchedSimulator, watched

NIGHT = JobScope("chaos", "import_badges", "night-1", max_tries=2)
LEASE_SECONDS = 3.0
LONG_ENOUGH = 15.0  #: seconds; none has more than 5 to wait, so one that takes longer waits for what does not come


class Stage:
    """What a scene works with. ``ledger`` is the URL that the next life gets."""

    def __init__(
        self,
        seed: int,
        rows: list[Row],
        running: RunningSimulator,
        ledger: str,
        folder: Path,
        server: ForkServer,
        afterwards: contextlib.ExitStack,
        **settings: Any,
    ) -> None:
        self.seed = seed
        self.rows = rows
        self.running = running
        self.ledger = ledger
        self.folder = folder
        self.afterwards = afterwards  #: what a scene leaves to be taken away
        self._given = running.simulator.watch_given_ids()
        self.was_refused = False
        self._is_refused = False  #: the last life's ledger: then it has no account of the rows, and nothing was sent
        self.stuck = 0  #: lives that were killed because they took too long
        self._lives = Lives(_plan(seed, settings), rows, "verify", ledger, folder, server)

    @property
    def simulator(self) -> WatchedSimulator:
        """What is behind the API's URL."""
        return watched(self.running)

    def begin(self, scope: JobScope = NIGHT, end: End | None = None, **changes: Any) -> Child:
        """Begin a life; ``rows`` among the changes is another dataset than the scene's, ``policy`` another policy."""
        rows: list[Row] | None = changes.pop("rows", None)
        policy = changes.pop("policy", None)
        if rows is not None:
            dataset = self.folder / f"rows-{scope.run_id}.csv"
            self._lives.write(dataset, rows)
            changes["dataset"] = str(dataset)
        if policy is not None:
            changes["settings"] = self._lives.settings | {"on_unknown": policy}
        count = None if rows is None else len(rows)
        return self._lives.start(scope, end or End(), self.running, count, **({"ledger": self.ledger} | changes))

    def run(self, scope: JobScope = NIGHT, end: End | None = None, **changes: Any) -> Report:
        """Run a life to its end; one that takes too long is killed."""
        return self.wait(self.begin(scope, end, **changes))

    def wait(self, child: Child, seconds: float = LONG_ENOUGH) -> Report:
        """Wait for a life; one that takes too long is killed, and its rows stay as they are."""
        if not child.over.wait(seconds):
            self.stuck += 1
            self.kill(child)
        reported = self._lives.wait(child)
        self._is_refused = reported.error == "WrongLedgerError"
        self.was_refused |= self._is_refused
        return reported

    def kill(self, child: Child) -> None:
        """End a life as a power cut would."""
        child.send_signal(signal.SIGKILL)
        child.over.wait(10)

    def wait_until_paused(self, child: Child) -> bool:
        """Wait until a life stands at the point at which it is stopped; ``False`` where it ended before."""
        while not self._lives.paused(child):
            if child.over.wait(0.02):
                return False
        return True

    def prove_reads(self) -> None:
        """Let the ledger and the API hold a badge of an earlier night: reads of it show that reads show imports."""
        (row,) = even_rows(self.seed, 1, earlier=86_400)
        row = row._replace(customer="1")
        earned, expires = int(row.earned), int(row.expires)
        ids = self.simulator.store.grant([(1, 1, row.badge, (earned, 0), (expires, 0))], "earlier", time.time() - 3_600)
        badges = EarnedBadges.of([EarnedBadge(1, row.badge, 1, earned, expires)])
        with contextlib.closing(Ledger(self.ledger)) as ledger:
            plan = JobPlan(ORGANISATION, self.running.url, "earlier", 1, {})
            job = ledger.open_job(msgspec.structs.replace(NIGHT, run_id="an earlier night"), plan)
            (batch,) = ledger.record(job, [Intent(badges, "body", "earlier", 1)])
            ledger.record(job, [Outcome(batch, "PER_ROW", 200, accepted=badges, ids=ids)])
            ledger.finish_job(job, "finished", None)
        engine = make_engine(self.ledger)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE capillary_batch SET settled_at = settled_at - 3600"))
        engine.dispose()
        self.rows = [*self.rows, row]

    def heal(self) -> None:
        """Take the simulator's faults away; what its settings say stays."""
        self.running.use_faults(None)

    def end(self, scope: JobScope = NIGHT, **changes: Any) -> None:
        """What Airflow does next in every scene: a retry, and another run over the same rows; the API is well again."""
        self.heal()
        self.try_again(scope, **changes)

    def try_again(self, scope: JobScope = NIGHT, **changes: Any) -> None:
        """The same with an API that is as it was."""
        self.run(scope, **changes)
        self.run(msgspec.structs.replace(scope, run_id="night-after"), **changes)

    def difference(self) -> Difference:
        """Compare rows, the last ledger and the grants."""
        self.simulator.wait_until_idle()
        self.simulator.late.release()  # what is not applied yet will be
        if self._is_refused:
            identities = Counter((g.customer_id, g.badge_meta_id, g.earned_at) for g in self.simulator.store.grants())
            twice = sum(identities.values()) - len(identities)
            return Difference(
                rows=len(self.rows),
                twice=twice,
                unreported=twice,
                unaccounted=len(self._lives.violations),
                problems=list(self._lives.violations),
            )
        ledger = read_ledger(self.ledger)
        found = compare(self.rows, ledger, self.simulator.store.grants(), Rules())
        given = set[str]().union(*self._given.values())
        if self.running.settings.earns_detail:
            # rows that a read proved, where the read lists ids
            unnamed = {one.customer_id for one in ledger.rows if one.state == "accepted" and not one.earned_badge_id}
            grants = self.simulator.store.grants()
            given |= {grant.earned_badge_id for grant in grants if grant.customer_id in unnamed & self.simulator.read}
        found.ids_lost = len(given - ids_in_ledger(self.ledger, given))
        found.unaccounted += len(self._lives.violations)
        found.problems = [*self._lives.violations, *found.problems]
        return found


_SETTINGS: dict[str, Any] = {
    "batch_size": 10,
    "concurrency": 1,
    "canary": False,
    "check_badges": False,
    "verify_after": 0.3,
    "max_rejected": "100%",
    "max_unknown": "100%",
}


def _plan(seed: int, settings: dict[str, Any]) -> Plan:
    return Plan(
        seed=seed,
        settings=_SETTINGS | settings,
        client={"import_method": "PUT", "auth_type": "basic", "timeout": 10.0, "connect_timeout": 10.0},
        simulator={},
        faults=FaultPlan(),
        steps=(),
        lease_seconds=LEASE_SECONDS,
        elsewhere=False,
    )
