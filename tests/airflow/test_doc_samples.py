"""The DAGs of the documentation, each run in the case that it is for."""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from tests.samples import sample

from .conftest import AirflowProcess, Ended

BADGE = "654e08f2041fd452b3ef5b2e"
GOOD = {"badge_meta_id": BADGE, "earn_event_date": "2025-01-31T09:00:00Z", "earn_expires_on": "2026-01-31T09:00:00Z"}
RunSample = Callable[..., Ended]


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(identifiers={("mobile", "919876543210"): 77}) as running:
        yield running


@pytest.fixture
def run(airflow_process: AirflowProcess, simulator: RunningSimulator, tmp_path: Path) -> RunSample:
    """Runs a DAG of the documentation, with an organisation of its own."""
    env = {
        "AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name),
        "AIRFLOW__CAPILLARY__REPORT_PATH": f"file://{tmp_path}/reports",
    }

    def call(name: str, **form: Any) -> Ended:
        [dag_id] = re.findall(r'dag_id="(\w+)"', sample(name))
        return airflow_process.run(airflow_process.home / f"documentation/dags/{name}.py", dag_id, env, run_conf=form)

    return call


def written(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.as_uri()


def active(simulator: RunningSimulator) -> list[int]:
    return sorted(grant.customer_id for grant in simulator.store.grants() if grant.is_active)


@pytest.mark.timeout(300)
def test_a_failed_import_is_reported_corrected_and_imported(
    run: RunSample, simulator: RunningSimulator, tmp_path: Path
) -> None:
    dag = "report-after-a-failed-import"
    bad = GOOD | {"customer_id": 8, "earn_event_date": "2025-01-31T09:00:00"}
    file = written(tmp_path / "rows.jsonl", GOOD | {"customer_id": 7}, bad)
    failed = run(dag, file=file)
    assert failed.state == "failed"
    assert failed.tasks == {"import_badges": ["failed"], "report": ["failed"]}
    assert "[instant-without-offset]" in failed.log
    [errors] = tmp_path.glob("reports/**/errors.csv")
    with errors.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["customer_id"] for row in rows] == ["8"]
    rows[0]["earn_event_date"] += "Z"
    mended = tmp_path / "errors.csv"
    with mended.open("w", newline="") as text:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert run(dag, file=mended.as_uri()).state == "success"
    assert active(simulator) == [7, 8]


@pytest.mark.timeout(300)
def test_unknown_rows_are_settled_although_the_import_failed(
    run: RunSample, simulator: RunningSimulator, tmp_path: Path
) -> None:
    simulator.use_faults([{"kind": "drop", "at": "after_applying", "numbers": [2]}])
    file = written(tmp_path / "rows.jsonl", *(GOOD | {"customer_id": customer} for customer in (7, 8, 9)))
    ended = run("settle-after-unknown-rows", file=file)
    assert ended.tasks["import_badges"] == ["failed"]
    assert ended.tasks["settle"] == ended.tasks["report"] == ["success"]
    [settled] = ended.returned["settle"]
    assert (settled["unknown_before"], settled["accepted"], settled["unknown"]) == (2, 2, 0)
    assert active(simulator) == [7, 8, 9]


@pytest.mark.timeout(300)
def test_a_form_undoes_an_import_after_a_dry_run(run: RunSample, simulator: RunningSimulator, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", GOOD | {"customer_id": 7})
    tried = run("first-import", file=file)
    assert (tried.returned["import_badges"][0]["not_sent"], active(simulator)) == (1, [])
    imported = run("first-import", file=file, dry_run=False)
    job = imported.returned["import_badges"][0]["job_id"]
    counted = run("undo-with-a-form", job=job)
    assert (counted.returned["undo"][0]["to_revoke"], active(simulator)) == (1, [7])
    undone = run("undo-with-a-form", job=job, dry_run=False)
    assert (undone.state, undone.returned["undo"][0]["revoked"], active(simulator)) == ("success", 1, [])


@pytest.mark.timeout(300)
def test_a_green_run_with_refused_rows_is_alerted(run: RunSample, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", GOOD | {"customer_id": 7}, GOOD | {"customer_id": "x"})
    ended = run("alert-when-green", file=file)
    assert ended.state == "success"
    assert ended.returned["alert"][0].startswith("1 of 2 rows were refused: customer_id")


@pytest.mark.timeout(300)
def test_seeded_rows_are_not_granted_again(run: RunSample, simulator: RunningSimulator, tmp_path: Path) -> None:
    earned = 1_738_314_000_000  # as GOOD, in milliseconds
    export = {"badgeMetaId": BADGE, "customerId": 7, "earnedOn": earned, "earnId": "65" + "0" * 22}
    seeded = run("seed", export=written(tmp_path / "export.jsonl", export), dry_run=False)
    assert seeded.returned["seed"][0]["seeded"] == 1
    file = written(tmp_path / "rows.jsonl", GOOD | {"customer_id": 7})
    imported = run("first-import", file=file, dry_run=False)
    assert (imported.returned["import_badges"][0]["already_accepted"], active(simulator)) == (1, [])


@pytest.mark.timeout(300)
def test_mobile_numbers_become_customers_or_are_reported(run: RunSample, simulator: RunningSimulator) -> None:
    ended = run("customer-ids")
    [summary] = ended.returned["import_winners"]
    assert (summary["accepted"], summary["invalid"], active(simulator)) == (1, 1, [77])


@pytest.mark.timeout(300)
def test_the_printed_test_of_a_dag_passes(airflow_process: AirflowProcess, tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "import_a_file.py").write_text(sample("report-after-a-failed-import"))
    (tmp_path / "test_dag.py").write_text(sample("test-of-a-dag"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    # as `airflow db migrate` makes it, which takes seconds
    with (
        closing(sqlite3.connect(airflow_process.database)) as source,
        closing(sqlite3.connect(tmp_path / "airflow.db")) as own,
    ):
        source.backup(own)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=250)
    assert "2 passed" in done.stdout, done.stdout[-4_000:] + done.stderr
