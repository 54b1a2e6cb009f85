"""Every command that is promised is there, with its words, in Airflow's own parser."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from dev.demo.dag_test import airflow

from ..conftest import AirflowProcess
from .conftest import BADGE, Commands

PROMISED = {
    "jobs": ["jobs", "--output", "json"],
    "job": ["job", "JOB_ID", "--output", "table"],
    "unknown": ["unknown", "JOB_ID", "--output", "json"],
    "resolve": ["resolve", "JOB_ID", "--as", "accepted", "--row", "1", "2"],
    "errors": ["errors", "JOB_ID", "--output", "errors.csv"],
    "report": ["report", "JOB_ID", "--output", "folder"],
    "customer": ["customer", "42", "--output", "json"],
    "explain": ["explain", "customer-id"],
    "revoke": ["revoke", "JOB_ID", "--no-dry-run"],
    "test": ["test", "capillary_default"],
    "probe": ["probe", "--conn-id", "capillary_default", "--customer", "42", "--badge", BADGE],
    "simulator": ["simulator", "--port", "0", "--faults", "faults.json", "--latency", "5"],
    "organisations": ["organisations"],
    "organisations add": ["organisations", "add", "NAME"],
    "organisations rename": ["organisations", "rename", "OLD", "NEW"],
    "ledger upgrade": ["ledger", "upgrade"],
    "ledger seed": ["ledger", "seed", "--dataset", "granted.csv"],
    "ledger accept": ["ledger", "accept", "--yes"],
    "ledger copy": ["ledger", "copy", "FROM", "TO"],
    "ledger backup": ["ledger", "backup", "backup.db"],
}


@pytest.mark.parametrize("words", PROMISED.values(), ids=PROMISED)
def test_a_promised_command_is_understood(words: list[str], commands: Commands) -> None:
    assert commands.run(["capillary", *words], {}, only_parse=True) == (0, "", "")


@pytest.mark.parametrize("words", PROMISED.values(), ids=PROMISED)
def test_a_command_explains_itself(words: list[str], commands: Commands) -> None:
    explained = commands.run(["capillary", *words, "--help"], {})
    assert (explained.code, explained.err) == (0, "")
    assert f"Usage: airflow capillary {words[0]}" in explained.out


def test_a_reader_that_has_enough_sees_no_traceback(
    airflow_process: AirflowProcess, ledger: Ledger, tmp_path: Path
) -> None:
    books = f"sqlite:///{tmp_path / 'books.db'}"
    env = {**os.environ, "AIRFLOW_HOME": str(airflow_process.home), "AIRFLOW_CONN_BOOKS": books}
    words = ("capillary", "jobs", "--ledger-conn-id", "books")
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does
    process = subprocess.run(airflow(*words), env=env, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert "Traceback" not in process.stderr
    assert "BrokenPipe" not in process.stderr
    assert f"Ledger: {ledger.description}" in process.stderr
