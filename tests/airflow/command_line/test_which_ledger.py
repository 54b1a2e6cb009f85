"""Which ledger a command asks, and what it says of one that it cannot reach."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.migrations.upgrade import HEAD
from airflow_provider_capillary.operators.airflow_installation import HAS_RETRY_POLICIES
from dev.demo.dag_test import airflow

from ..conftest import AirflowProcess
from .conftest import Run


def test_an_unreachable_ledger_shows_no_password(run: Run) -> None:
    ran = run("jobs", env={"AIRFLOW_CONN_BOOKS": "postgresql://clerk:s3cr3t-w0rd@127.0.0.1:9/books"})
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "127.0.0.1" in ran.err
    assert "s3cr3t-w0rd" not in ran.err


def test_a_ledger_is_made_and_upgraded(run: Run, tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path / 'books.db'}"
    assert run("ledger", "upgrade").out == f"The ledger {path} was brought to revision {HEAD}\n"
    assert run("ledger", "upgrade").out == f"The ledger {path} stands at revision {HEAD}\n"


def test_the_default_ledger_is_that_of_the_operators(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    configured = {"AIRFLOW__CAPILLARY__LEDGER_CONN_ID": "books"}
    assert len(run("jobs", "-o", "json", books=False, env=configured).json) == 3


@pytest.mark.parametrize(
    "words", [("jobs",), ("job", "x"), ("unknown", "x"), ("organisations",), ("customer", "7")], ids=str
)
def test_a_reading_command_makes_no_ledger(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(*words, books=False, env={"AIRFLOW_HOME": str(tmp_path / "home")})
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"there is no ledger at sqlite:///{tmp_path}/home/capillary_ledger.db, and none was made")
    assert not list(tmp_path.rglob("*.db"))


def test_a_database_connection_is_found_and_stdout_is_json(
    ledger: Ledger, airflow_process: AirflowProcess, tmp_path: Path
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
    reported = ended.stdout if HAS_RETRY_POLICIES else ended.stdout.splitlines()[-1]
    assert [job["run_id"] for job in json.loads(reported)] == ["run-3", "run-2", "run-1"]
