"""``airflow capillary ledger seed`` through Airflow's own command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_provider_capillary.ledger.ledger import Ledger

from .conftest import BADGE, EARNED, Run

CONNECTION = {
    "conn_type": "capillary",
    "host": "https://api.example.com",
    "login": "till.001",
    "password": "a-till-password",
    "extra": {"organisation": "shop"},
}
ENV: dict[str, str | None] = {"AIRFLOW_CONN_SHOP": json.dumps(CONNECTION)}


def export(path: Path, count: int, earned: str = str(EARNED * 1_000)) -> str:
    lines = [f"{BADGE},{700 + number},{earned},{number:024x}" for number in range(count)]
    path.write_text("\n".join(["badgeMetaId,customerId,earnedOn,earnId", *lines, ""]), "utf-8")
    return str(path)


def seed(run: Run, *words: str) -> Any:
    mapping = '{"earnEventDate": "earnedOn"}'
    options = ("--conn-id", "shop", "--field-mapping", mapping, "--timestamp-unit", "ms", "-o", "json")
    return run("ledger", "seed", *options, *words, env=ENV)


def test_a_seed_records_who_made_it(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    path = export(tmp_path / "badges_earn.csv", 20)
    [reported] = seed(run, "--dataset", path).json
    assert (reported["rows_read"], reported["seeded"], reported["already_held"], reported["invalid"]) == (20, 20, 0, 0)
    job = ledger.job(reported["job_id"])
    assert (job.organisation, job.task_id, job.state) == ("shop", "ledger seed", "finished")
    assert job.run_id.startswith("user ")
    [again] = seed(run, "--dataset", path).json
    assert (again["seeded"], again["already_held"]) == (0, 20)


def test_a_seeded_ledger_is_the_expected_one(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    name = tmp_path.name
    env = {"AIRFLOW_CONN_SHOP": json.dumps(CONNECTION | {"extra": {"organisation": name}})}
    path = export(tmp_path / "badges_earn.csv", 3)
    words = ("--dataset", path, "--conn-id", "shop", "--field-mapping", '{"earnEventDate": "earnedOn"}')
    assert run("organisations", "add", name).code == 0  # beside those that the ledger has
    done = run("ledger", "seed", *words, "--timestamp-unit", "ms", env=env)
    assert (done.code, "keeps no witness" in done.err) == (0, False), done.err
    asked = run("ledger", "accept", "--organisation", name)
    assert f"Expected: ledger {ledger.ledger_id} at" in asked.out


def test_a_dry_run_notes_nothing(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    path = export(tmp_path / "badges_earn.csv", 3)
    [reported] = seed(run, "--dataset", path, "--dry-run").json
    assert reported["seeded"] == 3
    [reported] = seed(run, "--dataset", path, "--dry-run").json
    assert reported["seeded"] == 3


def test_invalid_rows_exit_with_1_and_counts(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    done = seed(run, "--dataset", export(tmp_path / "badges_earn.csv", 3, earned="yesterday"))
    assert done.code == 1
    assert done.err.startswith("3 of 3 rows are invalid")
    [reported] = done.json
    assert (reported["seeded"], reported["invalid"]) == (0, 3)


def test_a_mapping_that_is_no_json_is_refused(ledger: Ledger, run: Run) -> None:
    done = run("ledger", "seed", "--dataset", "x.csv", "--conn-id", "shop", "--field-mapping", "a=b", env=ENV)
    assert done.code == 1
    assert "--field-mapping is no JSON object" in done.err


def test_a_connection_that_is_not_there_is_named(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    done = run("ledger", "seed", "--dataset", export(tmp_path / "a.csv", 1), "--conn-id", "nowhere", env=ENV)
    assert done.code == 1
    assert "'nowhere'" in done.err
