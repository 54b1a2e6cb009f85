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


def test_an_intent_is_seen_by_others_when_record_returns(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    with backend.look() as connection:
        rows = connection.execute(sa.text("SELECT batch_id, state FROM capillary_row")).all()
        noted = connection.execute(sa.text("SELECT row_count, fingerprint, request_id FROM capillary_batch")).all()
    assert [tuple(row) for row in rows] == [(batch, "intent")] * 2
    assert [tuple(row) for row in noted] == [(2, "body", "request-1")]


@pytest.mark.parametrize("conflict_comes", ["first", "last"])
def test_notes_told_together_are_committed_all_or_not_at_all(
    backend: Backend, ledger: Ledger, job: Job, conflict_comes: str
) -> None:
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


def test_notes_told_together_give_the_batches_in_the_order_of_their_intents(
    backend: Backend, ledger: Ledger, job: Job
) -> None:
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


def test_a_row_may_be_proven_absent_and_claimed_anew_in_one_go(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1))
    (again,) = ledger.record(job, [outcome(batch, RowState.PLANNED, badge(1)), intent(badge(1), attempt=2)])
    found = held(ledger, job, badge(1))
    assert found is not None
    assert (found.state, found.batch) == (RowState.INTENT, again)


def test_an_outcome_against_the_table_is_refused_as_a_defect_and_changes_nothing(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    notes = [outcome(batch, RowState.ACCEPTED, badge(1)), outcome(batch, RowState.INVALID, badge(2))]
    with pytest.raises(IntegrityError):
        ledger.record(job, notes)
    assert ledger.counts(job) == {RowState.INTENT: 2}


@pytest.mark.parametrize("end", [RowState.ACCEPTED, RowState.REJECTED, RowState.PLANNED])
def test_an_outcome_is_never_overwritten_by_a_later_one_of_its_batch(
    ledger: Ledger, job: Job, end: RowState, caplog: pytest.LogCaptureFixture
) -> None:
    batch = bring_to(ledger, job, end, badge(1))
    # one exception: a row that is proven to be granted is not sent again
    stays = RowState.ACCEPTED if end is RowState.PLANNED else end
    for late in (RowState.ACCEPTED, RowState.REJECTED, RowState.PLANNED, RowState.UNKNOWN):
        ledger.record(job, [outcome(batch, late, badge(1))])
        assert state(ledger, job, badge(1)) is stays
    assert "too late for 1 rows" in caplog.text


def test_an_outcome_of_an_earlier_batch_does_not_touch_a_row_that_was_sent_anew(ledger: Ledger, job: Job) -> None:
    early = bring_to(ledger, job, RowState.PLANNED, badge(1))
    claim(ledger, job, badge(1))
    ledger.record(job, [outcome(early, RowState.ACCEPTED, badge(1))])
    assert state(ledger, job, badge(1)) is RowState.INTENT


# ----------------------------------------------------------------------------------------------- who may claim a row


@pytest.mark.parametrize("now", [RowState.INTENT, RowState.ACCEPTED, RowState.UNKNOWN])
@pytest.mark.parametrize("who", ["another job", "the same job"])
def test_a_row_that_may_be_at_the_api_cannot_be_claimed(ledger: Ledger, job: Job, now: RowState, who: str) -> None:
    bring_to(ledger, job, now, badge(1))
    claimant = job if who == "the same job" else begin(ledger, "another run")
    with pytest.raises(IntentConflictError):
        claim(ledger, claimant, badge(1))
    found = held(ledger, job, badge(1))
    assert found is not None
    assert (found.job, found.state) == (job.key, now)


@pytest.mark.parametrize("now", [RowState.PLANNED, RowState.REJECTED])
@pytest.mark.parametrize("who", ["another job", "the same job"])
def test_a_row_that_is_proven_not_to_be_at_the_api_can_be_claimed(
    ledger: Ledger, job: Job, now: RowState, who: str
) -> None:
    bring_to(ledger, job, now, badge(1))
    claimant, number = (job, 1) if who == "the same job" else (begin(ledger, "another run"), 8)
    batch = claim(ledger, claimant, badge(number, customer=badge(1).customer_id))
    found = held(ledger, claimant, badge(1))
    assert found is not None
    assert (found.job, found.row_number, found.state, found.batch) == (claimant.key, number, RowState.INTENT, batch)


def test_a_repeat_of_a_refused_row_is_not_sent_by_the_same_job(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.REJECTED, badge(1))
    with pytest.raises(IntentConflictError):
        claim(ledger, job, badge(8, customer=badge(1).customer_id))
    found = held(ledger, job, badge(1))
    assert found is not None
    assert (found.row_number, found.state) == (1, RowState.REJECTED)


def test_a_row_keeps_its_identity_across_jobs_that_differ_in_all_but_the_rows(ledger: Ledger) -> None:
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
def test_rows_that_differ_in_one_part_of_the_identity_are_different_rows(ledger: Ledger, job: Job, other: Any) -> None:
    bring_to(ledger, job, RowState.ACCEPTED, badge(1, customer=7))
    claim(ledger, job, other)
    assert ledger.counts(job) == {RowState.ACCEPTED: 1, RowState.INTENT: 1}


def test_the_same_row_of_another_organisation_is_another_row(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.ACCEPTED, badge(1))
    ledger.add_organisation("other")
    other = begin(ledger, organisation="other", host="elsewhere.example.com")
    assert state(ledger, other, badge(1)) is None
    claim(ledger, other, badge(1))
    assert state(ledger, job, badge(1)) is RowState.ACCEPTED


def test_two_batches_told_together_cannot_hold_the_same_row(ledger: Ledger, job: Job) -> None:
    with pytest.raises(IntentConflictError):
        ledger.record(job, [intent(badge(1)), intent(badge(2), badge(1))])
    assert ledger.counts(job) == {}


def test_two_rows_of_one_identity_in_one_batch_are_refused_as_a_defect(ledger: Ledger, job: Job) -> None:
    with pytest.raises(ValueError, match="two rows of one identity"):
        claim(ledger, job, badge(1), badge(2, customer=badge(1).customer_id))
    assert ledger.counts(job) == {}


def test_the_largest_numbers_that_the_api_knows_are_kept(ledger: Ledger, job: Job) -> None:
    row = badge(2**40, customer=2**63 - 1, earned=4_102_444_799)
    claim(ledger, job, row)
    found = held(ledger, job, row)
    assert found is not None
    assert (found.row_number, found.earned_at) == (2**40, 4_102_444_799)


def test_a_badge_whose_first_intent_was_rolled_back_is_not_mixed_up_with_another(
    backend: Backend, ledger: Ledger, job: Job
) -> None:
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


def test_an_empty_intent_and_no_notes_at_all_are_no_trouble(ledger: Ledger, job: Job) -> None:
    assert ledger.record(job, []) == []
    assert ledger.find(job, []) == {}
    ledger.record(job, [Issues([]), Adoption([]), Outcome(1, "", None, [])])
    assert ledger.counts(job) == {}
