from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.core.reason_table import STATES
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.ledger.facts import JobRecord, RowIssue
from airflow_provider_capillary.reports.html_view import BAR, ReportView, arrange
from airflow_provider_capillary.reports.report_facts import IssueTally, ReportFacts, job_facts, total_of

Ends = Mapping[str, int]
ends = st.fixed_dictionaries({state.value: st.integers(0, 10**7) | st.integers(0, 3) for state in FINAL_STATES})


def record(index: int, counts: Ends | None, *, rows: int = 0, state: str = "finished", dry: bool = False) -> JobRecord:
    read = rows if counts is None else sum(counts.values())
    summary = None if counts is None else dict.fromkeys((s.value for s in FINAL_STATES), 0) | dict(counts)
    if summary is not None:
        summary |= {"rows_read": read, "requests": 2, "batches": 1, "dry_run": dry}
    end = None if counts is None else 1_736_942_460.0 + index
    where = ("shop", "nightly", "import", "run 1", index)
    return JobRecord(f"job-{index}", *where, state, 1_736_942_400.0 + index, end, read, ("rows",), summary, 1)


def facts(*jobs: JobRecord, issues: Mapping[int, list[RowIssue]] | None = None) -> ReportFacts:
    everything, recorded = IssueTally(), []
    for index, job in enumerate(jobs):
        own = IssueTally()
        for issue in (issues or {}).get(index, []):
            own.add(issue)
            everything.add(issue)
        recorded.append(job_facts(job, own))
    return ReportFacts(total=total_of(recorded, everything), jobs=tuple(recorded), ledger="ledger.db")


def issue(number: int, state: RowState, stage: str = "send", badge: str | None = None) -> RowIssue:
    return RowIssue(number, state, stage, "why", "rows", number, {}, badge_meta_id=badge)


def headline(view: ReportView) -> tuple[str, str]:
    return view.mood, view.headline


@given(st.lists(ends, min_size=1, max_size=4))
def test_every_row_is_counted_and_drawn_once(counts: list[Ends]) -> None:
    view = arrange(facts(*(record(index, one) for index, one in enumerate(counts))))
    rows = sum(sum(one.values()) for one in counts)
    assert view.rows == sum(state.rows for state in view.states) == rows
    assert [state.state for state in view.states] == [state.value for state in FINAL_STATES]
    assert {part.state: part.rows for part in view.bar} == {one.state: one.rows for one in view.states if one.rows}


