"""Short ways to write what a job records in its ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import (
    GrantedRow,
    Intent,
    Job,
    JobPlan,
    JobScope,
    LedgerRow,
    Outcome,
    RowChange,
    RowIssue,
    UnprovenRow,
)
from airflow_provider_capillary.ledger.ledger import Ledger

EARNED = 1_700_000_000
GOLD = "a1" * 12
SILVER = "b2" * 12


def badge(
    row: int, *, customer: int | None = None, name: str = GOLD, earned: int = EARNED, occurrence: int = 1
) -> EarnedBadge:
    """One row; rows of one number are the same row."""
    return EarnedBadge(row, name, customer or 1_000 + row, earned, earned + 86_400, occurrence)


def scope(run: str = "2026-01-01", **other: Any) -> JobScope:
    return JobScope("nightly", "import_badges", run, **other)


def plan(
    organisation: str = "acme",
    *,
    host: str = "api.example.com",
    dataset: str = "fingerprint",
    settings: Mapping[str, str] | None = None,
) -> JobPlan:
    return JobPlan(organisation, host, dataset, 10, settings or {"timestamp_format": "epoch_seconds"}, ("a.parquet",))


def begin(ledger: Ledger, run: str = "2026-01-01", **of_plan: Any) -> Job:
    """Open the job of a run."""
    return ledger.open_job(scope(run), plan(**of_plan))


def intent(*badges: EarnedBadge, once: bool = False, attempt: int = 1) -> Intent:
    return Intent(EarnedBadges.of(badges), "body", f"request-{badges[0].row_number}", attempt, once)


def claim(ledger: Ledger, job: Job, *badges: EarnedBadge, once: bool = False) -> int:
    """Note the intent to send the rows in one batch; give the batch's key."""
    (batch,) = ledger.record(job, [intent(*badges, once=once)])
    return batch


def outcome(batch: int, state: RowState, *badges: EarnedBadge, issues: tuple[RowIssue, ...] = ()) -> Outcome:
    if state is RowState.ACCEPTED:
        return Outcome(batch, "PER_ROW", 200, (), issues, badges, ["65" * 12] * len(badges))
    return Outcome(batch, "PER_ROW", 200, [RowChange(b, state) for b in badges], issues)


def bring_to(ledger: Ledger, job: Job, state: RowState, *badges: EarnedBadge) -> int:
    """Claim the rows and let them come to a state; give the batch's key."""
    batch = claim(ledger, job, *badges)
    if state is not RowState.INTENT:
        ledger.record(job, [outcome(batch, state, *badges)])
    return batch


def issue(row: int, state: RowState = RowState.INVALID, message: str = "no", **other: Any) -> RowIssue:
    return RowIssue(row, state, "validate", message, "a.csv", row + 1, {"customer_id": row}, **other)


def held(ledger: Ledger, job: Job, row: EarnedBadge) -> Held | None:
    """What the ledger holds of exactly this identity."""
    found = ledger.find(job, [row]).get((row.customer_id, row.badge_meta_id), [])
    return next((one for one in found if one.occurrence == row.occurrence), None)


def state(ledger: Ledger, job: Job, row: EarnedBadge) -> RowState | None:
    one = held(ledger, job, row)
    return one.state if one else None


def rows_of(ledger: Ledger, *job_ids: str) -> dict[int, LedgerRow]:
    """The rows of some jobs, or of all, by row number."""
    every = job_ids or [job.job_id for job in ledger.jobs(1_000)]
    return {row.badge.row_number: row for job_id in every for page in ledger.rows(job_id) for row in page}


def states(ledger: Ledger, *job_ids: str) -> dict[int, str]:
    """The state of each row."""
    return {number: row.state.value for number, row in sorted(rows_of(ledger, *job_ids).items())}


def ids(ledger: Ledger, *job_ids: str) -> dict[int, str | None]:
    """The id of each row."""
    return {number: row.earned_badge_id for number, row in sorted(rows_of(ledger, *job_ids).items())}


def unproven(ledger: Ledger, job_id: str) -> list[UnprovenRow]:
    """The rows of a job without proof, by row number."""
    return sorted(
        (row for page in ledger.settlements.unproven(job_id) for row in page), key=lambda row: row.badge.row_number
    )


def granted(ledger: Ledger, job_id: str) -> list[GrantedRow]:
    """The rows of a job that can be revoked, by row number."""
    return sorted(
        (row for page in ledger.revocations.granted(job_id) for row in page), key=lambda row: row.badge.row_number
    )
