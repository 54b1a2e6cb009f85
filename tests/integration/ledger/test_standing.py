"""What the ledger says of a job that did not come to its end, and of the jobs of a run."""

from __future__ import annotations

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Issues, Job
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend
from .building import badge, begin, bring_to, claim, issue, plan, scope


def test_a_job_whose_lease_is_over_is_dead(backend: Backend, ledger: Ledger, job: Job) -> None:
    living = ledger.job(job.job_id)
    assert living.state == "open"
    assert 0 < living.lease_left <= LEASE_SECONDS
    backend.pass_time(LEASE_SECONDS + 1)
    assert (ledger.job(job.job_id).state, ledger.job(job.job_id).lease_left) == ("dead", 0)
    assert [one.state for one in ledger.jobs()] == ["dead"]
    begin(ledger)
    assert ledger.job(job.job_id).state == "open"


def test_a_dead_jobs_rows_are_counted(backend: Backend, ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.ACCEPTED, badge(1), badge(2))
    bring_to(ledger, job, RowState.UNKNOWN, badge(3))
    claim(ledger, job, badge(4))
    ledger.record(job, [Issues([issue(5, RowState.INVALID), issue(6, RowState.REJECTED)])])
    backend.pass_time(LEASE_SECONDS + 1)
    assert not ledger.job(job.job_id).has_account
    assert ledger.standing(job.job_id) == {
        "rows_read": 10,
        "accepted": 2,
        "already_accepted": 0,
        "rejected": 1,
        "invalid": 1,
        "unknown": 2,
        "not_sent": 4,
        "batches": 3,
    }


def test_an_earlier_summary_does_not_speak_for_a_dead_try(backend: Backend, ledger: Ledger, job: Job) -> None:
    claim(ledger, job, badge(1))
    ledger.finish_job(job, "failed", {"rows_read": 10, "not_sent": 10})
    begin(ledger)
    backend.pass_time(LEASE_SECONDS + 1)
    assert not ledger.job(job.job_id).has_account
    resting = ledger.settlements.take_stock(job.job_id)
    assert ledger.job(job.job_id).summary is None
    (rows,) = ledger.settlements.unproven(job.job_id)
    assert len(rows) == 1
    assert resting.key == job.key


def test_a_runs_jobs_are_the_latest_per_part(ledger: Ledger, job: Job) -> None:
    parts = [ledger.open_job(scope(map_index=index), plan()) for index in (1, 0)]
    cleared = ledger.open_job(scope(map_index=1, max_tries=1), plan())
    begin(ledger, "another run")
    found = ledger.jobs_of_run("nightly", "2026-01-01")
    assert [one.job_id for one in found] == [job.job_id, parts[1].job_id, cleared.job_id]
    assert [one.map_index for one in found] == [-1, 0, 1]
    assert ledger.jobs_of_run("nightly", "2026-01-01", "another task") == []
    assert len(ledger.jobs_of_run("nightly", "2026-01-01", "import_badges")) == 3
