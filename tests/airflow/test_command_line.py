"""``airflow capillary ...`` through Airflow's own parser; and as processes, where only a process can tell."""

from __future__ import annotations

import argparse
import csv
import getpass
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.demo.dag_test import airflow
from airflow_provider_capillary.ledger.base import Intent, Issues, JobPlan, JobScope, Outcome, RowChange, RowIssue
from airflow_provider_capillary.ledger.migrations.upgrade import HEAD
from airflow_provider_capillary.ledger.sql_ledger import SqlLedger
from airflow_provider_capillary.operators.airflow_versions import HAS_RETRY_POLICIES

from .conftest import AirflowProcess

BADGE = "654e08f2041fd452b3ef5b2e"
EARNED = 1_736_942_400  #: 2025-01-15T12:00:00Z
CUSTOMERS = {row: 555_000_100 + row for row in range(1, 6)}
#: Rows 1 and 2 are accepted, 3 to 5 unknown; what is told of row 4 would ring a terminal's bell.
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
        self._log = (home / "commands.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("command_runs.py"))],
            env={**os.environ, "AIRFLOW_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.loaded: list[str] = self._answer()["loaded"]

    def run(self, words: Sequence[str], env: dict[str, str | None]) -> Ran:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"words": words, "env": env}) + "\n")
        self._process.stdin.flush()
        return Ran(**self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, Path(self._log.name).read_text()[-5_000:]
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="module")
def commands(airflow_process: AirflowProcess) -> Iterator[Commands]:
    with closing(Commands(airflow_process.home)) as started:
        yield started


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    """A ledger behind the connection ``books``, with two ended jobs and one that has just begun."""
    with closing(SqlLedger(f"sqlite:///{tmp_path / 'books.db'}", owner="another machine/7/1")) as ledger:
        imported(ledger, "nightly", "run-1")
        imported(ledger, "weekly", "run-2", first_customer=1_000)
        begin(ledger, "nightly", "run-3")
        yield ledger


def begin(ledger: SqlLedger, dag_id: str, run_id: str) -> Any:
    plan = JobPlan("shop", "https://api.example.com", "f00d", 5, {"timezone": "", "field_mapping": "[]"}, ("a.csv",))
    return ledger.open_job(JobScope(dag_id, "import_badges", run_id), plan)


def imported(ledger: SqlLedger, dag_id: str, run_id: str, first_customer: int = 0) -> None:
    job = begin(ledger, dag_id, run_id)
    badges = [
        EarnedBadge(row, BADGE, customer + first_customer, EARNED, EARNED + 86_400)
        for row, customer in CUSTOMERS.items()
    ]
    [batch] = ledger.record(job, [Intent(badges, "body", f"request of {run_id}", 1)])
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
    """``run("jobs", "-o", "json")``: a command, with the ledger ``books``; ``env`` is what it sees besides."""

    def call(*words: str, books: bool = True, env: dict[str, str | None] | None = None) -> Ran:
        ledger_of_test = ("--ledger-conn-id", "books") if books else ()
        path = f"sqlite:///{tmp_path / 'books.db'}"
        return commands.run(["capillary", *words, *ledger_of_test], {"AIRFLOW_CONN_BOOKS": path, **(env or {})})

    return call


def job_id(ledger: SqlLedger, run_id: str = "run-1") -> str:
    [found] = [job.job_id for job in ledger.jobs() if job.run_id == run_id]
    return found


def states(ledger: SqlLedger, job: str) -> dict[int, str]:
    """Rows of the job that are unknown, by number."""
    return {row.badge.row_number: row.state.value for row in ledger.unproven(job)}


