"""What a person says and does about a ledger, through Airflow's own command line and its database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badge import organisation_digest
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger

from ..conftest import AirflowProcess
from .conftest import Run, imported


def shadow(organisation: str) -> str:
    return f"AIRFLOW_VAR_CAPILLARY_LEDGER_WITNESS_{organisation_digest(organisation).upper()}"


def witnesses(process: AirflowProcess, organisation: str) -> int:
    """How many Variables of Airflow's database are the organisation's witness."""
    key = f"capillary_ledger_witness_{organisation_digest(organisation)}"
    [(count,)] = process.rows("SELECT count(*) FROM variable WHERE key = ?", key)
    return int(count)


def end_jobs(ledger: Ledger) -> None:
    """End the job that has just begun, and whose process lives elsewhere."""
    [job] = [job for job in ledger.jobs() if job.state == "open"]
    ledger.finish_job(Job(3, job.job_id, 1, 1, resumed=False), "failed", None)


def test_accepting_a_ledger_shows_expected_and_found(
    ledger: Ledger, run: Run, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    name = tmp_path.name
    first = run("ledger", "accept", "--organisation", name, "--yes")
    assert first.code == 0, first.err
    assert "Expected: any ledger" in first.out
    assert ledger.ledger_id in first.out
    assert witnesses(airflow_process, name.upper()) == 1
    second = run("ledger", "accept", "--organisation", name, "--yes")
    assert f"Expected: ledger {ledger.ledger_id} at {ledger.description}" in second.out


def test_nothing_is_accepted_without_a_word(
    ledger: Ledger, run: Run, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    ran = run("ledger", "accept", "--organisation", tmp_path.name)
    assert (ran.code, "add --yes" in ran.err) == (1, True)
    assert witnesses(airflow_process, tmp_path.name) == 0


def test_a_variable_that_shadows_the_witness_is_named(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    ran = run("ledger", "accept", "--organisation", tmp_path.name, "--yes", env={shadow(tmp_path.name): "x"})
    assert (ran.code, "AIRFLOW_VAR_" in ran.err) == (1, True)


def test_a_copied_file_keeps_identity_and_is_sealed(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    end_jobs(ledger)
    target = tmp_path / "copy.db"
    ran = run("ledger", "copy", "books", str(target), books=False)
    assert ran.code == 0, ran.err
    assert "The source is sealed" in ran.out
    with closing(Ledger(f"sqlite:///{target}")) as copy:
        assert (copy.ledger_id, len(copy.jobs())) == (ledger.ledger_id, 3)
    sealed = run("resolve", "none-such", "--as", "accepted")
    assert (sealed.code, "is sealed: it was copied to" in sealed.err) == (1, True)
    assert run("jobs", "-o", "json").code == 0  # it can still be read


def test_a_backup_never_replaces_a_file(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    assert run("ledger", "backup", str(file)).code == 0
    with closing(Ledger(f"sqlite:///{file}")) as copy:
        assert [job.job_id for job in copy.jobs()] == [job.job_id for job in ledger.jobs()]
    again = run("ledger", "backup", str(file))
    assert (again.code, "is there already" in again.err) == (1, True)


def test_renamed_organisations_keep_their_witness(
    ledger: Ledger, run: Run, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    name = tmp_path.name
    imported(ledger, "other", "run-9", first_customer=5_000)
    end_jobs(ledger)
    assert "is known from now on" in run("organisations", "add", "second").out
    assert run("ledger", "accept", "--organisation", "shop", "--yes").code == 0
    renamed = run("organisations", "rename", "SHOP", name)
    assert renamed.code == 0, renamed.err
    listed: list[dict[str, Any]] = run("organisations", "-o", "json").json
    assert [(one["organisation"], one["holds_grants"]) for one in listed] == sorted([("second", False), (name, True)])
    assert (witnesses(airflow_process, "shop"), witnesses(airflow_process, name)) == (0, 1)


@pytest.mark.parametrize("words", [("add",), ("rename", "a"), ("list", "a"), ("rename", "none such", "b")], ids=str)
def test_organisations_that_make_no_sense_are_refused(ledger: Ledger, run: Run, words: tuple[str, ...]) -> None:
    ran = run("organisations", *words)
    assert (ran.code, ran.out) == (1, "")
    assert [one.name for one in ledger.organisations()] == ["shop"]
