"""Arranges the facts of a report for its page: the order, what is folded away, how wide each bar is. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from airflow_provider_capillary.core.reason_table import DRY_RUN, NOT_KNOWN, STATES, Explanation
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.reports.report_facts import (
    REPORTED_STATES,
    BadgeIssues,
    JobFacts,
    ReportFacts,
    doubt_and_rest,
)
from airflow_provider_capillary.reports.wording import share

PLANNED = "planned"  #: passed the checks of a dry run
NOT_ENDED = "not_known"  #: of a job that has not ended

#: Width of a bar in its own units; the page scales it.
BAR = 1_000
_THINNEST = 4  #: so that one row of a million is visible
SHOWN_AT_ONCE = 20  #: of badges and of jobs; the rest is folded away


class Segment(msgspec.Struct, frozen=True):
    """A part of a bar."""

    state: str
    x: int
    width: int
    rows: int


class StateView(msgspec.Struct, frozen=True):
    """One end of rows: how many, their share of the whole, and its texts."""

    state: str
    rows: int
    share: str
    words: Explanation


class BadgeView(msgspec.Struct, frozen=True):
    """Rows of one badge that were not accepted."""

    problems: BadgeIssues
    rows: int
    bar: tuple[Segment, ...]
    name: str = ""  #: empty if it is not known


class JobView(msgspec.Struct, frozen=True):
    """One job, with its own bar."""

    job: JobFacts
    name: str
    needs_attention: bool
    to_mend: int  #: rows for a person to look at
    seconds: int | None
    ends: Mapping[str, int]
    bar: tuple[Segment, ...]


class ReportView(msgspec.Struct, frozen=True):
    """All that the page shows."""

    facts: ReportFacts
    mood: str  #: good, attention, dry or unfinished
    headline: str
    dag: str
    run: str
    organisation: str
    rows: int
    states: tuple[StateView, ...]
    to_do: tuple[StateView, ...]
    bar: tuple[Segment, ...]
    badges: tuple[BadgeView, ...]
    jobs: tuple[JobView, ...]  #: those that need attention first
    not_ended: str  #: text: how many imports have not ended
    died: str  #: text: how many imports died, and what they left
    started_at: str
    finished_at: str | None
    seconds: int | None


def arrange(facts: ReportFacts) -> ReportView:
    """Arrange the facts; the same facts give the same page."""
    jobs = sorted(map(_job_view, facts.jobs), key=_urgency)  # the sort is stable: equal jobs keep their order
    started_at = min(job.started_at for job in facts.jobs)
    ends = [job.finished_at for job in facts.jobs if job.finished_at is not None]
    finished_at = max(ends) if ends and all(job.ended for job in facts.jobs) else None
    counts = Counter[str]()
    for view in jobs:
        counts.update(view.ends)
    states = _states(counts, dry=all(job.dry_run for job in facts.jobs))
    not_ended = _not_ended(sum(not job.ended for job in facts.jobs), len(facts.jobs))
    died = _died(facts)
    mood, headline = _verdict(facts, sum(view.to_mend for view in jobs), not_ended, died)
    return ReportView(
        facts=facts,
        mood=mood,
        headline=headline,
        dag=_one([job.dag_id for job in facts.jobs]),
        run=_one([job.run_id for job in facts.jobs]),
        organisation=_one([job.organisation for job in facts.jobs]),
        rows=counts.total(),
        states=states,
        to_do=tuple(view for view in states if view.rows and view.words.to_do),
        bar=_bar({view.state: view.rows for view in states}),
        badges=_badges(facts.total.problems.by_badge, facts.badge_names),
        jobs=tuple(jobs),
        not_ended=not_ended,
        died=died,
        started_at=started_at,
        finished_at=finished_at,
        seconds=_seconds(started_at, finished_at),
    )


def _one(names: Sequence[str]) -> str:
    others = len(set(names)) - 1
    return f"{names[0]} and {others:,} more" if others else names[0]


def _died(facts: ReportFacts) -> str:
    left = [job.counts for job in facts.jobs if job.state == "dead" and job.counts is not None]
    if not left:
        return ""
    who = "The import" if len(facts.jobs) == 1 else f"{len(left):,} of {len(facts.jobs):,} imports"
    return f"{who} died: {doubt_and_rest({name: sum(one[name] for one in left) for name in left[0]})}"


def _verdict(facts: ReportFacts, to_mend: int, not_ended: str, died: str) -> tuple[str, str]:
    need = f"{to_mend:,} row{' needs' if to_mend == 1 else 's need'} attention"
    if not_ended:
        return "unfinished", f"{not_ended}; {need} so far" if to_mend else not_ended
    if died:
        return "attention", died
    if any(job.dry_run for job in facts.jobs):
        dry = "Dry run: nothing was sent" if all(job.dry_run for job in facts.jobs) else "In part a dry run"
        return "dry", f"{dry}; {need}" if to_mend else dry
    if to_mend:
        return "attention", need
    if facts.total.notes.may_be_granted_twice:
        return "attention", "Every row is accepted, but some may be granted twice"
    if any(job.state == "failed" for job in facts.jobs):
        return "attention", "The import failed; all its rows are accepted by now"
    return "good", "Every row is accepted" if facts.total.counts["rows_read"] else "The dataset was empty"


def _not_ended(unfinished: int, jobs: int) -> str:
    if not unfinished:
        return ""
    if jobs == 1:
        return "The import has not ended"
    return f"{unfinished:,} of {jobs:,} imports {'has' if unfinished == 1 else 'have'} not ended"


def _states(counts: Mapping[str, int], *, dry: bool) -> tuple[StateView, ...]:
    """The ends of rows. Those that only a dry run or an unfinished job has are left out if no row has them."""
    words = {PLANNED: DRY_RUN, **{state.value: STATES[state] for state in FINAL_STATES}, NOT_ENDED: NOT_KNOWN}
    always = {PLANNED} if dry else {state.value for state in FINAL_STATES}
    whole = sum(counts.values())
    return tuple(
        StateView(state, counts[state], share(counts[state], whole), words[state])
        for state in words
        if state in always or counts[state]
    )


def _ends(job: JobFacts) -> dict[str, int]:
    """How many of the job's rows ended in which state, in the order of the page; the sum is the dataset's rows."""
    if job.counts is None:
        listed = {state.value: job.problems.by_state.get(state, 0) for state in FINAL_STATES}
        return {PLANNED: 0, **listed, NOT_ENDED: max(0, job.rows - sum(listed.values()))}
    ends = {state.value: job.counts[state.value] for state in FINAL_STATES}
    # A dry run sends no row. Those without an issue passed its checks.
    planned = max(0, ends["not_sent"] - job.problems.by_state["not_sent"]) if job.dry_run else 0
    return {PLANNED: planned, **ends, "not_sent": ends["not_sent"] - planned, NOT_ENDED: 0}


def _job_view(job: JobFacts) -> JobView:
    ends = _ends(job)
    to_mend = sum(ends[state] for state in REPORTED_STATES)
    return JobView(
        job=job,
        name=job.task_id if job.map_index < 0 else f"{job.task_id} [{job.map_index}]",
        needs_attention=bool(to_mend or job.notes.may_be_granted_twice) or job.state != "finished" or not job.ended,
        to_mend=to_mend,
        seconds=_seconds(job.started_at, job.finished_at),
        ends=ends,
        bar=_bar(ends),
    )


def _urgency(view: JobView) -> tuple[bool, bool, bool]:
    return view.job.ended, view.job.state != "failed", not view.needs_attention


def _badges(problems: Sequence[BadgeIssues], names: Mapping[str, str]) -> tuple[BadgeView, ...]:
    counted = [(one, {state.value: int(getattr(one, state.value)) for state in REPORTED_STATES}) for one in problems]
    most = max((sum(states.values()) for _, states in counted), default=0)
    return tuple(
        BadgeView(one, sum(states.values()), _bar(states, most), names.get(one.badge_meta_id or "", ""))
        for one, states in counted
    )


def _bar(counts: Mapping[str, int], whole: int | None = None) -> tuple[Segment, ...]:
    """Segments side by side, in the order of ``counts``.

    :param whole: the rows for which a bar has its full length; ``None``: this bar has it.
    """
    rows = sum(counts.values())
    if not rows:
        return ()
    length = max(_THINNEST, BAR * rows // (whole or rows))
    widths = {state: max(_THINNEST, length * count // rows) for state, count in counts.items() if count}
    # The widest segment gives up what rounding and the least width of thin segments need.
    widest = max(widths, key=lambda state: widths[state])
    widths[widest] = max(_THINNEST, widths[widest] + length - sum(widths.values()))
    return tuple(
        Segment(state, x, widths[state], counts[state])
        for state, x in zip(widths, _starts(widths.values()), strict=True)
    )


def _starts(widths: Iterable[int]) -> list[int]:
    starts, x = [], 0
    for width in widths:
        starts.append(x)
        x += width
    return starts


def _seconds(start: str, end: str | None) -> int | None:
    if end is None:
        return None
    return max(0, int((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()))
