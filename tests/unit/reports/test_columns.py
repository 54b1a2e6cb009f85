from __future__ import annotations

import msgspec

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.reports.columns import REPORT_COLUMNS, labelled_values, own_columns, plan_columns


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
    assert not silent, f"the ledger keeps {silent} of an issue: give it a line in reports/columns.py"


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
