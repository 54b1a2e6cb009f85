"""``airflow capillary ...`` through Airflow's own parser, in one process for all commands; and a ledger to ask."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Intent, Issues, JobPlan, JobScope, Outcome, RowChange, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger

from ..conftest import AirflowProcess
from ..line_process import LineProcess

BADGE = "654e08f2041fd452b3ef5b2e"
EARNED = 1_736_942_400  #: 2025-01-15T12:00:00Z
CUSTOMERS = {row: 555_000_100 + row for row in range(1, 6)}
#: Rows 1 and 2 are accepted, 3 to 5 unknown; what is reported of row 4 would ring a terminal's bell.
UNKNOWN = (3, 4, 5)
MESSAGES = {3: "no reply within 60 s", 4: "HTTP 502 \x07\x1b[2J", 5: "no reply within 60 s"}


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


class Commands:
    """A process with Airflow's parser, which runs one command after the other."""

    def __init__(self, home: Path) -> None:
        script = Path(__file__).with_name("command_runs.py")
        self._process = LineProcess(script, {**os.environ, "AIRFLOW_HOME": str(home)}, home / "commands.log")
        self.loaded: list[str] = self._process.next_line()["loaded"]

    def run(
        self, words: Sequence[str], env: dict[str, str | None], typed: str = "", *, only_parse: bool = False
    ) -> Ran:
        return Ran(**self._process.ask({"words": words, "env": env, "typed": typed, "only_parse": only_parse}))

    def close(self) -> None:
        self._process.close()


@pytest.fixture(scope="session")
def commands(airflow_process: AirflowProcess) -> Iterator[Commands]:
    with closing(Commands(airflow_process.home)) as started:
        yield started


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger behind the connection ``books``, with two ended jobs and one that has just begun."""
    with closing(Ledger(f"sqlite:///{tmp_path / 'books.db'}", owner="another machine/7/1")) as ledger:
        imported(ledger, "nightly", "run-1")
        imported(ledger, "weekly", "run-2", first_customer=1_000)
        begin(ledger, "nightly", "run-3")
        yield ledger


def begin(ledger: Ledger, dag_id: str, run_id: str) -> Any:
    plan = JobPlan("shop", "https://api.example.com", "f00d", 5, {"timezone": "", "field_mapping": "[]"}, ("a.csv",))
    return ledger.open_job(JobScope(dag_id, "import_badges", run_id), plan)


def imported(ledger: Ledger, dag_id: str, run_id: str, first_customer: int = 0) -> None:
    job = begin(ledger, dag_id, run_id)
    badges = [
        EarnedBadge(row, BADGE, customer + first_customer, EARNED, EARNED + 86_400)
        for row, customer in CUSTOMERS.items()
    ]
    [batch] = ledger.record(job, [Intent(EarnedBadges.of(badges), "body", f"request of {run_id}", 1)])
    states = {row: RowState.UNKNOWN if row in UNKNOWN else RowState.ACCEPTED for row in CUSTOMERS}
    ids = {row: f"65{row:022x}" if row not in UNKNOWN else None for row in CUSTOMERS}
    changes = [RowChange(b, states[b.row_number], ids[b.row_number]) for b in badges]
    issues = [
        RowIssue(row, RowState.UNKNOWN, "send", MESSAGES[row], "a.csv", row + 1, {"badge_meta_id": BADGE, "n": row})
        for row in UNKNOWN
    ]
    ledger.record(job, [Outcome(batch, "UNKNOWN", None, changes), Issues(issues)])
    counts = {"accepted": 2, "already_accepted": 0, "rejected": 0, "invalid": 0, "unknown": 3, "not_sent": 0}
    reasons = [{"stage": "send", "code": None, "message": "no reply within 60 s", "rows": 2}]
    ledger.finish_job(job, "failed", {"rows_read": 5, **counts, "requests": 1, "batches": 1, "reasons": reasons})


@pytest.fixture
def run(commands: Commands, tmp_path: Path) -> Run:
    """``run("jobs", "-o", "json")``: a command, with the ledger ``books``.

    ``env`` is what it sees besides, ``typed`` what a person types.
    """

    def call(*words: str, books: bool = True, env: dict[str, str | None] | None = None, typed: str = "") -> Ran:
        ledger_of_test = ("--ledger-conn-id", "books") if books else ()
        path = f"sqlite:///{tmp_path / 'books.db'}"
        return commands.run(["capillary", *words, *ledger_of_test], {"AIRFLOW_CONN_BOOKS": path, **(env or {})}, typed)

    return call


def job_id(ledger: Ledger, run_id: str = "run-1") -> str:
    [found] = [job.job_id for job in ledger.jobs() if job.run_id == run_id]
    return found


def states(ledger: Ledger, job: str) -> dict[int, str]:
    """Rows of the job that are unknown, by number."""
    return {row.badge.row_number: row.state.value for page in ledger.settlements.unproven(job) for row in page}
