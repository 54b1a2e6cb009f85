"""Collects what a report says, for each job and in total. CSV, JSON and HTML are all made from these facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.core.general_text import general
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, TOP_REASONS, Reason, UnaccountedRowsError
from airflow_provider_capillary.ledger.facts import JobRecord, RowIssue
from airflow_provider_capillary.reports.wording import without_password

#: Rows in these states are reported one by one: all that were not accepted.
REPORTED_STATES = (RowState.REJECTED, RowState.INVALID, RowState.UNKNOWN, RowState.NOT_SENT)
#: So many different reasons or badges are counted apart, because data in the API's messages must not fill the memory.
MOST_KEPT_APART = 1_000
#: So many badges are counted apart for each job of a report about many.
MOST_KEPT_APART_OF_MANY = 100
_OTHERS = "(others)"


class BadgeIssues(msgspec.Struct, frozen=True):
    """Rows of one badge that were not accepted. ``badge_meta_id`` is ``None`` for rows that name no valid badge."""

    badge_meta_id: str | None
    rejected: int
    invalid: int
    unknown: int
    not_sent: int


class IssueCounts(msgspec.Struct, frozen=True):
    """Rows that were not accepted: by state, the most frequent reasons, and by badge, most rows first."""

    rows: int
    by_state: Mapping[str, int]
    reasons: tuple[Reason, ...]
    by_badge: tuple[BadgeIssues, ...]


class Notes(msgspec.Struct, frozen=True):
    """Accepted rows with a note: those found by reading back, and those sent without proof."""

    rows: int
    may_be_granted_twice: int  #: sent again without proof, as ``on_unknown="resend"`` asks
    reasons: tuple[Reason, ...]


class JobFacts(msgspec.Struct, frozen=True):
    """One job. Times are ISO 8601, UTC. ``counts`` is ``None`` while the job runs.

    ``rows`` is the number of rows of the dataset. ``failure`` says why the job is no success as the ledger stands.
    """

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
    rows: int
    counts: Mapping[str, int] | None
    problems: IssueCounts
    notes: Notes
    failure: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it has its final counts. If a job is open again, its counts are those of an earlier try."""
        return self.counts is not None and self.state != "open"


class Total(msgspec.Struct, frozen=True):
    """All jobs together. ``counts`` sums up the ``counted`` jobs, which have ended; problems and notes are of all."""

    jobs: int
    counted: int
    counts: Mapping[str, int]
    problems: IssueCounts
    notes: Notes


class ReportFacts(msgspec.Struct, frozen=True):
    """All that a report says."""

    total: Total
    jobs: tuple[JobFacts, ...]
    ledger: str  #: the ledger's address, without credentials
    badge_names: Mapping[str, str] = {}  #: by ``badgeMetaId``; only badges of this report whose names are known


def is_problem(issue: RowIssue) -> bool:
    """Whether the row was not accepted."""
    return issue.state in REPORTED_STATES


def may_be_twice(issue: RowIssue) -> bool:
    """Whether the row was accepted, but may be granted twice.

    An accepted row has an issue for one of two reasons: a read proved it (stage ``verify``), or it is in doubt.
    """
    return issue.state is RowState.ACCEPTED and issue.stage != "verify"


class IssueTally:
    """Counts issues. Its memory does not grow with their number.

    :param most_badges: so many badges are counted apart; the rows of further ones are counted together.
    """

    def __init__(self, most_badges: int = MOST_KEPT_APART) -> None:
        self._most_badges = most_badges
        self._states: Counter[RowState] = Counter()
        self._may_be_twice = 0
        self._problems: Counter[tuple[str, int | None, str]] = Counter()
        self._notes: Counter[tuple[str, int | None, str]] = Counter()
        self._badges: dict[str | None, Counter[RowState]] = {}

    def add(self, issue: RowIssue) -> None:
        """Count one row."""
        self._states[issue.state] += 1
        if issue.state is RowState.ACCEPTED:
            self._may_be_twice += may_be_twice(issue)
            _count_reason(self._notes, issue)
        elif is_problem(issue):
            _count_reason(self._problems, issue)
            badge = issue.badge_meta_id
            if badge not in self._badges and len(self._badges) >= self._most_badges:
                badge = _OTHERS
            self._badges.setdefault(badge, Counter())[issue.state] += 1

    def problems(self) -> IssueCounts:
        """The counts of rows that were not accepted; equal counts are in a fixed order."""
        by_state = {state.value: self._states[state] for state in REPORTED_STATES}
        badges = sorted(self._badges.items(), key=lambda pair: (-pair[1].total(), str(pair[0])))
        return IssueCounts(
            rows=sum(by_state.values()),
            by_state=by_state,
            reasons=_top(self._problems),
            by_badge=tuple(
                BadgeIssues(badge, *(states[state] for state in REPORTED_STATES)) for badge, states in badges
            ),
        )

    def notes(self) -> Notes:
        """The counts of accepted rows that have an issue."""
        return Notes(self._states[RowState.ACCEPTED], self._may_be_twice, _top(self._notes))


