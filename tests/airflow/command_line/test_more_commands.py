"""Undo, report, connection test and a customer's rows from a shell."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.server import running_simulator

from .conftest import BADGE, CUSTOMERS, Run, job_id, states


def test_a_revocation_needs_confirmation(ledger: Ledger, run: Run) -> None:
    ran = run("revoke", job_id(ledger), "-o", "json")
    [counted] = ran.json
    assert (ran.code, counted["dry_run"], counted["to_revoke"], counted["revoked"]) == (0, True, 2, 0)
    assert "nothing was revoked" in ran.err
    assert ledger.grants(job_id(ledger)).revoked == 0


def test_a_report_is_written_into_a_folder(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    ran = run("report", job_id(ledger), "--output", str(tmp_path / "for a person"))
    assert ran.code == 0
    assert {file.name for file in (tmp_path / "for a person").iterdir()} == {
        *("errors.csv", "summary.json", "report.html"),
    }


def test_all_rows_of_one_customer_are_listed(ledger: Ledger, run: Run) -> None:
    listed = run("customer", str(CUSTOMERS[1]), "-o", "json").json
    assert [(row["badge_meta_id"], row["state"], row["run_id"]) for row in listed] == [(BADGE, "accepted", "run-1")]
    assert listed[0]["earned_at"] == "2025-01-15T12:00:00+00:00"
    assert run("customer", "42", "-o", "json").json == []


def test_freeing_all_rows_needs_a_yes(ledger: Ledger, run: Run) -> None:
    job = job_id(ledger)
    refused = run("resolve", job, "--as", "resend")
    assert refused.code == 1
    assert "nothing was changed" in refused.err
    assert len(states(ledger, job)) == 3
    assert run("resolve", job, "--as", "resend", "--yes").code == 0
    assert states(ledger, job) == {}


def test_a_table_in_a_pipe_breaks_no_id(ledger: Ledger, run: Run) -> None:
    assert job_id(ledger) in run("jobs").out


def test_a_connection_is_tried_from_a_shell(run: Run) -> None:
    with running_simulator() as simulator:
        tried = run("test", "shop", books=False, env={"AIRFLOW_CONN_SHOP": simulator.airflow_connection("basic")})
    assert (tried.code, tried.err) == (0, "")
    refused = run("test", "none_such", books=False)
    assert refused.code == 1
