"""What follows an import: its report, and the second import of the report's own ``errors.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.simulator.fault_plan import DropFault, StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator

BADGE = "654e08f2041fd452b3ef5b2e"
DELETED = "0123456789abcdef01234567"
Tasks = Callable[..., Any]
Logged = Callable[[int], str]


def row(customer: Any, **changes: Any) -> dict[str, Any]:
    dates = {"earn_event_date": "2025-01-15T12:00:00Z", "earn_expires_on": "2026-01-15T12:00:00Z"}
    return {"badge_meta_id": BADGE, "customer_id": customer, **dates, "note": 'a "quoted", note'} | changes


def report(job: Any, **arguments: Any) -> dict[str, Any]:
    operator = BadgeErrorReportOperator(task_id="report", job=job, **{"fail_with_import": False} | arguments)
    return operator.execute(cast(Context, {}))


def table(returned: dict[str, Any]) -> list[dict[str, str]]:
    text = Path(returned["errors_csv"].removeprefix("file://")).read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path.as_uri()


MIXED = [
    *(row(9_000_000 + number) for number in range(1, 11)),
    row(9_000_011, badge_meta_id=DELETED),
    row("9000012x"),
    row(9_000_013, earn_event_date="15.01.2025"),
    row(9_000_014, note="=HYPERLINK(1)", earn_expires_on="2025-01-15T12:00:00Z"),
]


def test_only_corrected_rows_of_a_report_are_sent(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    _, summary = task().fail(MIXED, max_rejected=0)
    returned = report(summary)
    assert returned["rows_reported"] == 4
    found = table(returned)
    assert [line["stage"] for line in found] == ["badge_check", "validate", "validate", "validate"]
    assert len(simulator.store) == 10

    found[0]["badge_meta_id"] = BADGE
    found[1]["customer_id"] = "9000012"
    found[2]["earn_event_date"] = "2025-01-15T12:00:00Z"
    found[3]["earn_expires_on"] = "2026-01-15T12:00:00Z"
    corrected = write(tmp_path / "corrected.csv", found)
    again = task(run_id="corrected").run(corrected, max_rejected=0)
    assert (again["rows_read"], again["accepted"]) == (4, 4)
    assert len(simulator.store) == 14

    third = task(run_id="once more").run(corrected, max_rejected=0)
    assert (third["accepted"], third["already_accepted"]) == (0, 4)
    whole = task(run_id="the first dataset again").run(MIXED, max_rejected="100%")
    assert (whole["accepted"], whole["already_accepted"]) == (0, 10)
    assert simulator.simulator.summary()["grantedTwice"] == 0


def test_an_unchanged_report_gives_the_same_rows(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    _, summary = task().fail(MIXED, max_rejected=0)
    first = report(summary)
    again = task(run_id="as it is").run(first["errors_csv"], max_rejected="100%")
    assert again["accepted"] == 0
    second = report(again)
    data = ("badge_meta_id", "customer_id", "earn_event_date", "earn_expires_on", "stage", "code")
    assert [[line[name] for name in data] for line in table(second)] == [
        [line[name] for name in data] for line in table(first)
    ]


def test_unsent_and_unproven_rows_are_imported_from_the_report(simulator: RunningSimulator, task: Tasks) -> None:
    simulator.use_faults([DropFault(at="after_applying", numbers=(2,)), StatusFault(status=403, first=3)])
    given = [row(9_000_000 + number) for number in range(1, 41)]
    arguments = {"batch_size": 10, "canary": False, "concurrency": 1, "on_unknown": "hold"}
    _, summary = task().fail(given, max_unknown="100%", **arguments)
    returned = report(summary)
    assert (returned["accepted"], returned["unknown"], returned["not_sent"]) == (10, 10, 20)
    assert len(table(returned)) == returned["rows_reported"] == 30

    simulator.use_faults(None)
    again = task(run_id="from the report").run(returned["errors_csv"], verify_after=0)
    assert again["accepted"] + again["already_accepted"] == 30
    assert len(simulator.store) == 40
    assert simulator.simulator.summary()["grantedTwice"] == 0


def test_mapped_imports_share_a_report_with_failures(simulator: RunningSimulator, task: Tasks) -> None:
    good = task(map_index=0).run([row(1)])
    _, failed = task(map_index=1).fail([row(2), row("none")], max_rejected=0)
    _, none = task(map_index=2).fail("/none/such.csv")
    assert none is None
    returned = report([good, failed, none])
    assert (returned["jobs"], returned["rows_read"], returned["accepted"], returned["invalid"]) == (2, 3, 2, 1)
    assert [line["customer_id"] for line in table(returned)] == ["none"]


def test_a_later_report_replaces_the_earlier(simulator: RunningSimulator, task: Tasks) -> None:
    simulator.use_faults([StatusFault(status=403, first=2)])
    given = [row(number) for number in range(1, 21)]
    _, summary = task().fail(given, batch_size=10, canary=False, concurrency=1)
    before = report(summary)
    assert before["rows_reported"] == 10
    simulator.use_faults(None)
    after = report(task(try_number=2).run(given))
    assert after["errors_csv"] == before["errors_csv"]
    assert table(after) == []
    written = json.loads(Path(after["summary_json"].removeprefix("file://")).read_bytes())
    assert written["total"]["counts"]["accepted"] == 20


# -- accepted rows: which may be granted twice, and which were found by reading back

#: Of three batches the second is applied, and its reply is lost.
LOST = DropFault(at="after_applying", numbers=(2,))
IN_TENS = {"batch_size": 10, "canary": False, "concurrency": 1}
THIRTY = [row(9_000_000 + number) for number in range(1, 31)]


def report_and_total(job: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the operator returns, and the total of ``summary.json``."""
    returned = report(job, fail_with_import=True)
    written = json.loads(Path(returned["summary_json"].removeprefix("file://")).read_bytes())
    return returned, written["total"]


