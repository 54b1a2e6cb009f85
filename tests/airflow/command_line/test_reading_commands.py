"""Jobs, counts, unknown rows and errors as the command line shows them, on the terminal and in a file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger

from .conftest import BADGE, CUSTOMERS, UNKNOWN, Run, job_id


def test_jobs_are_listed_newest_first(ledger: Ledger, run: Run) -> None:
    listed = run("jobs", "-o", "json").json
    assert [(job["dag_id"], job["run_id"], job["state"]) for job in listed] == [
        ("nightly", "run-3", "open"),
        ("weekly", "run-2", "failed"),
        ("nightly", "run-1", "failed"),
    ]
    assert (listed[2]["rows"], listed[2]["accepted"], listed[2]["unknown"]) == (5, 2, 3)
    assert listed[0]["accepted"] is None  # its rows are on their way
    assert (listed[0]["dry_run"], listed[0]["settled_since"]) == (False, {})


def test_jobs_are_limited_by_dag_and_number(ledger: Ledger, run: Run) -> None:
    assert [job["run_id"] for job in run("jobs", "--dag-id", "nightly", "-o", "json").json] == ["run-3", "run-1"]
    assert [job["run_id"] for job in run("jobs", "--limit", "1", "-o", "json").json] == ["run-3"]
    limited = run("jobs", "--dag-id", "nightly", "--limit", "1", "-o", "json").json
    assert [job["run_id"] for job in limited] == ["run-3"]
    assert run("jobs", "--dag-id", "none", "-o", "json").json == []
    assert run("jobs", "--limit", "0").code == 1


@pytest.mark.parametrize("output", ["table", "plain", "yaml", "json"])
def test_every_format_of_airflow_s_own_is_there(ledger: Ledger, run: Run, output: str) -> None:
    for words in (("jobs",), ("job", job_id(ledger)), ("unknown", job_id(ledger))):
        ran = run(*words, "-o", output)
        assert (ran.code, ran.err) == (0, f"Ledger: {ledger.description}\n")
        assert ran.out.strip()


def test_a_job_shows_its_counts_and_reasons(ledger: Ledger, run: Run) -> None:
    [reported] = run("job", job_id(ledger), "-o", "json").json
    assert (reported["organisation"], reported["sources"], reported["requests"]) == ("shop", ["a.csv"], 1)
    assert (reported["accepted"], reported["unknown"], reported["revocable"], reported["revoked_since"]) == (2, 3, 2, 0)
    assert reported["reasons"][0]["rows"] == 2
    table = run("job", job_id(ledger)).out
    assert "2 x send: no reply within 60 s" in table


def test_unknown_rows_are_listed_for_a_person(ledger: Ledger, run: Run) -> None:
    listed = run("unknown", job_id(ledger), "-o", "json").json
    assert [(row["row"], row["customer_id"], row["badge_meta_id"]) for row in listed] == [
        (row, CUSTOMERS[row], BADGE) for row in UNKNOWN
    ]
    assert listed[0]["earn_event_date"] == "2025-01-15T12:00:00+00:00"
    assert (listed[0]["request_id"], listed[0]["message"]) == ("request of run-1", "no reply within 60 s")


@pytest.mark.parametrize("output", ["table", "plain"])
def test_api_texts_cannot_control_the_terminal(ledger: Ledger, run: Run, output: str) -> None:
    out = run("unknown", job_id(ledger), "-o", output).out
    assert "\x07" not in out
    assert "\x1b[2J" not in out
    assert "HTTP 502" in out


def test_customers_appear_only_on_request(ledger: Ledger, run: Run) -> None:
    reported = [
        run("jobs"),
        run("jobs", "-o", "json"),
        run("job", job_id(ledger)),
        run("job", job_id(ledger), "-o", "yaml"),
    ]
    assert not any(str(customer) in ran.out for ran in reported for customer in CUSTOMERS.values())


def test_an_errors_file_is_replaced(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "errors.csv"
    target.write_text("of yesterday")
    ran = run("errors", job_id(ledger), "--output", str(target))
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [f"3 rows that were not accepted: {target}", "The import failed: 0 refused, 3 unknown, 0 not sent"],
    )
    with target.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [(row["n"], row["state"], row["badge_meta_id"]) for row in rows] == [
        (str(row), "unknown", BADGE) for row in UNKNOWN
    ]
    assert [path.name for path in tmp_path.iterdir() if "errors" in path.name] == ["errors.csv"]


def test_an_unwritable_file_is_one_line(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "no folder" / "errors.csv"
    ran = run("errors", job_id(ledger), "--output", str(target))
    assert (ran.code, ran.out) == (1, "")
    reason = f"there is no folder {target.parent}. Make it first"
    assert ran.err.splitlines()[1:] == [f"{target} cannot be written: {reason}"]


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
def test_a_missing_job_is_one_line(ledger: Ledger, run: Run, words: tuple[str, ...]) -> None:
    ran = run(*words)
    which, said = ran.err.splitlines()
    assert (ran.code, ran.out, which) == (1, "", f"Ledger: {ledger.description}")
    assert "holds no job 'none-such'" in said
