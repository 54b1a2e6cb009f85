"""Rows that were granted elsewhere, on both databases."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest

from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.seeding import SeedPlan
from airflow_provider_capillary.exceptions import LeaseLostError
from airflow_provider_capillary.ledger.facts import Intent, IntentConflictError, Job, JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.seeding import Seed
from tests.integration.ledger.backends import Backend

BADGES = ("5eed0000bad9e00000000001", "5eed0000bad9e00000000002")
EARNED = 1_740_000_000


def badges(first: int, count: int, badge: int = 0) -> EarnedBadges:
    numbers = list(range(first, first + count))
    return EarnedBadges(numbers, [BADGES[badge]] * count, numbers, [EARNED] * count, [0] * count)


def opened(ledger: Ledger, run: str) -> Job:
    return ledger.open_job(JobScope("d", "t", run), JobPlan("org", "host", "f", 10, {}))


def seed(first: int, count: int, badge: int = 0) -> Seed:
    rows = badges(first, count, badge)
    return Seed(rows, [f"{number:024x}" for number in rows.row_numbers], "a person")


def test_seeded_rows_are_accepted_with_their_ids(ledger: Ledger) -> None:
    job = opened(ledger, "1")
    assert ledger.seed(job, seed(1, 2_500)) == Counter({SeedPlan.NOTE: 2_500})
    assert ledger.seed(job, seed(2_001, 1_000)) == Counter({SeedPlan.HELD: 500, SeedPlan.NOTE: 500})
    rows = [row for page in ledger.rows(job.job_id) for row in page]
    assert len(rows) == 3_000
    assert {(row.state, row.proof) for row in rows} == {("accepted", "seed")}
    assert all(row.earned_badge_id == f"{row.badge.customer_id:024x}" for row in rows)


def test_an_import_can_claim_none_of_them(ledger: Ledger) -> None:
    ledger.seed(opened(ledger, "1"), seed(1, 10))
    importing = opened(ledger, "2")
    for unseen in (True, False):
        with pytest.raises(IntentConflictError):
            ledger.record(importing, [Intent(badges(10, 2), "f", "r", 1, unseen=unseen)])


def test_a_row_noted_by_an_import_stays_there(backend: Backend, ledger: Ledger) -> None:
    with closing(backend.open()) as other:
        importing = opened(other, "2")
        other.record(importing, [Intent(badges(3, 2), "f", "r", 1)])
        found = ledger.seed(opened(ledger, "1"), seed(1, 10))
        assert found == Counter({SeedPlan.NOTE: 8, SeedPlan.IN_FLIGHT: 2, SeedPlan.SETTLE: 0})


def test_a_seed_without_its_lease_notes_nothing(ledger: Ledger) -> None:
    job = opened(ledger, "1")
    ledger.finish_job(job, "failed", None)
    with pytest.raises(LeaseLostError):
        ledger.seed(job, seed(1, 1))
    assert ledger.counts(job) == {}
