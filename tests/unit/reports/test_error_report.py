from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import UnaccountedRowsError
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger.facts import Issues, Job, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.reports.error_report import write_error_report
from airflow_provider_capillary.reports.errors_csv import REPORT_COLUMNS
from airflow_provider_capillary.reports.report_facts import MOST_KEPT_APART, MOST_KEPT_APART_OF_MANY

from .conftest import MakeIssue, Recorded, Report

BADGE = "64fa0c8d3b9e2a1f5c7d8e90"


def issues_of(dataset: Any, make: MakeIssue, state: RowState = RowState.REJECTED) -> list[RowIssue]:
    """An issue of every row, made as the import makes them."""
    return [
        make(window.first_row_number + index, state, window.original(index), source=window.source)
        for window in open_dataset(dataset).windows(100)
        for index in range(len(window))
    ]


def earned_badges(dataset: Any) -> list[Any]:
    opened = open_dataset(dataset)
    columns = resolve_columns(column_choices(None), opened.inspect().columns)
    names = (columns.badge_meta_id, columns.customer_id, columns.earned_at, columns.expires_at)
    [window] = opened.windows(100)
    return list(RowReader(columns, None).read(1, *(window.column(name) for name in names)))


def test_a_reported_row_has_columns_then_reasons(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    row = {"z_note": "x", "customer_id": 7, "a_shop": None}
    job = recorded([issue(3, RowState.REJECTED, row, code=1054, request_id="r-1", attempt=2, line=5)])
    [written] = report(job).errors
    assert list(written) == [*row, *REPORT_COLUMNS]
    assert list(written.values()) == [
        *("x", "7", ""),
        *("send", "rejected", "1054", "refused", "r-1", "2", "file:///data/rows.csv", "5", "3", job.job_id),
    ]


def test_exactly_the_unaccepted_rows_are_reported(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    states = (RowState.REJECTED, RowState.INVALID, RowState.UNKNOWN, RowState.NOT_SENT, RowState.ACCEPTED)
    job = recorded([issue(number, state) for number, state in enumerate(states, start=1)], accepted=1)
    found = report(job)
    assert [row["state"] for row in found.errors] == ["rejected", "invalid", "unknown", "not_sent"]
    assert found.facts.total.problems.rows == 4


def test_many_jobs_share_one_file(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    first = recorded([issue(1, RowState.UNKNOWN, {"id": "1", "state": "CA"})], map_index=0)
    second = recorded([issue(1, RowState.INVALID, {"shop": "s", "id": "2"})], map_index=1)
    one, two = report(first, second).errors
    assert list(one)[:3] == ["id", "state", "shop"]
    assert (one["id"], one["state"], one["shop"], one["import_state"]) == ("1", "CA", "", "unknown")
    assert (two["id"], two["state"], two["shop"], two["import_state"]) == ("2", "", "s", "invalid")
    assert [one["job_id"], two["job_id"]] == [first.job_id, second.job_id]


def test_a_reimported_report_gives_the_same_badges(
    report: Report, tmp_path: Path, recorded: Recorded, issue: MakeIssue
) -> None:
    earned = datetime(2025, 1, 31, 9, tzinfo=UTC)
    good = {"badge_meta_id": BADGE, "customer_id": 2**63 - 1, "earn_event_date": earned, "note": 'a\r\n"b", -5; c\rd'}
    rows = [
        good | {"earn_expires_on": earned.replace(year=2026)},
        good | {"earn_expires_on": "+1767225600", "customer_id": 84.0},
        good | {"earn_expires_on": 1_767_225_600.5, "customer_id": "84", "note": None},
    ]
    before = earned_badges(rows)
    assert all(isinstance(badge, EarnedBadge) for badge in before)
    job = recorded(issues_of(rows, issue))
    report(job)
    again = str(tmp_path / "errors.csv")
    assert earned_badges(again) == before
    [window] = open_dataset(again).windows(100)
    assert list(window.column("note")) == [good["note"], good["note"], ""]


def test_a_report_of_a_report_replaces_reasons(
    report: Report, tmp_path: Path, recorded: Recorded, issue: MakeIssue
) -> None:
    rows = [{"id": "-1", "state": "CA", "note": "=1+1"}, {"id": "007", "state": "x\r\ny", "note": "\x07"}]
    job = recorded(issues_of(rows, issue), map_index=0)
    first = report(job).errors
    again = recorded(issues_of(str(tmp_path / "errors.csv"), issue, RowState.NOT_SENT), map_index=1)
    second = report(again).errors
    assert [list(row) for row in second] == [list(row) for row in first]
    assert [[row[name] for name in rows[0]] for row in second] == [[row[name] for name in rows[0]] for row in first]
    assert {(row["import_state"], row["job_id"]) for row in second} == {("not_sent", again.job_id)}


def test_a_formula_in_the_header_is_harmless(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    job = recorded([issue(1, RowState.INVALID, {"=1+1": "x"})])
    assert next(iter(report(job).errors[0])) == "'=1+1"


def test_a_job_without_problems_has_an_empty_report(report: Report, tmp_path: Path, recorded: Recorded) -> None:
    found = report(recorded([], accepted=9))
    assert (tmp_path / "errors.csv").read_bytes() == ",".join(REPORT_COLUMNS).encode() + b"\r\n"
    assert found.summary["total"]["counts"]["accepted"] == 9


def test_the_summary_counts_per_job_and_in_total(
    report: Report, ledger: Ledger, recorded: Recorded, issue: MakeIssue
) -> None:
    first = recorded(
        [
            issue(1, RowState.REJECTED, code=1054, message="no badge", badge_meta_id=BADGE),
            issue(2, RowState.UNKNOWN, badge_meta_id=BADGE),
            issue(3, RowState.INVALID, stage="validate", message="bad"),
        ],
        accepted=5,
        map_index=0,
    )
    second = recorded([issue(1, RowState.INVALID, stage="validate", message="bad")], map_index=1)
    written = report(first, second).summary
    assert written["ledger"] == ledger.description
    total, (one, _) = written["total"], written["jobs"]
    counts = total["counts"]
    assert (total["jobs"], total["counted"], counts["rows_read"], counts["accepted"]) == (2, 2, 9, 5)
    assert (counts["requests"], counts["batches"]) == (4, 2)
    assert total["problems"]["rows"] == 4
    assert total["problems"]["reasons"][0] == {"stage": "validate", "code": None, "message": "bad", "rows": 2}
    assert one["problems"]["by_state"] == {"rejected": 1, "invalid": 1, "unknown": 1, "not_sent": 0}
    assert one["problems"]["by_badge"] == [
        {"badge_meta_id": BADGE, "rejected": 1, "invalid": 0, "unknown": 1, "not_sent": 0},
        {"badge_meta_id": None, "rejected": 0, "invalid": 1, "unknown": 0, "not_sent": 0},
    ]
    assert one["started_at"] == one["finished_at"] == "2025-01-15T12:00:00+00:00"
    assert one["sources"] == ["file:///data/rows.csv"]
    assert (one["dag_id"], one["task_id"], one["map_index"]) == ("badges.daily", "import", 0)


def test_notable_accepted_rows_are_counted(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    twice = issue(1, RowState.ACCEPTED, stage="send", message="sent again without proof: may be granted twice")
    proved = [issue(number, RowState.ACCEPTED, stage="verify", message="found by reading back") for number in (2, 3)]
    refused = issue(4, RowState.REJECTED)
    first = recorded([twice, *proved, refused], accepted=3, map_index=0)
    second = recorded([msgspec.structs.replace(twice, row_number=9)], accepted=2, map_index=1)
    third = recorded([], accepted=1, map_index=2)
    found = report(first, second, third)
    written = found.summary
    doubt = {"stage": "send", "code": None, "message": twice.message}
    proven = {"stage": "verify", "code": None, "message": "found by reading back"}
    assert [job["notes"] for job in written["jobs"]] == [
        {"rows": 3, "may_be_granted_twice": 1, "reasons": [proven | {"rows": 2}, doubt | {"rows": 1}]},
        {"rows": 1, "may_be_granted_twice": 1, "reasons": [doubt | {"rows": 1}]},
        {"rows": 0, "may_be_granted_twice": 0, "reasons": []},
    ]
    assert written["total"]["notes"] == {
        "rows": 4,
        "may_be_granted_twice": 2,
        "reasons": [doubt | {"rows": 2}, proven | {"rows": 2}],
    }
    assert [row["state"] for row in found.errors] == ["rejected"]
    assert found.facts.total.problems.rows == 1
    assert found.facts.total.problems.reasons[0].message == "refused"


def test_equal_reasons_are_one_for_any_values(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    issues = [issue(n, RowState.REJECTED, message=f"no customer {9_000_000 + n} ('Zoë {n}')") for n in range(1, 41)]
    job = recorded(issues)
    found = report(job)
    assert found.summary["total"]["problems"]["reasons"] == [
        {"stage": "send", "code": None, "message": "no customer … (…)", "rows": 40}
    ]
    assert {row["message"] for row in found.errors} == {issue.message for issue in issues}


def test_many_jobs_keep_fewer_badges_each(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    rows = MOST_KEPT_APART_OF_MANY + 50
    issues = [issue(number, RowState.REJECTED, badge_meta_id=f"{number:024x}") for number in range(1, rows + 1)]
    jobs = [recorded(issues, map_index=index) for index in (0, 1)]
    written = report(*jobs).summary
    for job in written["jobs"]:
        by_badge = {badge["badge_meta_id"]: badge["rejected"] for badge in job["problems"]["by_badge"]}
        assert (len(by_badge), by_badge["(others)"]) == (MOST_KEPT_APART_OF_MANY + 1, 50)
    assert {badge["rejected"] for badge in written["total"]["problems"]["by_badge"]} == {2}
    assert len(written["total"]["problems"]["by_badge"]) == rows


def test_the_same_jobs_give_the_same_bytes(
    tmp_path: Path, ledger: Ledger, recorded: Recorded, issue: MakeIssue
) -> None:
    issues = [
        issue(number, RowState.REJECTED, message=f"m{number % 7}", badge_meta_id=f"{number:024x}")
        for number in range(1, 50)
    ]
    jobs = [recorded(issues, map_index=0).job_id, recorded([], map_index=1).job_id]
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = write_error_report(ledger, jobs, tmp_path / name).files
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_counts_that_do_not_add_up_are_refused(tmp_path: Path, ledger: Ledger, recorded: Recorded) -> None:
    wrong = dict.fromkeys(("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent"), 1)
    job = recorded([], summary={"rows_read": 7, **wrong})
    with pytest.raises(UnaccountedRowsError, match="rows_read=7, but 6"):
        write_error_report(ledger, [job.job_id], tmp_path)


def test_a_dead_job_is_reported_uncounted(report: Report, recorded: Recorded, issue: MakeIssue) -> None:
    dead = recorded([issue(1, RowState.REJECTED)], ended=False, map_index=0)
    done = recorded([], accepted=3, map_index=1)
    found = report(dead, done)
    written = found.summary
    assert len(found.errors) == 1
    assert written["jobs"][0]["counts"] is None
    assert (written["total"]["jobs"], written["total"]["counted"]) == (2, 1)
    assert written["total"]["counts"]["rows_read"] == 3


def test_a_missing_job_is_named_with_the_ledger(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(ConfigurationError, match=r"ledger\.db holds no job 'no-such-job'.*ledger_conn_id"):
        write_error_report(ledger, ["no-such-job"], tmp_path)


@pytest.mark.parametrize("kind", ["settled", "went on with more rows", "went on with other columns"])
def test_page_and_csv_agree_while_the_ledger_changes(
    report: Report,
    tmp_path: Path,
    ledger: Ledger,
    recorded: Recorded,
    issue: MakeIssue,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    rows = [issue(number, RowState.UNKNOWN, {"id": str(number)}) for number in (1, 2, 3)]
    changes = {
        "settled": issue(2, RowState.ACCEPTED, {"id": "2"}, stage="verify"),
        "went on with more rows": issue(4, RowState.REJECTED, {"id": "4"}),
        "went on with other columns": issue(4, RowState.REJECTED, {"id": "4", "new": "x"}),
    }
    job = recorded(rows, ended=False)

    def change_after_reading(job_id: str) -> Iterator[RowIssue]:
        yield from read(job_id)
        ledger.record(job, [Issues([changes[kind]])])

    read = ledger.issues
    monkeypatch.setattr(ledger, "issues", change_after_reading)
    found = report(job)
    assert found.facts.total.problems.rows == len(found.errors) == 3
    assert [row["id"] for row in found.errors] == ["1", "2", "3"]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("ledger.db")) == [
        "errors.csv",
        "report.html",
        "summary.json",
    ]


def test_memory_does_not_grow_with_reported_rows(
    report: Report, tmp_path: Path, ledger: Ledger, recorded: Recorded, issue: MakeIssue
) -> None:
    letters = str.maketrans("0123456789", "ghijklmnop")  # a number would be recorded as a value of the row

    def many(first: int, rows: int) -> Sequence[RowIssue]:
        return [
            issue(
                number,
                RowState.REJECTED,
                {"customer_id": number, "note": f"{number:0200}"},
                message=f"customer {number:0100}".translate(letters),
                badge_meta_id=f"{number:024x}",
            )
            for number in range(first, first + rows)
        ]

    def peak(job: Job) -> int:
        tracemalloc.start()
        write_error_report(ledger, [job.job_id], tmp_path)
        measured = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return measured

    few, lots = recorded(many(1, 1_500), map_index=0), recorded(many(1, 6_000), map_index=1)
    peak(few)  # what is loaded and cached once is not counted
    least = peak(few)
    assert peak(lots) < least * 1.1
    found = report(lots)
    written = found.summary["total"]["problems"]
    assert len(found.errors) == written["rows"] == 6_000
    assert sum(badge["rejected"] for badge in written["by_badge"]) == 6_000
    assert len(written["by_badge"]) == MOST_KEPT_APART + 1
    assert written["reasons"][0] == {
        "stage": "send",
        "code": None,
        "message": "(others)",
        "rows": 6_000 - MOST_KEPT_APART,
    }
