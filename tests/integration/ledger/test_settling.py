"""Rows without proof, settled outside an import: the same on every database, and never against a living job."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError, LeaseLostError, LedgerUnusableError
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    Intent,
    IntentConflictError,
    Issues,
    Job,
    Proof,
    RowEnd,
    Settled,
)
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.server import RunningSimulator

from .backends import Backend
from .building import badge, begin, bring_to, claim, held, intent, issue, outcome, state, states, unproven
from .office import ROWS, Office

BY = "dag nightly, run 7"


def ended(ledger: Ledger, job: Job, **counts: int) -> None:
    """The job comes to its end with a summary of these counts."""
    names = ("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
    reported = {name: counts.get(name, 0) for name in names}
    ledger.finish_job(job, "failed", {"rows_read": sum(reported.values()), **reported, "reasons": []})


def left_unknown(ledger: Ledger, *rows: EarnedBadge, run: str = "2026-01-01") -> Job:
    """A job that has ended, with these rows unknown and reported so."""
    job = begin(ledger, run)
    bring_to(ledger, job, RowState.UNKNOWN, *rows)
    ledger.record(job, [Issues([issue(row.row_number, RowState.UNKNOWN, "no reply") for row in rows])])
    ended(ledger, job, unknown=len(rows))
    return job


def settle(ledger: Ledger, job: Job, state: RowState, *, proof: Proof = Proof.READ) -> list[Settled]:
    rows = [Settled(row, state, "settled", "66" * 12) for row in unproven(ledger, job.job_id)]
    return ledger.settlements.settle(job, rows, proof=proof, by=BY)


def rows_of(backend: Backend, table: str) -> list[dict[str, Any]]:
    with backend.look() as connection:
        return [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()]


@pytest.mark.parametrize(
    ("new", "reported", "count"),
    [(RowState.ACCEPTED, RowState.ACCEPTED, "accepted"), (RowState.PLANNED, RowState.NOT_SENT, "not_sent")],
)
def test_row_issue_and_summary_agree_after_settling(
    backend: Backend, ledger: Ledger, new: RowState, reported: RowState, count: str
) -> None:
    job = left_unknown(ledger, badge(1), badge(2))
    mine = ledger.settlements.take_stock(job.job_id)
    assert len(settle(ledger, mine, new, proof=Proof.PERSON)) == 2

    assert [state(ledger, job, badge(row)) for row in (1, 2)] == [new, new]
    issues = list(ledger.issues(job.job_id))
    assert [(issue.state, issue.stage, issue.message) for issue in issues] == [
        (reported, "verify", "no reply; settled")
    ] * 2
    assert issues[0].original == {"customer_id": 1}
    summary = ledger.job(job.job_id).summary
    assert summary is not None
    assert (summary["unknown"], summary[count], summary["rows_read"]) == (0, 2, 2)
    assert summary["settled"] == {count: 2}
    notes = rows_of(backend, "capillary_settlement")
    assert [(note["row_number"], note["state"], note["proof"], note["settled_by"]) for note in notes] == [
        (1, new.value, "person", BY),
        (2, new.value, "person", BY),
    ]
    assert unproven(ledger, job.job_id) == []
    assert ledger.job(job.job_id).state == "failed"  # as it had ended


def test_freed_rows_can_be_claimed_and_accepted_not(ledger: Ledger) -> None:
    first = left_unknown(ledger, badge(1), run="first")
    second = left_unknown(ledger, badge(2), run="second")
    settle(ledger, ledger.settlements.take_stock(first.job_id), RowState.ACCEPTED)
    settle(ledger, ledger.settlements.take_stock(second.job_id), RowState.PLANNED)
    later = begin(ledger, "later")
    with pytest.raises(IntentConflictError):
        claim(ledger, later, badge(1))
    claim(ledger, later, badge(2))
    found = held(ledger, later, badge(1))
    assert found is not None
    assert found.job == first.key


def test_an_adopted_row_stays_with_its_job(ledger: Ledger) -> None:
    job = left_unknown(ledger, badge(1), badge(2))
    mine = ledger.settlements.take_stock(job.job_id)
    seen = unproven(ledger, job.job_id)
    other = begin(ledger, "later")
    one = held(ledger, other, badge(1))
    assert isinstance(one, Held)
    ledger.record(other, [Adoption([(badge(1), one)])])

    done = ledger.settlements.settle(
        mine, [Settled(row, RowState.PLANNED, "gone") for row in seen], proof=Proof.READ, by=BY
    )

    assert [each.row.badge.row_number for each in done] == [2]
    assert (state(ledger, job, badge(1)), state(ledger, job, badge(2))) == (RowState.UNKNOWN, RowState.PLANNED)
    assert [issue.state for issue in ledger.issues(job.job_id)] == [RowState.UNKNOWN, RowState.NOT_SENT]


def test_a_row_resent_since_the_look_is_not_settled(
    ledger: Ledger,
) -> None:
    """It is unknown again, and of the same job, but of another batch: the read says nothing about that one."""
    job = left_unknown(ledger, badge(1))
    mine = ledger.settlements.take_stock(job.job_id)
    seen = unproven(ledger, job.job_id)
    retry = begin(ledger)
    ledger.record(retry, [outcome(seen[0].batch, RowState.PLANNED, badge(1))])
    again = claim(ledger, retry, badge(1))
    ledger.record(retry, [outcome(again, RowState.UNKNOWN, badge(1))])
    ended(ledger, retry, unknown=1)

    assert ledger.settlements.settle(mine, [Settled(seen[0], RowState.PLANNED, "gone")], proof=Proof.READ, by=BY) == []
    assert state(ledger, job, badge(1)) is RowState.UNKNOWN


def test_a_living_job_is_left_with_its_lease(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.INTENT, badge(1))
    bring_to(ledger, job, RowState.UNKNOWN, badge(2))
    with pytest.raises(JobIsRunningError) as refused:
        ledger.settlements.take_stock(job.job_id)
    assert refused.value.retry_after == pytest.approx(LEASE_SECONDS, abs=5)
    assert (state(ledger, job, badge(1)), state(ledger, job, badge(2))) == (RowState.INTENT, RowState.UNKNOWN)
    ledger.renew_lease(job)  # and it goes on
    claim(ledger, job, badge(3))


def test_an_import_that_continues_keeps_its_rows(ledger: Ledger) -> None:
    job = left_unknown(ledger, badge(1))
    mine = ledger.settlements.take_stock(job.job_id)
    begin(ledger)
    with pytest.raises(JobIsRunningError, match="settles its rows itself"):
        settle(ledger, mine, RowState.ACCEPTED)
    with pytest.raises(JobIsRunningError):
        ledger.settlements.report_ends(mine, [RowEnd(1, RowState.ALREADY_ACCEPTED, "reported anew")])
    assert state(ledger, job, badge(1)) is RowState.UNKNOWN
    assert [issue.state for issue in ledger.issues(job.job_id)] == [RowState.UNKNOWN]


def test_a_dead_jobs_process_can_send_nothing_later(backend: Backend, ledger: Ledger) -> None:
    elsewhere = backend.open(owner="another machine/7/1")
    job = begin(elsewhere)
    batch = claim(elsewhere, job, badge(1), badge(2))
    assert [row.state for row in unproven(ledger, job.job_id)] == [RowState.INTENT] * 2
    backend.pass_time(LEASE_SECONDS + 1)

    mine = ledger.settlements.take_stock(job.job_id)

    rows = unproven(ledger, job.job_id)
    assert [(row.state, row.message, row.batch) for row in rows] == [(RowState.UNKNOWN, None, batch)] * 2
    assert ledger.ages([batch])[batch].is_cut_off
    record = ledger.job(job.job_id)
    assert (record.state, record.summary) == ("failed", None)
    with pytest.raises(LeaseLostError):
        claim(elsewhere, job, badge(3))
    with pytest.raises(LeaseLostError):
        elsewhere.finish_job(job, "finished", {})
    # what it learns of what it had sent is true nevertheless
    elsewhere.record(job, [outcome(batch, RowState.ACCEPTED, badge(1))])
    assert len(settle(ledger, mine, RowState.PLANNED)) == 1
    assert (state(ledger, job, badge(1)), state(ledger, job, badge(2))) == (RowState.ACCEPTED, RowState.PLANNED)
    assert begin(ledger).resumed


def test_taking_stock_twice_changes_nothing_more(ledger: Ledger) -> None:
    job = left_unknown(ledger, badge(1))
    assert ledger.settlements.take_stock(job.job_id) == ledger.settlements.take_stock(job.job_id)
    settle(ledger, ledger.settlements.take_stock(job.job_id), RowState.ACCEPTED)
    before = ledger.job(job.job_id).summary
    assert settle(ledger, ledger.settlements.take_stock(job.job_id), RowState.ACCEPTED) == []
    assert ledger.job(job.job_id).summary == before


@pytest.mark.parametrize("call", ["take_stock", "settle"])
def test_a_missing_job_is_reported(ledger: Ledger, job: Job, call: str) -> None:
    stranger = Job(99, "no such job", job.organisation_key, 1, resumed=True)
    with pytest.raises(LookupError):
        ledger.settlements.take_stock(stranger.job_id) if call == "take_stock" else settle(
            ledger, stranger, RowState.ACCEPTED
        )


def test_each_row_is_settled_by_one_of_two(backend: Backend) -> None:
    rows = [badge(number) for number in range(1, 41)]
    ledger = backend.open()
    job = left_unknown(ledger, *rows)
    line = threading.Barrier(2)

    def settle_all(to: RowState) -> int:
        with closing(backend.open()) as mine:
            stock = mine.settlements.take_stock(job.job_id)
            seen = unproven(mine, job.job_id)
            line.wait(60)
            parts = [seen[start : start + 5] for start in range(0, 40, 5)]
            reported = [[Settled(row, to, "settled") for row in part] for part in parts]
            return sum(len(mine.settlements.settle(stock, part, proof=Proof.READ, by=to.value)) for part in reported)

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(settle_all, [RowState.ACCEPTED, RowState.PLANNED]))
    assert sum(counts) == 40
    notes = rows_of(backend, "capillary_settlement")
    assert sorted(note["row_number"] for note in notes) == list(range(1, 41))
    assert {note["row_number"]: note["state"] for note in notes} == states(ledger)
    summary = ledger.job(job.job_id).summary
    assert summary is not None
    assert (summary["unknown"], summary["accepted"], summary["not_sent"]) == (0, counts[0], counts[1])


def test_what_cannot_be_noted_is_not_settled(backend: Backend, ledger: Ledger) -> None:
    job = left_unknown(ledger, badge(1))
    mine = ledger.settlements.take_stock(job.job_id)
    with backend.look() as connection:
        connection.execute(sa.text("ALTER TABLE capillary_settlement RENAME TO elsewhere"))
    with pytest.raises(LedgerUnusableError):
        settle(ledger, mine, RowState.ACCEPTED)
    assert state(ledger, job, badge(1)) is RowState.UNKNOWN
    assert [issue.state for issue in ledger.issues(job.job_id)] == [RowState.UNKNOWN]


def test_rows_come_in_the_datasets_order(ledger: Ledger) -> None:
    job = left_unknown(ledger, *(badge(number) for number in range(1, 8)))
    pages = list(ledger.settlements.unproven(job.job_id))
    assert [row.badge for page in pages for row in page] == [badge(number) for number in range(1, 8)]


def test_rows_held_elsewhere_are_listed_apart(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.UNKNOWN, badge(1))
    ledger.record(job, [Issues([issue(row, RowState.UNKNOWN) for row in (1, 2, 3)])])
    ended(ledger, job, unknown=3)
    mine = ledger.settlements.take_stock(job.job_id)
    [found] = ledger.settlements.dependent_rows(mine)
    assert [(row.row_number, row.original) for row in found] == [(2, {"customer_id": 2}), (3, {"customer_id": 3})]
    reported = [RowEnd(2, RowState.ALREADY_ACCEPTED, "accepted"), RowEnd(3, RowState.NOT_SENT, "free")]
    assert (ledger.settlements.report_ends(mine, reported), ledger.settlements.report_ends(mine, reported)) == (2, 0)
    summary = ledger.job(job.job_id).summary
    assert summary is not None
    assert [summary[name] for name in ("rows_read", "unknown", "already_accepted", "not_sent")] == [3, 1, 1, 1]


def test_a_retry_reports_freed_rows(ledger: Ledger) -> None:
    """The row will be sent: that it was not is no longer so."""
    job = left_unknown(ledger, badge(1))
    settle(ledger, ledger.settlements.take_stock(job.job_id), RowState.PLANNED)
    retry = begin(ledger)
    assert list(ledger.issues(retry.job_id)) == []
    note: Intent = intent(badge(1))
    assert len(ledger.record(retry, [note])) == 1


@pytest.fixture
def office(backend: Backend, start_capillary_simulator: Callable[..., RunningSimulator]) -> Office:
    return Office(backend, start_capillary_simulator())


@pytest.mark.parametrize("again", ["the same import", "another import"])
@pytest.mark.parametrize("attempt", range(3))
def test_an_import_and_two_reconciliations_share_rows(office: Office, again: str, attempt: int) -> None:
    known = ROWS[0] | {"customerId": 9_100_000}  # a read of it shows that reads show imports
    assert office.run("before", rows=[known]).error is None
    lost = [{"kind": "drop", "at": "after_applying", "every": 2}, {"kind": "drop", "at": "after_reading"}]
    office.simulator.use_faults(lost)
    first = office.run("first", on_unknown="hold", max_unknown="100%")
    office.simulator.use_faults(None)
    assert first.summary.unknown == len(ROWS)
    office.backend.pass_time(3_600)

    with ThreadPoolExecutor(3) as pool:
        run_id = "first" if again == "the same import" else "second"
        later = pool.submit(office.run, run_id, together=True)
        reconciled = [pool.submit(office.reconcile, first.summary.job_id) for _ in range(2)]
        result, others = later.result(120), [one.result(120) for one in reconciled]

    # The import's account added up, or it would have raised; a row that it lost to others is not sent, never lost.
    assert result.summary.rows_read == len(ROWS)
    assert result.summary.unknown == 0
    settled = sum(one.accepted + one.resend for one in others if one is not None)
    assert settled <= len(ROWS)
    final = office.run("third")
    assert final.error is None
    assert office.states() == {"accepted": len(ROWS) + 1}
    granted = Counter(grant.customer_id for grant in office.simulator.store.grants())
    assert granted == {row["customerId"]: 1 for row in [known, *ROWS]}