# -- telling ------------------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_with_numbers_that_are_numbers(ledger: SqlLedger, run: Run) -> None:
    listed = run("jobs", "-o", "json").json
    assert [(job["dag_id"], job["run_id"], job["state"]) for job in listed] == [
        ("nightly", "run-3", "open"),
        ("weekly", "run-2", "failed"),
        ("nightly", "run-1", "failed"),
    ]
    assert (listed[2]["rows"], listed[2]["accepted"], listed[2]["unknown"]) == (5, 2, 3)
    assert listed[0]["accepted"] is None  # nobody knows yet


def test_jobs_can_be_limited_to_a_dag_and_to_so_many(ledger: SqlLedger, run: Run) -> None:
    assert [job["run_id"] for job in run("jobs", "--dag-id", "nightly", "-o", "json").json] == ["run-3", "run-1"]
    assert [job["run_id"] for job in run("jobs", "--limit", "1", "-o", "json").json] == ["run-3"]
    limited = run("jobs", "--dag-id", "nightly", "--limit", "1", "-o", "json").json
    assert [job["run_id"] for job in limited] == ["run-3"]
    assert run("jobs", "--dag-id", "none", "-o", "json").json == []
    assert run("jobs", "--limit", "0").code == 1


@pytest.mark.parametrize("output", ["table", "plain", "yaml", "json"])
def test_every_format_of_airflow_s_own_is_there(ledger: SqlLedger, run: Run, output: str) -> None:
    for words in (("jobs",), ("job", job_id(ledger)), ("unknown", job_id(ledger))):
        ran = run(*words, "-o", output)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.strip()


def test_a_job_is_told_with_its_counts_and_reasons(ledger: SqlLedger, run: Run) -> None:
    [told] = run("job", job_id(ledger), "-o", "json").json
    assert (told["organisation"], told["sources"], told["requests"]) == ("shop", ["a.csv"], 1)
    assert (told["accepted"], told["unknown"], told["revocable"], told["revoked_since"]) == (2, 3, 2, 0)
    assert told["reasons"][0]["rows"] == 2
    table = run("job", job_id(ledger)).out
    assert "2 x send: no reply within 60 s" in table


def test_unknown_rows_are_listed_for_a_person_who_looks_them_up(ledger: SqlLedger, run: Run) -> None:
    listed = run("unknown", job_id(ledger), "-o", "json").json
    assert [(row["row"], row["customer_id"], row["badge_meta_id"]) for row in listed] == [
        (row, CUSTOMERS[row], BADGE) for row in UNKNOWN
    ]
    assert listed[0]["earn_event_date"] == "2025-01-15T12:00:00+00:00"
    assert (listed[0]["request_id"], listed[0]["message"]) == ("request of run-1", "no reply within 60 s")


@pytest.mark.parametrize("output", ["table", "plain"])
def test_what_the_api_says_cannot_give_orders_to_the_terminal(ledger: SqlLedger, run: Run, output: str) -> None:
    out = run("unknown", job_id(ledger), "-o", output).out
    assert "\x07" not in out
    assert "\x1b[2J" not in out
    assert "HTTP 502" in out


def test_customers_are_named_only_where_they_are_asked_for(ledger: SqlLedger, run: Run) -> None:
    told = [
        run("jobs"),
        run("jobs", "-o", "json"),
        run("job", job_id(ledger)),
        run("job", job_id(ledger), "-o", "yaml"),
    ]
    assert not any(str(customer) in ran.out for ran in told for customer in CUSTOMERS.values())


# -- settling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "counts", "told"),
    [
        ("accepted", {"accepted": 3, "resend": 0}, "accepted"),
        ("resend", {"accepted": 0, "resend": 3}, "not_sent"),
    ],
)
def test_a_word_settles_all_unknown_rows_of_the_job_and_the_ledger_keeps_whose_word(
    ledger: SqlLedger, run: Run, word: str, counts: dict[str, int], told: str
) -> None:
    job, other = job_id(ledger), job_id(ledger, "run-2")
    [said] = run("resolve", job, "--as", word, "-o", "json").json
    assert said == {"job_id": job, "unknown_before": 3, **counts, "unknown": 0}
    assert (states(ledger, job), len(states(ledger, other))) == ({}, 3)
    stories = list(ledger.issues(job))
    assert [story.state.value for story in stories] == [told] * 3
    assert f"user {getpass.getuser()} on " in stories[0].message
    again = run("resolve", job, "--as", word, "-o", "json")
    assert (again.code, again.json[0]["unknown_before"]) == (0, 0)


