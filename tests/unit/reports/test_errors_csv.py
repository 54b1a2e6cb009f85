from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.reports.errors_csv import (
    LONGEST_TEXT,
    REPORT_COLUMNS,
    labelled_values,
    original_cell,
    own_columns,
    plan_columns,
    report_cell,
)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("", ""),
        ("64fa0c8d3b9e2a1f5c7d8e90", "64fa0c8d3b9e2a1f5c7d8e90"),
        ("007", "007"),
        (7, "7"),
        (2**63 - 1, "9223372036854775807"),
        (True, "true"),
        (123.0, "123"),
        (1736942400.5, "1736942400.5"),
        (-0.25, "-0.25"),
        (1e300, "1e300"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
    ],
)
def test_a_value_survives_as_text(value: Any, cell: str) -> None:
    assert original_cell(value) == cell


@pytest.mark.parametrize(
    "text",
    [
        "-84",
        "-1.5e-7",
        "+1736942400",
        "+05:30",
        "-03",
        "+49 170 1234567",
        "2025-01-31T09:00:00+01:00",
        "1736942400",
        "Smith-Jones; A+",
        "10 points; -5",
        "a = b",
        " leading and trailing ",
        'she said "no", twice',
        "line one\nline two\r\nline three\rfour\tfive",
        "naïve 漢字 👩‍👧 a\u00a0b",
        "'quoted",
    ],
)
def test_common_values_come_back_unchanged(text: str) -> None:
    assert original_cell(text) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-1:1", "-1:1"),
        ("-1-1", "'-1-1"),
        ("-1A", "'-1A"),
        ("  =1+1", "  '=1+1"),
        ("\t=1+1", "'\t'=1+1"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ('"=1+1"', '"\'=1+1"'),
        ("x;=1+1;y", "x;'=1+1;y"),
        ("x\n=1+1", "x\n'=1+1"),
        ('x; "=1+1"', 'x; "\'=1+1"'),
    ],
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str, cell: str) -> None:
    assert original_cell(text) == cell


@given(st.text(alphabet=st.sampled_from("=+-@;|\t\r\n \"'a1.:,e\uff1d"), max_size=12))
def test_no_cell_begins_a_formula(text: str) -> None:
    cell = original_cell(text)
    for split in (";", "\t", "|", "\n", "\r"):
        for part in cell.replace('"', " ").split(split):
            begin = part.strip()[:2]
            assert begin[:1] not in ("=", "@", "\uff1d")
            assert begin[:1] not in ("+", "-") or begin[1:].isdigit()
    assert cell[:1] not in ("\t", "\r")


@given(st.text(max_size=30))
def test_a_defused_text_is_not_changed_again(text: str) -> None:
    cell = original_cell(text)
    assert original_cell(cell) == cell


@given(st.lists(st.text(max_size=20), min_size=2, max_size=5))
def test_any_row_is_read_back_as_written(values: list[str]) -> None:
    cells = [original_cell(value) for value in values]
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerow(cells)
    written.getvalue().encode("utf-8")
    assert list(csv.reader(io.StringIO(written.getvalue(), newline=""), strict=True)) == [cells]


def test_control_characters_and_lone_surrogates_are_escaped() -> None:
    assert original_cell("a\x1b\x00\x85\ud800z") == r"a\x1b\x00\x85\ud800z"


def test_words_of_the_api_are_one_harmless_line() -> None:
    assert report_cell("=cmd\n\u202eevil\x1b[2J") == r"'=cmd\n\u202eevil\x1b[2J"
    assert report_cell("prénom\u00a0: refusé") == "prénom\u00a0: refusé"
    assert (report_cell(None), report_cell(-1)) == ("", "-1")


@pytest.mark.parametrize("text", ["x" * 300_000, "=;" * 150_000, "\x00" * 300_000, "\t" * 300_000])
def test_no_cell_is_too_long_for_readers(text: str) -> None:
    cell = original_cell(text)
    assert len(cell) == LONGEST_TEXT < csv.field_size_limit()


def test_columns_are_joined_as_first_seen() -> None:
    plan = plan_columns([("z", "a"), ("a", "m"), ("z", "b")])
    assert plan.dataset == ("z", "a", "m", "b")
    assert plan.report == REPORT_COLUMNS


def test_an_earlier_reports_columns_are_replaced() -> None:
    plan = plan_columns([("customer_id", *REPORT_COLUMNS)])
    assert plan.dataset == ("customer_id",)
    assert plan.report == REPORT_COLUMNS


def test_an_edited_report_is_still_recognised() -> None:
    kept = ("message", "code", "attempt", "stage", "request_id")
    assert own_columns((*kept[:2], "customer_id", *kept[2:], "remark")) == ("customer_id", "remark")


def test_a_datasets_column_of_a_report_name_stays() -> None:
    plan = plan_columns([("customer_id", "state", "source")])
    assert plan.dataset == ("customer_id", "state", "source")
    renamed = {"state": "import_state", "source": "import_source"}
    assert plan.report == tuple(renamed.get(name, name) for name in REPORT_COLUMNS)


def test_every_fact_of_an_issue_is_a_column_of_the_report() -> None:
    shown_otherwise = {"row_number", "original", "badge_meta_id"}  # row, the dataset's columns, by badge
    silent = set(RowIssue.__struct_fields__) - set(REPORT_COLUMNS) - shown_otherwise
    assert not silent, f"the ledger keeps {silent} of an issue: give it a line in reports/errors_csv.py"


def test_the_page_shows_columns_that_have_a_label_and_a_value() -> None:
    issue = RowIssue(1, RowState.REJECTED, "send", "why", "rows.csv", 3, {}, request_id="r-1")
    assert labelled_values(issue) == [("request", "r-1"), ("line", 3)]
    assert labelled_values(msgspec.structs.replace(issue, request_id=None, line=0)) == []


def test_such_a_column_survives_many_reports() -> None:
    for own in [("customer_id", "state"), ("code", "import_code", "id"), ("import_stage",)]:
        columns = own
        for _ in range(3):
            plan = plan_columns([columns])
            assert plan.dataset == own
            columns = (*plan.dataset, *plan.report)
            assert len(set(columns)) == len(columns) == len(own) + len(REPORT_COLUMNS)
