"""What the report says of accepted rows: which may be granted twice, and which were found by reading back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.simulator.fault_plan import DropFault, StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator

Tasks = Callable[..., Any]
Logged = Callable[[int], str]
ROWS = [
    {"badgeMetaId": "654e08f2041fd452b3ef5b2e", "customerId": 9_000_000 + number}
    | {"earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}
    for number in range(1, 31)
]
#: Of three batches the second is applied, and its reply is lost.
LOST = DropFault(at="after_applying", numbers=(2,))
IN_TENS = {"batch_size": 10, "canary": False, "concurrency": 1}


def report(job: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the operator returns, and the total of ``summary.json``."""
    returned = BadgeErrorReportOperator(task_id="report", job=job).execute(cast(Context, {}))
    written = json.loads(Path(returned["summary_json"].removeprefix("file://")).read_bytes())
    return returned, written["total"]


def test_resent_rows_are_reported_as_perhaps_double(simulator: RunningSimulator, task: Tasks, logged: Logged) -> None:
    simulator.use_faults([LOST])
    summary = task().run(ROWS, on_unknown="resend", **IN_TENS)
    assert summary["accepted"] == 30
    returned, total = report(summary)
    assert simulator.simulator.summary()["grantedTwice"] == 10
    assert (returned["accepted"], returned["may_be_granted_twice"], returned["rows_reported"]) == (30, 10, 0)
    assert (total["notes"]["rows"], total["notes"]["may_be_granted_twice"]) == (10, 10)
    [reason] = total["notes"]["reasons"]
    assert (reason["stage"], reason["rows"]) == ("send", 10)
    assert "may be granted twice" in reason["message"]
    assert "10 accepted rows may be granted twice" in logged(30)


@pytest.mark.parametrize(
    "again", [{"try_number": 2}, {"max_tries": 7}, {"run_id": "later"}], ids=["retry", "clear", "later"]
)
def test_rows_of_a_stopped_resend_are_perhaps_double(
    simulator: RunningSimulator, task: Tasks, again: dict[str, Any]
) -> None:
    simulator.use_faults([LOST, StatusFault(status=403, numbers=(3,))])
    _, stopped = task().fail(ROWS, on_unknown="resend", **IN_TENS)
    assert (stopped["accepted"], stopped["not_sent"]) == (10, 20)
    simulator.use_faults(None)
    summary = task(**again).run(ROWS, on_unknown="resend", **IN_TENS)
    assert simulator.simulator.summary()["grantedTwice"] == 10
    assert [reason["rows"] for reason in summary["reasons"] if "may be granted twice" in reason["message"]] == [10]
    returned, _ = report(summary)
    assert returned["may_be_granted_twice"] == 10
    assert Path(returned["may_be_granted_twice_csv"].removeprefix("file://")).read_text().count("may be granted") == 10


def test_rows_found_by_reads_are_in_no_doubt(simulator: RunningSimulator, task: Tasks, logged: Logged) -> None:
    simulator.use_faults([LOST])
    summary = task().run(ROWS, verify_after=0, **IN_TENS)
    assert summary["accepted"] == 30
    logged(30)
    returned, total = report(summary)
    assert simulator.simulator.summary()["grantedTwice"] == 0
    assert (returned["may_be_granted_twice"], returned["rows_reported"]) == (0, 0)
    assert (total["notes"]["rows"], total["notes"]["may_be_granted_twice"]) == (10, 0)
    assert [reason["stage"] for reason in total["notes"]["reasons"]] == ["verify"]
    assert "granted twice" not in logged(30)


@pytest.mark.parametrize("policy", ["resend", "verify"])
def test_an_undisturbed_import_reports_no_accepted_row(simulator: RunningSimulator, task: Tasks, policy: str) -> None:
    returned, total = report(task().run(ROWS, on_unknown=policy, **IN_TENS))
    assert returned["may_be_granted_twice"] == 0
    assert total["notes"] == {"rows": 0, "may_be_granted_twice": 0, "reasons": []}
