"""Unknown rows, settled from the command line by the word of the person who calls."""

from __future__ import annotations

import getpass

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger

from .conftest import Run, begin, job_id, states


@pytest.mark.parametrize(
    ("word", "counts", "reported"),
    [
        ("accepted", {"accepted": 3, "resend": 0}, "accepted"),
        ("resend", {"accepted": 0, "resend": 3}, "not_sent"),
    ],
)
def test_a_word_settles_rows_and_is_kept(
    ledger: Ledger, run: Run, word: str, counts: dict[str, int], reported: str
) -> None:
    job, other = job_id(ledger), job_id(ledger, "run-2")
    [said] = run("resolve", job, "--as", word, "--yes", "-o", "json").json
    assert said == {"job_id": job, "unknown_before": 3, **counts, "unknown": 0}
    assert (states(ledger, job), len(states(ledger, other))) == ({}, 3)
    issues = list(ledger.issues(job))
    assert [issue.state.value for issue in issues] == [reported] * 3
    assert f"user {getpass.getuser()} on " in issues[0].message
    again = run("resolve", job, "--as", word, "--yes", "-o", "json")
    assert (again.code, again.json[0]["unknown_before"]) == (0, 0)


@pytest.mark.parametrize("rows", [("--row", "3", "5"), ("--row", "3", "--row", "5")], ids=["one flag", "two flags"])
def test_a_word_can_be_limited_to_rows(ledger: Ledger, run: Run, rows: tuple[str, ...]) -> None:
    job = job_id(ledger)
    ran = run("resolve", job, "--as", "accepted", *rows, "-o", "json")
    assert (ran.code, ran.json[0]["accepted"], ran.json[0]["unknown"]) == (0, 2, 1)
    assert states(ledger, job) == {4: "unknown"}


def test_a_row_that_is_not_unknown_settles_nothing(ledger: Ledger, run: Run) -> None:
    ran = run("resolve", job_id(ledger), "--as", "resend", "--yes", "--row", "1", "3")
    assert (ran.code, ran.out) == (1, "")
    assert "no unknown row of number 1" in ran.err
    assert len(states(ledger, job_id(ledger))) == 3


@pytest.mark.parametrize("words", [(), ("--as", "granted"), ("--as", "accepted", "--row", "three")], ids=str)
def test_an_unknown_word_is_wrong_use(ledger: Ledger, run: Run, words: tuple[str, ...]) -> None:
    assert run("resolve", job_id(ledger), *words).code == 2
    assert len(states(ledger, job_id(ledger))) == 3


def test_a_living_import_keeps_its_rows(ledger: Ledger, run: Run) -> None:
    job = begin(ledger, "nightly", "run-4")
    ran = run("resolve", job.job_id, "--as", "accepted")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith(f"job {job.job_id} is running")
    assert "Traceback" not in ran.err
