"""Prepares what the page shows of one job: the same view as the report, and what a running job waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Reason
from airflow_provider_capillary.ledger.facts import JobRecord
from airflow_provider_capillary.ledger.reader import ISSUES_LOOKED_AT, IssueCount, JobWaits, LedgerReader
from airflow_provider_capillary.plugins.badge_imports.rendering import clock
from airflow_provider_capillary.reports.html_view import ReportView, arrange
from airflow_provider_capillary.reports.report_facts import (
    REPORTED_STATES,
    BadgeIssues,
    IssueCounts,
    IssueTally,
    JobFacts,
    Notes,
    ReportFacts,
    Total,
    job_facts,
    total_of,
)

TOP_REASONS = 10
MOST_BADGES = 200
_SURE_AFTER_SECONDS = 5.0  #: an estimate before that is a guess
_VERIFY_AFTER = 60.0  #: the import's default


class Running(msgspec.Struct, frozen=True):
    """How far a running job is."""

    done: int
    rows: int
    share: int  #: per cent
    seconds_left: int | None
    waits_for: str  #: empty if it does not wait


class BadgeLine(msgspec.Struct, frozen=True):
    """Rows of one badge, accepted ones too. ``badge_meta_id`` is ``None`` for rows that name no valid badge."""

    badge_meta_id: str | None
    name: str  #: empty if it is not known
    accepted: int
    problems: BadgeIssues

    @property
    def others(self) -> int:
        """Rows that were not accepted."""
        return sum(int(getattr(self.problems, state.value)) for state in REPORTED_STATES)


def badges_of(reader: LedgerReader, job: JobRecord, view: ReportView) -> list[BadgeLine]:
    """The job's rows by badge: those with rows that were not accepted first, then by rows."""
    accepted = {} if job.dry_run else dict(reader.accepted_by_badge(job.job_id))
    problems = {one.badge_meta_id: one for one in view.facts.total.problems.by_badge}
    ids: set[str | None] = {*accepted, *problems}
    names = reader.badge_names([badge for badge in ids if badge is not None])
    lines = [
        BadgeLine(
            badge,
            names.get(badge or "", ""),
            accepted.get(badge or "", 0),
            problems.get(badge) or BadgeIssues(badge, 0, 0, 0, 0),
        )
        for badge in ids
    ]
    lines.sort(key=lambda one: (-one.others, -one.accepted, one.name, str(one.badge_meta_id)))
    return lines[:MOST_BADGES]


def view_of(reader: LedgerReader, job: JobRecord, progress: Mapping[str, Any] | None = None) -> ReportView:
    """The job as the report shows it. The page asks every few seconds, so it takes few statements, over counts only.

    :param progress: the task's last progress value. Only it has the rows that were accepted before this job.
    """
    counted = reader.issue_counts(job.job_id)
    standing = None if job.has_account else reader.standing(job.job_id)
    facts = job_facts(job, IssueTally())
    problems = _problems(reader, job, counted)
    if job.state == "open" and standing is not None:
        ended = _ended(standing, reader.waits(job.job_id).in_flight, progress, job)
        # for a job that has not ended, the view reads its counts from here
        problems = msgspec.structs.replace(problems, by_state={**problems.by_state, **ended})
        facts = msgspec.structs.replace(facts, counts=None)
    elif standing is not None:  # it died before it wrote its summary
        facts = msgspec.structs.replace(facts, counts={**standing, "requests": 0})
    facts = msgspec.structs.replace(facts, problems=problems, notes=_notes(reader, job, counted))
    return arrange(ReportFacts(_total(facts), (facts,), reader.description))


def running(
    reader: LedgerReader, job: JobRecord, view: ReportView, progress: Mapping[str, Any] | None = None
) -> Running | None:
    """How far a running job is, when it may end, and what it waits for; ``None``: it does not run.

    :param progress: the task's last progress value. Only it has the instant until which the task waits.
    """
    if job.state != "open":
        return None
    waits = reader.waits(job.job_id)
    ends = view.jobs[0].ends
    done = sum(ends[state] for state in ("accepted", "already_accepted", "rejected", "invalid"))
    seconds = waits.now - job.started_at
    left = None
    if done and done < job.rows and seconds > _SURE_AFTER_SECONDS:
        left = round(seconds / done * (job.rows - done))
    return Running(
        done,
        job.rows,
        100 * done // job.rows if job.rows else 100,
        left,
        _waits_for(waits, ends, _until(job, progress)),
    )


def _until(job: JobRecord, progress: Mapping[str, Any] | None) -> float | None:
    """When the task will read back, from its progress value."""
    until = (progress or {}).get("until")
    if not isinstance(until, str) or (progress or {}).get("job_id") != job.job_id:
        return None
    try:
        return datetime.fromisoformat(until).timestamp()
    except ValueError:
        return None


def _waits_for(waits: JobWaits, ends: Mapping[str, int], until: float | None) -> str:
    if until is not None and until > waits.now:
        return f"the time to read back rows without proof: {clock(until)[11:19]} UTC"
    if waits.turn is not None and waits.turn > waits.now + 1:
        return f"its next request, at {clock(waits.turn)[11:19]} UTC, because of the connection's budget of requests"
    if waits.unproven_since is not None and not waits.in_flight and ends["unknown"]:
        at = clock(waits.unproven_since + _VERIFY_AFTER)[11:19]
        return f"rows without proof, which it reads back at {at} UTC or later"
    return ""