@given(ends)
def test_a_bar_is_full_and_shows_single_rows(counts: Ends) -> None:
    bar = arrange(facts(record(0, counts))).bar
    assert sum(part.width for part in bar) == (BAR if sum(counts.values()) else 0)
    x = 0
    for part in bar:
        assert part.x == x
        assert part.width >= 4
        x += part.width


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30))
def test_badge_bars_are_comparable(rows: list[int]) -> None:
    report = facts(record(0, {"rejected": sum(rows)}))
    [rejected] = [issue(1, RowState.REJECTED, badge="b")]
    tally = IssueTally()
    tally.add(rejected)
    [template] = tally.problems().by_badge
    badges = tuple(
        msgspec.structs.replace(template, badge_meta_id=f"{n}", rejected=count) for n, count in enumerate(rows)
    )
    problems = msgspec.structs.replace(report.total.problems, by_badge=badges)
    total = msgspec.structs.replace(report.total, problems=problems)
    view = arrange(msgspec.structs.replace(report, total=total))
    widths = [sum(part.width for part in badge.bar) for badge in view.badges]
    assert max(widths) == BAR
    for width, count in zip(widths, rows, strict=True):
        assert width == max(4, BAR * count // max(rows))


@pytest.mark.parametrize(
    ("jobs", "recorded"),
    [
        ([record(0, {"accepted": 3, "already_accepted": 2})], ("good", "Every row is accepted")),
        ([record(0, {})], ("good", "The dataset was empty")),
        ([record(0, {"accepted": 1, "rejected": 1})], ("attention", "1 row needs attention")),
        (
            [record(0, {"invalid": 2, "unknown": 1}), record(1, {"not_sent": 2_000}, state="failed")],
            ("attention", "2,003 rows need attention"),
        ),
        (
            [record(0, {"accepted": 1}, state="failed")],
            ("attention", "The import failed; all its rows are accepted by now"),
        ),
        ([record(0, {"not_sent": 5}, dry=True)], ("dry", "Dry run: nothing was sent")),
        (
            [record(0, {"not_sent": 5, "invalid": 2}, dry=True)],
            ("dry", "Dry run: nothing was sent; 2 rows need attention"),
        ),
        ([record(0, None, rows=9, state="open")], ("unfinished", "The import has not ended")),
        ([record(0, {"accepted": 9}, state="open")], ("unfinished", "The import has not ended")),
        ([record(0, None, rows=9, state="failed")], ("unfinished", "The import has not ended")),
        (
            [record(0, None, rows=9, state="open"), *(record(index, {"rejected": 1}) for index in (1, 2))],
            ("unfinished", "1 of 3 imports has not ended; 2 rows need attention so far"),
        ),
    ],
)
def test_the_headline_says_what_matters_most(jobs: list[JobRecord], recorded: tuple[str, str]) -> None:
    assert headline(arrange(facts(*jobs))) == recorded


def test_a_row_perhaps_double_spoils_the_headline() -> None:
    job = record(0, {"accepted": 3})
    doubt = arrange(facts(job, issues={0: [issue(1, RowState.ACCEPTED, "send")]}))
    assert headline(doubt) == ("attention", "Every row is accepted, but some may be granted twice")
    assert doubt.jobs[0].needs_attention
    proven = arrange(facts(job, issues={0: [issue(1, RowState.ACCEPTED, "verify")]}))
    assert proven.mood == "good"
    assert not proven.jobs[0].needs_attention


def test_a_dry_runs_rows_need_no_correction() -> None:
    busy = issue(9, RowState.NOT_SENT, "plan")
    view = arrange(facts(record(0, {"not_sent": 10, "already_accepted": 1}, dry=True), issues={0: [busy]}))
    assert {state.state: state.rows for state in view.states} == {"planned": 9, "already_accepted": 1, "not_sent": 1}
    assert [state.state for state in view.to_do] == ["not_sent"]
    assert headline(view) == ("dry", "Dry run: nothing was sent; 1 row needs attention")


def test_a_dry_run_is_apart_from_a_real_import() -> None:
    view = arrange(facts(record(0, {"not_sent": 10}, dry=True), record(1, {"accepted": 5})))
    assert {state.state: state.rows for state in view.states if state.rows} == {"planned": 10, "accepted": 5}
    assert headline(view) == ("dry", "In part a dry run")


def test_an_unfinished_import_counts_known_rows() -> None:
    listed = [issue(1, RowState.INVALID, "validate"), issue(2, RowState.UNKNOWN)]
    view = arrange(facts(record(0, None, rows=100, state="open"), record(1, {"accepted": 7}), issues={0: listed}))
    found = {state.state: state.rows for state in view.states if state.rows}
    assert found == {"accepted": 7, "invalid": 1, "unknown": 1, "not_known": 98}
    assert view.rows == 107
    assert [state.state for state in view.to_do] == ["invalid", "unknown"]
    assert view.finished_at is None


def test_only_states_for_a_person_have_advice() -> None:
    view = arrange(facts(record(0, {state.value: 1 for state in FINAL_STATES})))
    assert [state.state for state in view.to_do] == ["rejected", "invalid", "unknown", "not_sent"]
    assert set(STATES) == set(FINAL_STATES)
    assert all(words.title and words.meaning for words in STATES.values())


def test_imports_that_need_attention_come_first() -> None:
    jobs = [
        record(0, {"accepted": 1}),
        record(1, {"rejected": 1}),
        record(2, {"rejected": 1}, state="failed"),
        record(3, None, rows=1, state="open"),
        record(4, {"accepted": 1}),
        record(5, {"rejected": 2}),
    ]
    view = arrange(facts(*jobs))
    assert [one.job.map_index for one in view.jobs] == [3, 2, 1, 5, 0, 4]
    assert [one.needs_attention for one in view.jobs] == [True] * 4 + [False] * 2
    assert view.jobs[0].name == "import [3]"


def test_time_runs_from_first_start_to_last_end() -> None:
    view = arrange(facts(record(0, {"accepted": 1}), record(40, {"accepted": 1})))
    assert (view.started_at, view.finished_at) == ("2025-01-15T12:00:00+00:00", "2025-01-15T12:01:40+00:00")
    assert view.seconds == 100


def test_jobs_of_several_runs_stay_apart() -> None:
    jobs = [msgspec.structs.replace(record(index, {"accepted": 1}), run_id=f"run {index}") for index in range(3)]
    view = arrange(facts(*jobs))
    assert (view.dag, view.run) == ("nightly", "run 0 and 2 more")
