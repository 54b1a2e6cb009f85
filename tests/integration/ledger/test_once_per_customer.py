"""A badge that a customer may have once: the ledger refuses another one, whatever its date."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import (
    IntentConflictError,
    Job,
)
from airflow_provider_capillary.ledger.ledger import Ledger

from .building import (
    EARNED,
    SILVER,
    badge,
    begin,
    bring_to,
    claim,
    held,
    intent,
    outcome,
)


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
