"""An import job end to end: the real client, the simulator on a socket, a real ledger, and a clock of its own.

Every job that a :class:`Trial` runs to its end is checked: the dataset's rows, the ledger and the
simulator's grants must agree. Tests add what is special to them.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import AuthType, ClientSettings
from airflow_provider_capillary.core.column_choice import column_choices
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.import_job import ImportJob, ImportResult
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.facts import (
    Intent,
    JobPlan,
    JobScope,
    LedgerRow,
    Outcome,
)
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

from .moments import Clock, InFlight, KilledError, Moments, WatchedClient, WatchedLedger

BADGE = "5eed0000bad9e00000000001"
FIRST_CUSTOMER = 880_000_001
FIRST_EARNED, EXPIRES = 1_740_000_000, 1_900_000_000
#: Small and predictable: one batch after the other, no canaries, no look-ups. A test sets what it is about.
PLAIN: dict[str, Any] = {"batch_size": 4, "concurrency": 1, "canary": False, "check_badges": False}


_Client = TypeVar("_Client", bound=BadgeClient)


class Trial:
    """One organisation's ledger and API, on which jobs are run one after the other, or at once."""

    badge = BADGE
    first_customer = FIRST_CUSTOMER
    first_earned = FIRST_EARNED
    killed = KilledError

    def __init__(self, folder: Path, empty_ledger: Path, stack: contextlib.ExitStack) -> None:
        shutil.copy(empty_ledger, folder / "ledger.db")
        self._stack = stack
        self.folder = folder
        self.ledger_url = f"sqlite:///{folder / 'ledger.db'}"
        self.clock = Clock()
        self.moments = Moments()  #: of the next job
        self.reported: Moments = self.moments  #: of the last one
        self.left_in_memory: list[int] = []  #: rows in doubt that planners still remember when they are closed
        self.start()

    # -- the API ---------------------------------------------------------------------------------------

    def start(self, **settings: Any) -> RunningSimulator:
        """Start a simulator, in place of the one before."""
        self.simulator = self._stack.enter_context(running_simulator(clock=self.clock.now, **settings))
        return self.simulator

    def faults(self, *faults: dict[str, Any]) -> None:
        self.simulator.use_faults(list(faults))

    def granted(self) -> Counter[tuple[int, str, int]]:
        """How often each customer, badge and earn instant was granted."""
        return Counter((g.customer_id, g.badge_meta_id, int(g.earned_at)) for g in self.simulator.store.grants())

    def times_granted(self) -> list[int]:
        """How often each identity was granted, without repeats: ``[1]`` is what is wanted."""
        return sorted(set(self.granted().values()))

    def calls(self, part_of_path: str = "import/customerBadges") -> int:
        """Requests that the simulator saw; by default those of the import."""
        counts = self.simulator.simulator.request_counts()
        return sum(count for call, count in counts.items() if part_of_path in call)

    def grant_elsewhere(self, *rows: dict[str, Any]) -> None:
        """Grant badges of which the ledger knows nothing."""
        earns = [
            (position, row["customerId"], row["badgeMetaId"], (row["earnEventDate"], 0), (row["earnExpiresOn"], 0))
            for position, row in enumerate(rows, 1)
        ]
        self.simulator.store.grant(earns, "elsewhere", self.clock.now())

    def prove_reads(self, *, seconds: float = 3_600.0) -> None:
        """Note a badge that an import was granted so long ago: a read of it shows that reads show imports."""
        (row,) = self.rows(1, first=90_000 + len(self.simulator.store))
        self.grant_elsewhere(row)
        badge = EarnedBadge(1, BADGE, row["customerId"], row["earnEventDate"], row["earnExpiresOn"])
        ids = [grant.earned_badge_id for grant in self.simulator.store.grants_of(badge.customer_id)]
        rows = EarnedBadges.of([badge])
        with closing(Ledger(self.ledger_url, clock=self.clock.now)) as ledger:
            plan = JobPlan("org", self.simulator.url, "the night before", 1, {})
            job = ledger.open_job(JobScope("sync", "import", f"before {row['customerId']}"), plan)
            (batch,) = ledger.record(job, [Intent(rows, "body", "the night before", 1)])
            ledger.record(job, [Outcome(batch, "PER_ROW", 200, accepted=rows, ids=ids)])
            ledger.finish_job(job, "finished", None)
        self.clock.advance(seconds)

    # -- a job -----------------------------------------------------------------------------------------

    @staticmethod
    def rows(count: int, *, first: int = 0, **columns: Any) -> list[dict[str, Any]]:
        """Rows of ``count`` customers, each with an earn date of its own."""
        return [
            {
                "badgeMetaId": BADGE,
                "customerId": FIRST_CUSTOMER + number,
                "earnEventDate": FIRST_EARNED + number,
                "earnExpiresOn": EXPIRES,
                **columns,
            }
            for number in range(first, first + count)
        ]

    def stop_signal(self) -> StopSignal:
        """A signal whose waits take no time."""
        return StopSignal(wait=self.clock.wait)

    def client(self, **settings: Any) -> BadgeClient:
        return self._client(BadgeClient, settings)

    def _client(self, kind: type[_Client], settings: dict[str, Any]) -> _Client:
        simulated = self.simulator.settings
        basic = settings.get("auth_type", AuthType.BASIC) == AuthType.BASIC
        caller = {
            "login": simulated.username if basic else simulated.oauth_key,
            "password": simulated.password if basic else simulated.oauth_secret,
        }
        chosen = {"base_url": self.simulator.url, "timeout": 10.0, **caller, **settings}
        return kind(msgspec.convert(chosen, ClientSettings), clock=self.clock.now, now=self.clock.now)

    def run(
        self,
        rows: Any,
        *,
        run_id: str = "night-1",
        max_tries: int = 0,
        organisation: str = "org",
        client: dict[str, Any] | None = None,
        ledger: dict[str, Any] | None = None,
        stop: StopSignal | None = None,
        jitter: float = 0.0,
        monotonic: Callable[[], float] | None = None,
        requests_per_minute: int | None = None,
        witness: LedgerWitness | None = None,
        **settings: Any,
    ) -> ImportResult:
        """Run a job to its end, and compare its accounts. ``client``, ``ledger``: settings of these."""
        chosen = import_settings(**{**PLAIN, **settings})
        moments, self.moments = self.moments, Moments()
        self.reported, self.in_flight = moments, (in_flight := InFlight())
        dataset = open_dataset(rows, required_columns=column_choices(chosen.field_mapping))
        with (
            closing(dataset),
            closing(WatchedLedger(self.ledger_url, moments, self.clock, **(ledger or {}))) as book,
            closing(self._client(WatchedClient, client or {})) as badge_client,
        ):
            badge_client.moments, badge_client.in_flight = moments, in_flight
            result = ImportJob(
                dataset,
                Organisation(badge_client, organisation, requests_per_minute),
                book,
                JobScope(dag_id="sync", task_id="import", run_id=run_id, max_tries=max_tries),
                chosen,
                stop=stop or self.stop_signal(),
                clock=self.clock.now,
                monotonic=monotonic or self.clock.steady,
                jitter=lambda: jitter,
                witness=witness,
            ).run()
            rows_read = dataset.inspect().rows
        assert self.left_in_memory.pop() == 0, "rows that are at their end are still in memory"
        self._compare(result, rows_read)
        assert in_flight.in_two == set(), "rows of one customer were in two batches at once"
        return result

    # -- the accounts ----------------------------------------------------------------------------------

    @staticmethod
    def ends(result: ImportResult) -> dict[str, int]:
        """How the rows ended, without zeros."""
        counts = {state.value: getattr(result.summary, state.value) for state in FINAL_STATES}
        return {state: count for state, count in counts.items() if count}

    def ask_ledger(self, statement: str, *values: Any) -> list[Any]:
        """Look into the ledger's file, past the code that is tested."""
        with closing(sqlite3.connect(self.folder / "ledger.db")) as database:
            return database.execute(statement, values).fetchall()

    def states(self) -> dict[str, int]:
        """How many identities of the whole ledger stand in which state."""
        return dict(self.ask_ledger("SELECT state, count(*) FROM capillary_row GROUP BY state"))

    def held_rows(self) -> list[LedgerRow]:
        """Every row of the ledger, job by job."""
        with closing(Ledger(self.ledger_url, **self.clock.of_a_ledger())) as ledger:
            return [row for job in ledger.jobs(1_000) for page in ledger.rows(job.job_id) for row in page]

    def issues_of(self, result: ImportResult) -> list[tuple[int, str, str, int | None, str]]:
        """Row number, state, stage, code and message of the job's row issues."""
        return self.ask_ledger(
            "SELECT i.row_number, i.state, i.stage, i.code, i.message FROM capillary_row_issue i "
            "JOIN capillary_job j ON j.id = i.job_id WHERE j.job_id = ? ORDER BY i.row_number",
            result.summary.job_id,
        )

    def rows_reported_as(self, result: ImportResult, state: str) -> list[int]:
        """Numbers of the rows whose reason in the ledger says this."""
        return [number for number, reported, *_ in self.issues_of(result) if reported == state]

    def summary_of(self, result: ImportResult) -> dict[str, Any]:
        """The job's summary as the ledger keeps it now."""
        with closing(Ledger(self.ledger_url, **self.clock.of_a_ledger())) as ledger:
            return dict(ledger.job(result.summary.job_id).summary or {})

    def _compare(self, result: ImportResult, rows_read: int) -> None:
        summary = result.summary
        assert summary.rows_read == rows_read == sum(self.ends(result).values())
        if self.ledger_url.startswith("postgresql"):
            return self._compare_grants()
        held = dict(
            self.ask_ledger(
                "SELECT e.state, count(*) FROM capillary_row e JOIN capillary_job j ON j.id = e.job_id "
                "WHERE j.job_id = ? GROUP BY e.state",
                summary.job_id,
            )
        )
        assert held.get("accepted", 0) == summary.accepted
        assert held.get("unknown", 0) <= summary.unknown  # rows that repeat an unknown one are unknown too
        assert "intent" not in held
        issues = Counter(state for _, state, *_ in self.issues_of(result))
        reported = {state: issues[state] for state in ("rejected", "invalid", "unknown")}
        assert reported == {"rejected": summary.rejected, "invalid": summary.invalid, "unknown": summary.unknown}
        assert issues["not_sent"] <= summary.not_sent
        if result.error is None and not summary.dry_run:
            assert summary.not_sent == 0
        return self._compare_grants()

    def _compare_grants(self) -> None:
        """Whatever the ledger calls accepted was granted, under the id that it keeps."""
        # The ledger is read first: of two jobs at once the other one may be granted more in the meantime.
        accepted = [row for row in self.held_rows() if row.state is RowState.ACCEPTED]
        grants = {g.earned_badge_id: (g.customer_id, int(g.earned_at)) for g in self.simulator.store.grants()}
        granted = Counter((customer, earned) for customer, _, earned in self.granted().elements())
        for row in accepted:
            customer, earned = row.badge.customer_id, row.badge.earned_at
            assert granted[customer, earned]
            assert row.earned_badge_id is None or grants[row.earned_badge_id] == (customer, earned)
        known = [row.earned_badge_id for row in accepted if row.earned_badge_id is not None]
        assert len(known) == len(set(known))
