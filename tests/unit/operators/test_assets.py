from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_capillary.core.summary import Reason, Summary
from airflow_provider_capillary.operators.telemetry.assets import (
    MOST_URIS,
    fill_events,
    import_facts,
    report_facts,
    warn_of_many_events,
)
from airflow_provider_capillary.reports.report_facts import IssueCounts, JobFacts, Notes, ReportFacts, Total

BADGES = Asset("capillary://shop.example/badges")
ENDS: dict[str, Any] = {"accepted": 4, "already_accepted": 3, "rejected": 2, "invalid": 0, "unknown": 0, "not_sent": 1}
REST: dict[str, Any] = {"requests": 2, "batches": 2, "started_at": "", "finished_at": "", "ledger": "ledger.db"}
SUMMARY = Summary(job_id="job-1", rows_read=10, reasons=(Reason("send", 1054, "customer 84", 2),), **ENDS, **REST)
NOTHING = IssueCounts(0, {}, (), ())


def job(number: int, **changes: Any) -> JobFacts:
    ordinary: dict[str, Any] = {
        **{"organisation": "shop", "dag_id": "d", "task_id": "t", "run_id": "r", "map_index": number},
        **{"started_at": "", "finished_at": "", "sources": (f"s3://aws@bucket/{number}.csv",), "rows": 1},
        **{"state": "finished", "dry_run": False, "counts": {"rows_read": 1}},
        **{"problems": NOTHING, "notes": Notes(0, 0, ())},
    }
    return JobFacts(job_id=f"job-{number}", **(ordinary | changes))


def report(*jobs: JobFacts) -> ReportFacts:
    return ReportFacts(Total(len(jobs), len(jobs), {}, NOTHING, Notes(0, 0, ())), jobs, "ledger.db")


def test_counts_are_added_to_each_assets_event() -> None:
    events = OutletEventAccessors()
    events[BADGES].extra["night"] = "2025-01-15"
    fill_events(cast(Context, {"outlet_events": events}), [BADGES, AssetAlias("any"), "text"], {"accepted": 4})
    assert events[BADGES].extra == {"night": "2025-01-15", "accepted": 4}
    assert events[AssetAlias("any")].extra == {}


def test_without_airflow_s_context_nothing_happens() -> None:
    fill_events(cast(Context, {"ti": None}), [BADGES], {"accepted": 4})


def test_an_event_has_counts_and_no_api_text() -> None:
    facts = import_facts(SUMMARY, ["s3://aws:secret@bucket/rows.csv", "rows"], -1)
    assert facts == ENDS | {
        **{"job_id": "job-1", "rows_read": 10, "dry_run": False, "dataset": ["s3://bucket/rows.csv"]},
    }
    assert import_facts(SUMMARY, [], 7)["map_index"] == 7


def test_an_event_stays_small() -> None:
    many = [f"s3://bucket/{'x' * 200}/{number}.csv" for number in range(5_000)]
    assert len(json.dumps(import_facts(SUMMARY, many, -1))) < 5_000
    facts = report_facts(report(*(job(number) for number in range(1_024))), {}, {})
    assert len(facts["job_ids"]) == MOST_URIS
    assert facts["dataset"] == ["s3://bucket/"]


@pytest.mark.parametrize(
    ("changes", "succeeded"),
    [
        ({}, True),
        ({"state": "failed", "failure": "failed"}, False),
        ({"state": "open", "failure": "has not ended"}, False),
        ({"state": "failed"}, True),  # settled since,
    ],
)
def test_a_report_says_whether_all_succeeded(changes: dict[str, Any], succeeded: bool) -> None:
    facts = report_facts(report(job(1), job(2, **changes)), {"jobs": 2, "accepted": 7}, {"report_html": "file:///r"})
    assert facts == {
        **{"jobs": 2, "accepted": 7, "succeeded": succeeded, "dry_run": False, "job_ids": ["job-1", "job-2"]},
        "rows_to_look_at": 0,
        **{"dataset": ["s3://bucket/1.csv", "s3://bucket/2.csv"], "report_html": "file:///r"},
    }


@pytest.mark.parametrize(
    ("map_index", "outlets", "warned"),
    [(-1, [BADGES], False), (0, [BADGES], True), (3, [BADGES], True), (3, [], False)],
)
def test_outlets_of_a_mapped_task_are_warned_of(
    map_index: int, outlets: list[Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_many_events(SimpleNamespace(map_index=map_index), outlets)
    assert ("put the outlets on a task after it" in caplog.text) is warned