@pytest.mark.parametrize("rows", [("--row", "3", "5"), ("--row", "3", "--row", "5")], ids=["one flag", "two flags"])
def test_a_word_can_be_limited_to_rows(ledger: SqlLedger, run: Run, rows: tuple[str, ...]) -> None:
    job = job_id(ledger)
    ran = run("resolve", job, "--as", "accepted", *rows, "-o", "json")
    assert (ran.code, ran.json[0]["accepted"], ran.json[0]["unknown"]) == (0, 2, 1)
    assert states(ledger, job) == {4: "unknown"}


def test_a_row_that_is_not_unknown_settles_nothing(ledger: SqlLedger, run: Run) -> None:
    ran = run("resolve", job_id(ledger), "--as", "resend", "--row", "1", "3")
    assert (ran.code, ran.out) == (1, "")
    assert "no unknown row of number 1" in ran.err
    assert len(states(ledger, job_id(ledger))) == 3


@pytest.mark.parametrize("words", [(), ("--as", "granted"), ("--as", "accepted", "--row", "three")], ids=str)
def test_a_word_that_is_not_understood_is_a_wrong_use(ledger: SqlLedger, run: Run, words: tuple[str, ...]) -> None:
    assert run("resolve", job_id(ledger), *words).code == 2
    assert len(states(ledger, job_id(ledger))) == 3


# -- files --------------------------------------------------------------------------------------------------