def _ended(
    standing: Mapping[str, int], in_flight: int, progress: Mapping[str, Any] | None, job: JobRecord
) -> dict[str, int]:
    """Rows of a running job by their states; all other rows have no outcome yet."""
    ended = {state: standing[state] for state in ("accepted", "rejected", "invalid", "unknown")}
    ended["unknown"] = max(0, ended["unknown"] - in_flight)
    known = (progress or {}).get("counts", {}) if (progress or {}).get("job_id") == job.job_id else {}
    before = known.get("already_accepted", 0)
    ended["already_accepted"] = max(0, min(before, job.rows - sum(ended.values())))
    return ended


def _problems(reader: LedgerReader, job: JobRecord, counted: list[IssueCount]) -> IssueCounts:
    states: Counter[RowState] = Counter()
    badges: dict[str | None, Counter[RowState]] = {}
    for one in counted:
        if one.state in REPORTED_STATES:
            states[one.state] += one.rows
            badges.setdefault(one.badge_meta_id, Counter())[one.state] += one.rows
    ranked = sorted(badges.items(), key=lambda pair: (-pair[1].total(), str(pair[0])))[:MOST_BADGES]
    return IssueCounts(
        rows=states.total(),
        by_state={state.value: states[state] for state in REPORTED_STATES},
        reasons=_top_reasons(reader, job, states.total()),
        by_badge=tuple(BadgeIssues(badge, *(found[state] for state in REPORTED_STATES)) for badge, found in ranked),
    )


def _top_reasons(reader: LedgerReader, job: JobRecord, rows: int) -> tuple[Reason, ...]:
    if not rows:
        return ()
    if rows > ISSUES_LOOKED_AT and job.has_account and job.summary is not None:
        # the import has counted all of them; what was settled since is among them still
        return msgspec.convert(job.summary.get("reasons", ()), tuple[Reason, ...])
    return _reasons(reader, job, REPORTED_STATES)


def _notes(reader: LedgerReader, job: JobRecord, counted: list[IssueCount]) -> Notes:
    accepted = [one for one in counted if one.state is RowState.ACCEPTED]
    rows = sum(one.rows for one in accepted)
    twice = sum(one.rows for one in accepted if one.stage != "verify")
    return Notes(rows, twice, _reasons(reader, job, (RowState.ACCEPTED,)) if rows else ())


def _reasons(reader: LedgerReader, job: JobRecord, states: tuple[RowState, ...]) -> tuple[Reason, ...]:
    found: Counter[tuple[str, int | None, str]] = Counter()
    for (state, stage, code, message), rows in reader.reasons(job.job_id).items():
        if state in states:
            found[(stage, code, message)] += rows
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return tuple(Reason(*key, rows) for key, rows in ranked[:TOP_REASONS])


def _total(job: JobFacts) -> Total:
    total = total_of([job], IssueTally())
    return msgspec.structs.replace(total, problems=job.problems, notes=job.notes)


class Line(msgspec.Struct, frozen=True):
    """A job in a list."""

    job: JobRecord
    name: str
    pill: str  #: state, or attention
    sentence: str
    counts: Mapping[str, int]
    seconds: int | None


def line_of(reader: LedgerReader, job: JobRecord) -> Line:
    """One line of a list: from the job's summary, or from the ledger if it wrote none."""
    counts = dict(job.summary or {}) if job.has_account else reader.standing(job.job_id)
    to_look_at = sum(int(counts.get(state.value, 0)) for state in REPORTED_STATES)
    name = job.task_id if job.map_index < 0 else f"{job.task_id} [{job.map_index}]"
    seconds = None if job.finished_at is None else max(0, int(job.finished_at - job.started_at))
    return Line(job, name, job.state, _sentence(job, counts, to_look_at), counts, seconds)


def _sentence(job: JobRecord, counts: Mapping[str, int], to_look_at: int) -> str:
    if job.state == "open":
        return f"Running: {int(counts.get('accepted', 0)):,} of {job.rows:,} rows accepted so far"
    if job.state == "dead":
        return f"Died: {int(counts['unknown']):,} rows in doubt, {int(counts['not_sent']):,} not sent"
    need = f"{to_look_at:,} {'needs' if to_look_at == 1 else 'need'} attention"
    if job.dry_run:
        unsent = f"Dry run of {_rows(job.rows)}: nothing was sent"
        # a dry run sends no row, so rows that were not sent need no attention
        refused = to_look_at - int(counts.get("not_sent", 0))
        return f"{unsent}; {refused:,} would be refused" if refused else unsent
    if not job.rows:
        return "The dataset was empty"
    sentence = f"Of {_rows(job.rows)} {need}" if to_look_at else "The one row is accepted"
    if not to_look_at and job.rows > 1:
        sentence = f"All {job.rows:,} rows are accepted"
    back = taken_back(job)
    return f"{sentence}; {badges(back)} taken back since" if back else sentence


def taken_back(job: JobRecord) -> int:
    """How many badges of the job were taken back since it ended."""
    return int((job.summary or {}).get("revoked", 0))


def badges(number: int) -> str:
    """A number of badges as text: ``1 badge``, ``2,000 badges``."""
    return f"{number:,} {'badge' if number == 1 else 'badges'}"


def _rows(number: int) -> str:
    return f"{number:,} {'row' if number == 1 else 'rows'}"
