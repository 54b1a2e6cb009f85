"""What is reported of rows: durable before it returns, all or nothing, and never against the table of states."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    IntentConflictError,
    Issues,
    Job,
    Note,
    Outcome,
)
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend
from .building import (
    EARNED,
    GOLD,
    SILVER,
    badge,
    begin,
    bring_to,
    claim,
    held,
    intent,
    issue,
    outcome,
    state,
)


def content(backend: Backend) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a ledger holds of rows, as another connection sees it."""
    tables = (
        "capillary_earned_badge",
        "capillary_batch",
        "capillary_odd_row",
        "capillary_row_issue",
        "capillary_badge",
    )
    with backend.look() as connection:
        return {name: [tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}"))] for name in tables}


def test_a_recorded_intent_is_visible(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    with backend.look() as connection:
        rows = connection.execute(sa.text("SELECT batch_id, state FROM capillary_row")).all()
        noted = connection.execute(sa.text("SELECT row_count, fingerprint, request_id FROM capillary_batch")).all()
    assert [tuple(row) for row in rows] == [(batch, "intent")] * 2
    assert [tuple(row) for row in noted] == [(2, "body", "request-1")]


@pytest.mark.parametrize("conflict_comes", ["first", "last"])
def test_notes_commit_together_or_not_at_all(backend: Backend, ledger: Ledger, job: Job, conflict_comes: str) -> None:
    batch = claim(ledger, job, badge(1))
    claim(ledger, begin(ledger, "another run"), badge(2))
    before = content(backend)
    notes: list[Note] = [
        outcome(batch, RowState.ACCEPTED, badge(1), issues=(issue(1),)),
        Issues([issue(7)]),
        intent(badge(3, name=SILVER)),
        intent(badge(4), badge(2)),
    ]
    with pytest.raises(IntentConflictError):
        ledger.record(job, notes if conflict_comes == "last" else notes[::-1])
    assert content(backend) == before


def test_batches_come_in_the_order_of_intents(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(9))
    notes: list[Note] = [
        intent(badge(2)),
        outcome(batch, RowState.ACCEPTED, badge(9)),
        intent(badge(1)),
        Issues([issue(5)]),
    ]
    second, first = ledger.record(job, notes)
    assert [held(ledger, job, badge(row)).batch for row in (2, 1)] == [second, first]  # type: ignore[union-attr]
    assert state(ledger, job, badge(9)) is RowState.ACCEPTED
    assert [one.row_number for one in ledger.issues(job.job_id)] == [5]


def test_a_row_is_freed_and_claimed_in_one_commit(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1))
    (again,) = ledger.record(job, [outcome(batch, RowState.PLANNED, badge(1)), intent(badge(1), attempt=2)])
    found = held(ledger, job, badge(1))
    assert found is not None
    assert (found.state, found.batch) == (RowState.INTENT, again)


def test_an_impossible_outcome_is_a_defect(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    notes = [outcome(batch, RowState.ACCEPTED, badge(1)), outcome(batch, RowState.INVALID, badge(2))]
    with pytest.raises(IntegrityError):
        ledger.record(job, notes)
    assert ledger.counts(job) == {RowState.INTENT: 2}


@pytest.mark.parametrize("end", [RowState.ACCEPTED, RowState.REJECTED, RowState.PLANNED])
def test_a_batchs_outcome_is_never_overwritten(
    ledger: Ledger, job: Job, end: RowState, caplog: pytest.LogCaptureFixture
) -> None:
    batch = bring_to(ledger, job, end, badge(1))
    # one exception: a row that is proven to be granted is not sent again
    stays = RowState.ACCEPTED if end is RowState.PLANNED else end
    for late in (RowState.ACCEPTED, RowState.REJECTED, RowState.PLANNED, RowState.UNKNOWN):
        ledger.record(job, [outcome(batch, late, badge(1))])
        assert state(ledger, job, badge(1)) is stays
    assert "too late for 1 rows" in caplog.text


def test_an_earlier_batchs_outcome_spares_resent_rows(ledger: Ledger, job: Job) -> None:
    early = bring_to(ledger, job, RowState.PLANNED, badge(1))
    claim(ledger, job, badge(1))
    ledger.record(job, [outcome(early, RowState.ACCEPTED, badge(1))])
    assert state(ledger, job, badge(1)) is RowState.INTENT


# ----------------------------------------------------------------------------------------------- who may claim a row


@pytest.mark.parametrize("now", [RowState.INTENT, RowState.ACCEPTED, RowState.UNKNOWN])
@pytest.mark.parametrize("who", ["another job", "the same job"])
def test_a_row_perhaps_applied_cannot_be_claimed(ledger: Ledger, job: Job, now: RowState, who: str) -> None:
    bring_to(ledger, job, now, badge(1))
    claimant = job if who == "the same job" else begin(ledger, "another run")
    with pytest.raises(IntentConflictError):
        claim(ledger, claimant, badge(1))
    found = held(ledger, job, badge(1))
    assert found is not None
    assert (found.job, found.state) == (job.key, now)


@pytest.mark.parametrize("now", [RowState.PLANNED, RowState.REJECTED])
@pytest.mark.parametrize("who", ["another job", "the same job"])
def test_a_row_proven_absent_can_be_claimed(ledger: Ledger, job: Job, now: RowState, who: str) -> None:
    bring_to(ledger, job, now, badge(1))
    claimant, number = (job, 1) if who == "the same job" else (begin(ledger, "another run"), 8)
    batch = claim(ledger, claimant, badge(number, customer=badge(1).customer_id))
    found = held(ledger, claimant, badge(1))
    assert found is not None
    assert (found.job, found.row_number, found.state, found.batch) == (claimant.key, number, RowState.INTENT, batch)


def test_a_job_sends_no_repeat_of_a_refused_row(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.REJECTED, badge(1))
    with pytest.raises(IntentConflictError):
        claim(ledger, job, badge(8, customer=badge(1).customer_id))
    found = held(ledger, job, badge(1))
    assert found is not None
    assert (found.row_number, found.state) == (1, RowState.REJECTED)


# -- a badge that a customer may have once, whatever its date


@pytest.mark.parametrize("now", [RowState.INTENT, RowState.ACCEPTED, RowState.UNKNOWN])
def test_once_per_customer_refuses_a_second_badge(ledger: Ledger, job: Job, now: RowState) -> None:
    bring_to(ledger, job, now, badge(1, customer=7))
    later = badge(2, customer=7, earned=EARNED + 86_400)
    for claimant in (job, begin(ledger, "another run")):
        with pytest.raises(IntentConflictError):
            claim(ledger, claimant, badge(9), later, once=True)
        assert held(ledger, claimant, badge(9)) is None
    claim(ledger, job, later)  # without the rule it is another row


@pytest.mark.parametrize("now", [RowState.PLANNED, RowState.REJECTED])
def test_once_per_customer_ignores_absent_badges(ledger: Ledger, job: Job, now: RowState) -> None:
    bring_to(ledger, job, now, badge(1, customer=7))
    later = begin(ledger, "another run")
    claim(ledger, later, badge(2, customer=7, earned=EARNED + 86_400), once=True)
    assert (ledger.counts(job), ledger.counts(later)) == ({now: 1}, {RowState.INTENT: 1})


def test_once_per_customer_a_refused_job_tries_no_other(ledger: Ledger, job: Job) -> None:
    """Which of the two rows is sent would depend on how many rows were looked up together."""
    bring_to(ledger, job, RowState.REJECTED, badge(1, customer=7))
    with pytest.raises(IntentConflictError):
        claim(ledger, job, badge(2, customer=7, earned=EARNED + 86_400), once=True)
    assert ledger.counts(job) == {RowState.REJECTED: 1}


def test_once_per_customer_concerns_only_its_badge(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1, customer=7), once=True)
    ledger.record(job, [outcome(batch, RowState.PLANNED, badge(1, customer=7))])
    claim(ledger, job, badge(1, customer=7), badge(2, customer=7, name=SILVER), badge(3, customer=8), once=True)
    assert ledger.counts(job) == {RowState.INTENT: 3}


def test_once_per_customer_holds_within_a_commit(ledger: Ledger, job: Job) -> None:
    first, second = badge(1, customer=7), badge(2, customer=7, earned=EARNED + 86_400)
    with pytest.raises(IntentConflictError):
        ledger.record(job, [intent(first, once=True), intent(second, once=True)])
    with pytest.raises(ValueError, match="two rows of one identity"):
        claim(ledger, job, first, second, once=True)
    assert ledger.counts(job) == {}


# -- what makes two rows the same badge


def test_identity_is_the_same_across_jobs(ledger: Ledger) -> None:
    first = begin(ledger, "in one batch", dataset="one part", settings={"timestamp_format": "epoch_seconds"})
    bring_to(ledger, first, RowState.ACCEPTED, badge(1), badge(2), badge(3))
    second = begin(ledger, "one by one", dataset="three parts", settings={"timestamp_format": "iso_inline"})
    for row in (3, 2, 1):
        with pytest.raises(IntentConflictError):
            claim(ledger, second, badge(row + 100, customer=badge(row).customer_id))
        found = held(ledger, second, badge(row + 100, customer=badge(row).customer_id))
        assert found is not None
        assert (found.job, found.state) == (first.key, RowState.ACCEPTED)


@pytest.mark.parametrize(
    "other",
    [
        badge(1, customer=8),
        badge(1, customer=7, name=SILVER),
        badge(1, customer=7, earned=EARNED + 1),
        badge(1, customer=7, occurrence=2),
    ],
    ids=["customer", "badge", "earn instant", "occurrence"],
)
def test_each_part_of_the_identity_counts(ledger: Ledger, job: Job, other: Any) -> None:
    bring_to(ledger, job, RowState.ACCEPTED, badge(1, customer=7))
    claim(ledger, job, other)
    assert ledger.counts(job) == {RowState.ACCEPTED: 1, RowState.INTENT: 1}


def test_organisations_do_not_share_rows(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.ACCEPTED, badge(1))
    ledger.add_organisation("other")
    other = begin(ledger, organisation="other", host="elsewhere.example.com")
    assert state(ledger, other, badge(1)) is None
    claim(ledger, other, badge(1))
    assert state(ledger, job, badge(1)) is RowState.ACCEPTED


def test_two_batches_cannot_hold_one_row(ledger: Ledger, job: Job) -> None:
    with pytest.raises(IntentConflictError):
        ledger.record(job, [intent(badge(1)), intent(badge(2), badge(1))])
    assert ledger.counts(job) == {}


def test_one_identity_twice_in_a_batch_is_a_defect(ledger: Ledger, job: Job) -> None:
    with pytest.raises(ValueError, match="two rows of one identity"):
        claim(ledger, job, badge(1), badge(2, customer=badge(1).customer_id))
    assert ledger.counts(job) == {}


def test_the_largest_numbers_are_kept(ledger: Ledger, job: Job) -> None:
    row = badge(2**40, customer=2**63 - 1, earned=4_102_444_799)
    claim(ledger, job, row)
    found = held(ledger, job, row)
    assert found is not None
    assert (found.row_number, found.earned_at) == (2**40, 4_102_444_799)


def test_a_rolled_back_badge_is_not_mixed_up(backend: Backend, ledger: Ledger, job: Job) -> None:
    claim(ledger, job, badge(1))
    with pytest.raises(IntentConflictError):
        ledger.record(job, [intent(badge(2, name=SILVER)), intent(badge(3, name=SILVER), badge(1))])
    other = backend.open()
    bronze = "c3" * 12
    claim(other, begin(other, "another run"), badge(2, name=bronze))
    claim(ledger, job, badge(2, name=SILVER))
    with backend.look() as connection:
        rows = connection.execute(
            sa.text("SELECT b.badge_meta_id FROM capillary_earned_badge e JOIN capillary_badge b ON b.id = e.badge_id")
        )
        assert sorted(rows.scalars()) == sorted([GOLD, SILVER, bronze])


def test_empty_notes_are_harmless(ledger: Ledger, job: Job) -> None:
    assert ledger.record(job, []) == []
    assert ledger.find(job, []) == {}
    ledger.record(job, [Issues([]), Adoption([]), Outcome(1, "", None, [])])
    assert ledger.counts(job) == {}
