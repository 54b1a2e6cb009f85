"""Jobs: what a scope resumes, what a retry may not change, and who may write for a job at a time."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError, JobMismatchError, LeaseLostError
from airflow_provider_capillary.ledger.facts import Adoption, Issues, Job, JobRecord, JobScope, Note, Outcome, RowChange
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS, this_process
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend, PostgresBackend, SqliteBackend
from .building import badge, begin, bring_to, claim, held, intent, issue, outcome, plan, scope, state

ELSEWHERE = "another-machine.4026531836/1/1"


def stolen(backend: Backend, ledger: Ledger, job: Job) -> Job:
    """The same job, taken by another copy, because the first was silent for too long."""
    backend.pass_time(LEASE_SECONDS + 1)
    thief = begin(ledger)
    assert thief.job_id == job.job_id
    return thief


# ------------------------------------------------------------------------------------------------ what a scope resumes


def test_the_same_scope_resumes_the_job(ledger: Ledger, job: Job) -> None:
    claim(ledger, job, badge(1))
    ledger.finish_job(job, "failed", None)
    again = begin(ledger)
    assert (again.key, again.job_id, again.organisation_key) == (job.key, job.job_id, job.organisation_key)
    assert (job.resumed, again.resumed) == (False, True)
    assert again.fence == job.fence + 1
    assert ledger.counts(again) == {RowState.UNKNOWN: 1}


@pytest.mark.parametrize(
    "other",
    [
        scope(max_tries=1),
        scope(dry_run=True),
        scope(map_index=0),
        scope("another run"),
        JobScope("nightly", "another task", "2026-01-01"),
        JobScope("another dag", "import_badges", "2026-01-01"),
    ],
    ids=["max_tries", "dry_run", "map_index", "run_id", "task_id", "dag_id"],
)
def test_a_scope_that_differs_is_a_new_job(ledger: Ledger, job: Job, other: JobScope) -> None:
    claim(ledger, job, badge(1))
    found = ledger.open_job(other, plan(dataset="another one", settings={"timestamp_format": "iso_inline"}))
    assert not found.resumed
    assert found.job_id != job.job_id
    assert ledger.counts(found) == {}
    assert ledger.counts(job) == {RowState.INTENT: 1}


def test_another_organisation_makes_a_new_job(ledger: Ledger, job: Job) -> None:
    other = begin(ledger, organisation="other")
    assert not other.resumed
    assert other.job_id != job.job_id


def test_a_job_id_is_the_same_for_all(backend: Backend, ledger: Ledger, job: Job) -> None:
    ledger.finish_job(job, "failed", None)
    assert begin(backend.open()).job_id == job.job_id


def test_a_dead_trys_intents_become_unknown(ledger: Ledger, job: Job) -> None:
    ends = (RowState.INTENT, RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN, RowState.PLANNED)
    for row, end in enumerate(ends, start=1):
        bring_to(ledger, job, end, badge(row))
    other = begin(ledger, "another run")
    claim(ledger, other, badge(9))
    ledger.finish_job(job, "failed", None)
    again = begin(ledger)
    assert [state(ledger, again, badge(row)) for row in range(1, 6)] == [RowState.UNKNOWN, *ends[1:]]
    assert state(ledger, other, badge(9)) is RowState.INTENT
    unproven = held(ledger, again, badge(1))
    assert unproven is not None
    assert ledger.ages([unproven.batch])[unproven.batch].is_cut_off  # the time to verify counts from the intent


def test_a_new_try_drops_issues_that_no_longer_hold(ledger: Ledger, job: Job) -> None:
    ends = (RowState.REJECTED, RowState.UNKNOWN, RowState.ACCEPTED)
    for row, end in enumerate(ends, start=1):
        bring_to(ledger, job, end, badge(row))
    bring_to(ledger, job, RowState.ACCEPTED, badge(7))
    # reported as rejected without ever being sent; and reported as unknown before it was found to be accepted
    reported = (*ends, RowState.INVALID, RowState.NOT_SENT, RowState.REJECTED, RowState.UNKNOWN)
    ledger.record(job, [Issues([issue(row, one) for row, one in enumerate(reported, start=1)])])
    other = begin(ledger, "another run")
    ledger.record(other, [Issues([issue(1)])])
    ledger.finish_job(job, "failed", None)
    assert len(list(ledger.issues(job.job_id))) == len(reported)
    begin(ledger)
    assert [one.state for one in ledger.issues(job.job_id)] == list(ends)
    assert len(list(ledger.issues(other.job_id))) == 1


def test_a_resent_row_is_no_longer_unknown(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.UNKNOWN, badge(1))
    ledger.record(job, [Issues([issue(1, RowState.UNKNOWN)])])
    unproven = held(ledger, job, badge(1))
    assert unproven is not None
    ledger.record(job, [Outcome(unproven.batch, "", None, [RowChange(badge(1), RowState.PLANNED)])])
    assert list(ledger.issues(job.job_id)) == []


# --------------------------------------------------------------------------------------- what a retry may not change


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dataset": "other"}, "the dataset"),
        ({"settings": {"timestamp_format": "iso_inline"}}, "timestamp_format"),
        ({"settings": {"timestamp_format": "epoch_seconds", "timezone": "UTC"}}, "timezone"),
        ({"settings": {"timezone": "UTC"}}, "timestamp_format, timezone"),
        ({"dataset": "other", "settings": {"timestamp_format": "x"}}, "the dataset, timestamp_format"),
    ],
    ids=["dataset", "changed setting", "added setting", "removed setting", "both"],
)
def test_a_changed_retry_is_refused_by_name(ledger: Ledger, job: Job, changed: dict[str, Any], named: str) -> None:
    claim(ledger, job, badge(1))
    ledger.record(job, [Issues([issue(2)])])
    ledger.finish_job(job, "failed", None)
    with pytest.raises(JobMismatchError, match=f"but {named} changed") as refused:
        ledger.open_job(scope(), plan(**changed))
    assert job.job_id in str(refused.value)
    assert state(ledger, job, badge(1)) is RowState.INTENT
    assert len(list(ledger.issues(job.job_id))) == 1
    assert begin(ledger).fence == job.fence + 1  # the refused try took nothing


def test_settings_may_come_in_another_order(ledger: Ledger) -> None:
    job = ledger.open_job(scope(), plan(settings={"a": "1", "b": "2"}))
    ledger.finish_job(job, "failed", None)
    assert ledger.open_job(scope(), plan(settings={"b": "2", "a": "1"})).resumed


# ------------------------------------------------------------------------------------------------------- the lease


def test_a_lease_is_stolen_only_after_its_end(backend: Backend, ledger: Ledger, job: Job) -> None:
    claim(ledger, job, badge(1))
    with pytest.raises(JobIsRunningError, match=job.job_id) as refused:
        begin(backend.open())
    assert refused.value.retry_after == pytest.approx(LEASE_SECONDS, abs=20)
    backend.pass_time(40)
    with pytest.raises(JobIsRunningError) as refused:
        begin(backend.open())
    assert refused.value.retry_after == pytest.approx(LEASE_SECONDS - 40, abs=20)
    assert state(ledger, job, badge(1)) is RowState.INTENT
    backend.pass_time(21)
    assert begin(backend.open()).fence == job.fence + 1


@pytest.mark.parametrize("sign_of_life", ["heartbeat", "intent", "outcome", "issues"])
def test_every_sign_of_life_renews_the_lease(backend: Backend, ledger: Ledger, job: Job, sign_of_life: str) -> None:
    batch = claim(ledger, job, badge(1))
    backend.pass_time(LEASE_SECONDS - 20)
    if sign_of_life == "heartbeat":
        ledger.renew_lease(job)
    else:
        notes: dict[str, Note] = {
            "intent": intent(badge(2)),
            "outcome": outcome(batch, RowState.ACCEPTED, badge(1)),
            "issues": Issues([issue(3)]),
        }
        ledger.record(job, [notes[sign_of_life]])
    backend.pass_time(LEASE_SECONDS - 20)
    with pytest.raises(JobIsRunningError):
        begin(ledger)


def test_an_unstolen_ended_lease_may_be_renewed(backend: Backend, ledger: Ledger, job: Job) -> None:
    backend.pass_time(10 * LEASE_SECONDS)
    claim(ledger, job, badge(1))
    with pytest.raises(JobIsRunningError):
        begin(ledger)


def test_an_old_owner_writes_only_outcomes(backend: Backend, ledger: Ledger, job: Job) -> None:
    other = begin(ledger, "another run")
    claim(ledger, other, badge(2))
    unproven = held(ledger, job, badge(2))
    assert unproven is not None
    batch = claim(ledger, job, badge(1))
    thief = stolen(backend, ledger, job)
    accepted = outcome(batch, RowState.ACCEPTED, badge(1))
    for forbidden in (intent(badge(3)), Adoption([(badge(2), unproven)]), Issues([issue(4)])):
        with pytest.raises(LeaseLostError, match=job.job_id):
            ledger.record(job, [accepted, forbidden])
    with pytest.raises(LeaseLostError):
        ledger.renew_lease(job)
    assert ledger.counts(thief) == {RowState.UNKNOWN: 1}
    assert ledger.counts(other) == {RowState.INTENT: 1}
    assert list(ledger.issues(job.job_id)) == []
    with pytest.raises(JobIsRunningError):  # what the old owner tried did not shorten the thief's lease
        begin(ledger)


def test_the_old_owners_outcome_is_still_recorded(backend: Backend, ledger: Ledger, job: Job) -> None:
    rows = [badge(row) for row in (1, 2, 3, 4)]
    batch = claim(ledger, job, *rows)
    thief = stolen(backend, ledger, job)
    reported = (RowState.ACCEPTED, RowState.REJECTED, RowState.PLANNED, RowState.UNKNOWN)
    for row, one in zip(rows, reported, strict=True):
        ledger.record(job, [outcome(batch, one, row)])
    # refused, and unknown by now: proven not to be there, and the thief will hear the refusal for itself
    expected = [RowState.ACCEPTED, RowState.PLANNED, RowState.PLANNED, RowState.UNKNOWN]
    assert [state(ledger, thief, row) for row in rows] == expected


def test_an_old_owners_issues_are_dropped(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    thief = stolen(backend, ledger, job)
    ledger.record(thief, [Issues([issue(1, RowState.UNKNOWN, "reported by the new owner")])])
    reported = (issue(1, RowState.REJECTED, "reported by the old owner"), issue(2, RowState.REJECTED))
    ledger.record(job, [Outcome(batch, "PER_ROW", 200, [], reported)])
    assert [one.message for one in ledger.issues(job.job_id)] == ["reported by the new owner"]


def test_the_old_owner_cannot_finish_the_job(backend: Backend, ledger: Ledger, job: Job) -> None:
    thief = stolen(backend, ledger, job)
    with pytest.raises(LeaseLostError):
        ledger.finish_job(job, "finished", {"accepted": 1})
    assert (ledger.job(job.job_id).state, ledger.job(job.job_id).summary) == ("open", None)
    claim(ledger, thief, badge(1))


def test_a_finished_job_takes_only_late_findings(ledger: Ledger, job: Job) -> None:
    batch = bring_to(ledger, job, RowState.UNKNOWN, badge(1))
    ledger.finish_job(job, "finished", None)
    with pytest.raises(LeaseLostError):
        claim(ledger, job, badge(2))
    found = issue(1, RowState.ACCEPTED, "found by reading back")
    ledger.record(job, [outcome(batch, RowState.ACCEPTED, badge(1), issues=(found,))])
    assert ledger.counts(job) == {RowState.ACCEPTED: 1}
    assert list(ledger.issues(job.job_id)) == [found]
    assert begin(ledger).resumed  # and the finding did not take the lease


@pytest.mark.parametrize("owner", [this_process(), ELSEWHERE], ids=["living here", "elsewhere"])
def test_a_process_not_surely_dead_keeps_its_job(backend: Backend, owner: str) -> None:
    begin(backend.open(owner=owner))
    with pytest.raises(JobIsRunningError):
        begin(backend.open())


# -------------------------------------------------------------------------------------------------------- the clock


def test_sqlite_goes_by_the_clock_it_is_given(sqlite_backend: SqliteBackend) -> None:
    ledger = sqlite_backend.open(clock=lambda: 1_234_567.5)
    job = begin(ledger)
    assert ledger.now() == 1_234_567.5
    assert ledger.job(job.job_id).started_at == 1_234_567.5


def test_sqlite_uses_the_time_of_day_by_default(sqlite_backend: SqliteBackend) -> None:
    assert sqlite_backend.open(clock=None).now() == pytest.approx(time.time(), abs=60)


def test_leases_hold_across_wrong_clocks(postgres_backend: PostgresBackend) -> None:
    behind = postgres_backend.open(clock=lambda: time.time() - 7_200)
    ahead = postgres_backend.open(clock=lambda: time.time() + 7_200)
    assert behind.now() == pytest.approx(ahead.now(), abs=20)
    job = begin(behind)
    with pytest.raises(JobIsRunningError) as refused:
        begin(ahead)
    assert refused.value.retry_after == pytest.approx(LEASE_SECONDS, abs=20)
    batch = claim(behind, job, badge(1))
    found = held(ahead, begin(ahead, "another run"), badge(1))
    assert found is not None
    assert found.job_is_alive
    assert ahead.ages([batch])[batch].seconds == pytest.approx(0, abs=60)


# ------------------------------------------------------------------------------------------------ the end of a job


def test_finishing_keeps_the_summary_and_frees_the_lease(backend: Backend, ledger: Ledger, job: Job) -> None:
    began = ledger.now()
    backend.pass_time(5)
    summary = {"accepted": 3, "reasons": [{"code": 521, "rows": 1}], "text": "é"}
    ledger.finish_job(job, "finished", summary)
    found = ledger.job(job.job_id)
    assert found == JobRecord(
        job_id=job.job_id,
        organisation="acme",
        dag_id="nightly",
        task_id="import_badges",
        run_id="2026-01-01",
        map_index=-1,
        state="finished",
        started_at=pytest.approx(began, abs=20),  # type: ignore[arg-type]
        finished_at=pytest.approx(began + 5, abs=20),  # type: ignore[arg-type]
        rows=10,
        sources=("a.parquet",),
        summary=summary,
        commits=2,
    )
    again = begin(ledger)
    assert ledger.job(job.job_id).state == "open"
    assert ledger.job(job.job_id).finished_at is None
    assert ledger.job(job.job_id).summary == summary  # the last one, until there is another
    ledger.finish_job(again, "failed", None)
    assert (ledger.job(job.job_id).state, ledger.job(job.job_id).summary) == ("failed", None)


def test_a_job_ends_finished_or_failed(ledger: Ledger, job: Job) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        ledger.finish_job(job, "done", None)
    assert ledger.job(job.job_id).state == "open"


def test_jobs_come_latest_first_up_to_a_limit(ledger: Ledger) -> None:
    runs = [f"run {number}" for number in range(4)]
    for run in runs:
        begin(ledger, run)
    assert [job.run_id for job in ledger.jobs()] == runs[::-1]
    assert [job.run_id for job in ledger.jobs(limit=2)] == ["run 3", "run 2"]


def test_a_missing_job_is_a_named_lookup_error(ledger: Ledger) -> None:
    with pytest.raises(LookupError, match="holds no job 'no-such-job'"):
        ledger.job("no-such-job")
    assert ledger.jobs() == []


# ------------------------------------------------------------------------------------------- a budget of requests


def test_request_turns_are_evenly_spaced(backend: Backend, ledger: Ledger) -> None:
    others = backend.open()
    waits = [each.reserve_request("acme", 1) for each in (ledger, others, ledger)]
    assert waits == pytest.approx([0, 60, 120], abs=20)
    assert ledger.reserve_request("other", 1) == 0


def test_idle_time_saves_up_no_requests(backend: Backend, ledger: Ledger) -> None:
    ledger.reserve_request("acme", 1)
    backend.pass_time(3_600)
    waits = [ledger.reserve_request("acme", 1) for _ in range(2)]
    assert waits == pytest.approx([0, 60], abs=20)
