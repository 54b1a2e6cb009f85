"""What the reports tell: per job and in total, as plain facts that any form of report can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, TOP_REASONS, Reason, UnaccountedRowsError
from airflow_provider_capillary.ledger.base import JobRecord, RowIssue

#: The states in which a row is reported: everything but accepted.
REPORTED_STATES = (RowState.REJECTED, RowState.INVALID, RowState.UNKNOWN, RowState.NOT_SENT)
#: Different reasons or badges that are kept apart; data in the API's messages must not fill the memory.
MOST_KEPT_APART = 1_000
_OTHERS = "(others)"


class BadgeProblems(msgspec.Struct, frozen=True):
    """Rows of one badge that were not accepted. ``badge_meta_id`` is ``None`` where the row names no valid badge."""

    badge_meta_id: str | None
    rejected: int
    invalid: int
    unknown: int
    not_sent: int


class Problems(msgspec.Struct, frozen=True):
    """Rows that were not accepted: by state, the most frequent reasons, and by badge, most rows first."""

    rows: int
    by_state: Mapping[str, int]
    reasons: tuple[Reason, ...]
    by_badge: tuple[BadgeProblems, ...]


class JobFacts(msgspec.Struct, frozen=True):
    """One job. Times are ISO 8601, UTC. ``counts`` is ``None`` for a job that runs or has died: nobody knows yet."""

    job_id: str
    organisation: str
    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    state: str
    dry_run: bool
    started_at: str
    finished_at: str | None
    sources: tuple[str, ...]
    counts: Mapping[str, int] | None
    problems: Problems


class Total(msgspec.Struct, frozen=True):
    """All jobs together; the counts are of those ``counted``, the problems of all."""

    jobs: int
    counted: int
    counts: Mapping[str, int]
    problems: Problems


class ReportFacts(msgspec.Struct, frozen=True):
    """All that a report tells."""

    total: Total
    jobs: tuple[JobFacts, ...]
    ledger: str  #: where the account is kept, without credentials


class ProblemTally:
    """Counts issues in memory that does not grow with them."""

    def __init__(self) -> None:
        self._states: Counter[RowState] = Counter()
        self._reasons: Counter[tuple[str, int | None, str]] = Counter()
        self._badges: dict[str | None, Counter[RowState]] = {}

    def add(self, issue: RowIssue) -> None:
        """Count one row."""
        self._states[issue.state] += 1
        reason = (issue.stage, issue.code, issue.message[:120])
        if reason not in self._reasons and len(self._reasons) >= MOST_KEPT_APART:
            reason = (issue.stage, issue.code, _OTHERS)
        self._reasons[reason] += 1
        badge = issue.badge_meta_id
        if badge not in self._badges and len(self._badges) >= MOST_KEPT_APART:
            badge = _OTHERS
        self._badges.setdefault(badge, Counter())[issue.state] += 1

    def problems(self) -> Problems:
        """What was counted; equal counts stand in a fixed order."""
        reasons = sorted(self._reasons.items(), key=lambda pair: (-pair[1], str(pair[0])))
        badges = sorted(self._badges.items(), key=lambda pair: (-pair[1].total(), str(pair[0])))
        return Problems(
            rows=self._states.total(),
            by_state={state.value: self._states[state] for state in REPORTED_STATES},
            reasons=tuple(Reason(*key, rows) for key, rows in reasons[:TOP_REASONS]),
            by_badge=tuple(
                BadgeProblems(badge, *(states[state] for state in REPORTED_STATES)) for badge, states in badges
            ),
        )


def job_facts(job: JobRecord, problems: Problems) -> JobFacts:
    """Join what the job's summary says with what its issues say."""
    return JobFacts(
        job_id=job.job_id,
        organisation=job.organisation,
        dag_id=job.dag_id,
        task_id=job.task_id,
        run_id=job.run_id,
        map_index=job.map_index,
        state=job.state,
        dry_run=bool((job.summary or {}).get("dry_run", False)),
        started_at=_iso(job.started_at),
        finished_at=None if job.finished_at is None else _iso(job.finished_at),
        sources=job.sources,
        counts=None if job.summary is None else _counts(job.job_id, job.summary),
        problems=problems,
    )


def total_of(jobs: list[JobFacts], problems: Problems) -> Total:
    """Add up; the sums come out because those of every job do."""
    counted = [job.counts for job in jobs if job.counts is not None]
    names = ("rows_read", *(state.value for state in FINAL_STATES), "requests", "batches")
    counts = {name: sum(one[name] for one in counted) for name in names}
    return Total(jobs=len(jobs), counted=len(counted), counts=counts, problems=problems)


def _counts(job_id: str, summary: Mapping[str, Any]) -> dict[str, int]:
    read = int(summary["rows_read"])
    counts = {state.value: int(summary[state.value]) for state in FINAL_STATES}
    if sum(counts.values()) != read:
        raise UnaccountedRowsError(f"job {job_id}: rows_read={read}, but {sum(counts.values())} rows are accounted for")
    rest = {name: int(summary.get(name, 0)) for name in ("requests", "batches")}
    return {"rows_read": read, **counts, **rest}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