def test_resent_rows_are_reported_as_perhaps_double(simulator: RunningSimulator, task: Tasks, logged: Logged) -> None:
    simulator.use_faults([LOST])
    summary = task().run(THIRTY, on_unknown="resend", **IN_TENS)
    assert summary["accepted"] == 30
    returned, total = report_and_total(summary)
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
    _, stopped = task().fail(THIRTY, on_unknown="resend", **IN_TENS)
    assert (stopped["accepted"], stopped["not_sent"]) == (10, 20)
    simulator.use_faults(None)
    summary = task(**again).run(THIRTY, on_unknown="resend", **IN_TENS)
    assert simulator.simulator.summary()["grantedTwice"] == 10
    assert [reason["rows"] for reason in summary["reasons"] if "may be granted twice" in reason["message"]] == [10]
    returned, _ = report_and_total(summary)
    assert returned["may_be_granted_twice"] == 10
    assert Path(returned["may_be_granted_twice_csv"].removeprefix("file://")).read_text().count("may be granted") == 10


def test_rows_found_by_reads_are_in_no_doubt(simulator: RunningSimulator, task: Tasks, logged: Logged) -> None:
    simulator.use_faults([LOST])
    summary = task().run(THIRTY, verify_after=0, **IN_TENS)
    assert summary["accepted"] == 30
    logged(30)
    returned, total = report_and_total(summary)
    assert simulator.simulator.summary()["grantedTwice"] == 0
    assert (returned["may_be_granted_twice"], returned["rows_reported"]) == (0, 0)
    assert (total["notes"]["rows"], total["notes"]["may_be_granted_twice"]) == (10, 0)
    assert [reason["stage"] for reason in total["notes"]["reasons"]] == ["verify"]
    assert "granted twice" not in logged(30)


@pytest.mark.parametrize("policy", ["resend", "verify"])
def test_an_undisturbed_import_reports_no_accepted_row(simulator: RunningSimulator, task: Tasks, policy: str) -> None:
    returned, total = report_and_total(task().run(THIRTY, on_unknown=policy, **IN_TENS))
    assert returned["may_be_granted_twice"] == 0
    assert total["notes"] == {"rows": 0, "may_be_granted_twice": 0, "reasons": []}