def test_errors_of_a_job_are_written_to_a_file_which_is_replaced(ledger: SqlLedger, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "errors.csv"
    target.write_text("of yesterday")
    ran = run("errors", job_id(ledger), "--output", str(target))
    assert (ran.code, ran.out) == (0, f"3 rows that were not accepted: {target}\n")
    with target.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [(row["n"], row["state"], row["badge_meta_id"]) for row in rows] == [
        (str(row), "unknown", BADGE) for row in UNKNOWN
    ]
    assert [path.name for path in tmp_path.iterdir() if "errors" in path.name] == ["errors.csv"]


def test_a_file_that_cannot_be_written_is_said_in_one_line(ledger: SqlLedger, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "no folder" / "errors.csv"
    ran = run("errors", job_id(ledger), "--output", str(target))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"{target} cannot be written: No such file or directory\n"


# -- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("job", "none-such"),
        ("unknown", "none-such"),
        ("resolve", "none-such", "--as", "accepted"),
        ("errors", "none-such", "--output", "/tmp/never-written.csv"),
    ],
    ids=str,
)
def test_a_job_that_is_not_there_is_said_in_one_line(ledger: SqlLedger, run: Run, words: tuple[str, ...]) -> None:
    ran = run(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "holds no job 'none-such'" in ran.err


def test_a_ledger_that_cannot_be_reached_is_said_in_one_line_without_its_password(run: Run) -> None:
    ran = run("jobs", env={"AIRFLOW_CONN_BOOKS": "postgresql://clerk:s3cr3t-w0rd@127.0.0.1:9/books"})
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "127.0.0.1" in ran.err
    assert "s3cr3t-w0rd" not in ran.err


def test_a_ledger_is_made_and_brought_up_to_date(run: Run, tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path / 'books.db'}"
    assert run("ledger", "upgrade").out == f"The ledger {path} was brought to revision {HEAD}\n"
    assert run("ledger", "upgrade").out == f"The ledger {path} stands at revision {HEAD}\n"


def test_without_a_connection_the_ledger_is_that_of_the_operators(ledger: SqlLedger, run: Run, tmp_path: Path) -> None:
    configured = {"AIRFLOW__CAPILLARY__LEDGER_CONN_ID": "books"}
    assert len(run("jobs", "-o", "json", books=False, env=configured).json) == 3
    assert run("jobs", "-o", "json", books=False, env={"AIRFLOW_HOME": str(tmp_path / "home")}).json == []
    assert (tmp_path / "home" / "capillary_ledger.db").exists()


def test_a_living_import_keeps_its_rows(ledger: SqlLedger, run: Run) -> None:
    ran = run("resolve", job_id(ledger, "run-3"), "--as", "accepted")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith(f"job {job_id(ledger, 'run-3')} is running")
    assert "Traceback" not in ran.err


# -- the simulator, and processes of their own ----------------------------------------------------------------


def test_the_simulator_has_the_options_of_its_own_command_line() -> None:
    from airflow_provider_capillary.cli.simulator_options import SIMULATOR_OPTIONS, SIMULATOR_SWITCHES
    from airflow_provider_capillary.simulator.command_line import add_arguments

    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    own = {action.option_strings[0]: action.nargs == 0 for action in parser._actions}
    assert own == dict.fromkeys(SIMULATOR_OPTIONS, False) | dict.fromkeys(SIMULATOR_SWITCHES, True)


def test_wrong_words_for_the_simulator_are_a_wrong_use(run: Run) -> None:
    assert run("simulator", "--port", "many", books=False).code == 2
    assert run("simulator", "--faults", "/none/such.json", books=False).code == 2


def test_the_simulator_serves_until_it_is_told_to_stop(airflow_process: AirflowProcess, tmp_path: Path) -> None:
    port_file, faults = tmp_path / "port", tmp_path / "faults.json"
    faults.write_text('{"faults": [{"kind": "status", "status": 503, "operation": "lookup"}]}')
    words = ("simulator", "--port", "0", "--port-file", str(port_file), "--faults", str(faults), "--latency", "1")
    env = {**os.environ, "AIRFLOW_HOME": str(airflow_process.home)}
    command = airflow("capillary", *words, "--sink")
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(600):
                if port_file.exists() or process.poll() is not None:
                    break
                time.sleep(0.1)
            url = f"http://127.0.0.1:{port_file.read_text()}"
            with urllib.request.urlopen(f"{url}/simulator/summary", timeout=10) as reply:
                told = json.load(reply)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (told["grants"], told["distinct"]) == (0, None)  # counted only
    assert [fault["kind"] for fault in told["faults"]] == ["status"]
    assert (process.returncode, f"Capillary simulator on {url}" in out) == (0, True)


def test_a_connection_of_the_metadata_database_is_found_and_json_comes_alone_on_stdout(
    ledger: SqlLedger, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(airflow_process.database)) as database, database:
        database.execute(
            "INSERT INTO connection (conn_id, conn_type, host, is_encrypted, is_extra_encrypted)"
            " VALUES (?, ?, ?, 0, 0)",
            ("kept_in_metadata", "sqlite", str(tmp_path / "books.db")),
        )
    ended = subprocess.run(
        airflow("capillary", "jobs", "--ledger-conn-id", "kept_in_metadata", "-o", "json"),
        env={**os.environ, "AIRFLOW_HOME": str(airflow_process.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    # Airflow 3.2 itself logs to stdout, for its own commands too.
    told = ended.stdout if HAS_RETRY_POLICIES else ended.stdout.splitlines()[-1]
    assert [job["run_id"] for job in json.loads(told)] == ["run-3", "run-2", "run-1"]


def test_the_command_line_of_airflow_loads_nothing_of_this_package_but_the_names_of_its_commands(
    commands: Commands,
) -> None:
    names = ("cli", "cli.definition", "cli.simulator_options", "get_provider_info")
    assert commands.loaded == [f"airflow_provider_capillary.{name}" for name in names]