def _count_reason(reasons: Counter[tuple[str, int | None, str]], issue: RowIssue) -> None:
    reason = (issue.stage, issue.code, general(issue.message))
    if reason not in reasons and len(reasons) >= MOST_KEPT_APART:
        reason = (issue.stage, issue.code, _OTHERS)
    reasons[reason] += 1


def _top(reasons: Counter[tuple[str, int | None, str]]) -> tuple[Reason, ...]:
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return tuple(Reason(*key, rows) for key, rows in ranked[:TOP_REASONS])


def job_facts(job: JobRecord, issues: IssueTally, standing: Mapping[str, int] | None = None) -> JobFacts:
    """Join the job's summary with the counts of its issues.

    :param standing: rows by state, from the ledger, for a job that wrote no summary.
    :raises UnaccountedRowsError: its counts do not add up to the rows that it read.
    """
    counted = job.summary if standing is None or job.has_account else standing
    counts = None if counted is None else _counts(job.job_id, counted)
    return JobFacts(
        job_id=job.job_id,
        organisation=job.organisation,
        dag_id=job.dag_id,
        task_id=job.task_id,
        run_id=job.run_id,
        map_index=job.map_index,
        state=job.state,
        dry_run=job.dry_run or bool((job.summary or {}).get("dry_run", False)),
        started_at=_iso(job.started_at),
        finished_at=None if job.finished_at is None else _iso(job.finished_at),
        sources=tuple(map(without_password, job.sources)),
        rows=job.rows,
        counts=counts,
        problems=issues.problems(),
        notes=issues.notes(),
        failure=failure_of(job, counts),
    )


def failure_of(job: JobRecord, counts: Mapping[str, int] | None) -> str | None:
    """Why a job is no success as the ledger stands now, or ``None``. Rows that were settled since count as settled.

    Example: an import failed with 3 unknown rows, and a later read found each of them granted. It is a success now.
    """
    if job.state == "finished":
        return None
    if job.state == "open" or counts is None:
        return "has not ended"
    if job.state == "dead":
        return f"died: {doubt_and_rest(counts)}"
    summary = job.summary or {}
    refused, unknown, not_sent = counts["rejected"] + counts["invalid"], counts["unknown"], counts["not_sent"]
    budgets = {"max_rejected": 0, "max_unknown": 0} | dict(summary.get("budgets", {}))
    over_refused = parse_budget("max_rejected", budgets["max_rejected"]).exceeded(refused, job.rows)
    over_unknown = parse_budget("max_unknown", budgets["max_unknown"]).exceeded(unknown, job.rows)
    if over_refused or over_unknown or (not_sent and not job.dry_run):
        return f"failed: {refused:,} refused, {unknown:,} unknown, {not_sent:,} not sent"
    was_cut_off = job.summary is None
    return None if was_cut_off or summary.get("settled") else "failed"


def doubt_and_rest(counts: Mapping[str, int]) -> str:
    """What a job that died left behind: ``10 in doubt, 49 not sent``."""
    text = f"{counts['unknown']:,} in doubt, {counts['not_sent']:,} not sent"
    refused = counts["rejected"] + counts["invalid"]
    return f"{text}, {refused:,} refused" if refused else text


def total_of(jobs: list[JobFacts], issues: IssueTally) -> Total:
    """Add the jobs up. The total adds up because every job's counts do."""
    counted = [job.counts for job in jobs if job.counts is not None]
    names = ("rows_read", *(state.value for state in FINAL_STATES), "requests", "batches")
    counts = {name: sum(one[name] for one in counted) for name in names}
    return Total(jobs=len(jobs), counted=len(counted), counts=counts, problems=issues.problems(), notes=issues.notes())


def _counts(job_id: str, summary: Mapping[str, Any]) -> dict[str, int]:
    read = int(summary["rows_read"])
    counts = {state.value: int(summary[state.value]) for state in FINAL_STATES}
    if sum(counts.values()) != read:
        raise UnaccountedRowsError(f"job {job_id}: rows_read={read}, but {sum(counts.values())} rows are accounted for")
    rest = {name: int(summary.get(name, 0)) for name in ("requests", "batches")}
    return {"rows_read": read, **counts, **rest}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
