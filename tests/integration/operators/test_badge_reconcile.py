"""The operator that settles what imports left unknown, as a worker runs it."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_capillary.hooks.errors import BadgeTaskInterrupted
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_reconcile import BadgeReconcileOperator
from airflow_provider_capillary.simulator.fault_plan import DropFault, StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import rows

Tasks = Callable[..., Any]
IN_TENS = {"batch_size": 10, "canary": False, "concurrency": 1, "on_unknown": "hold"}
KEYS = ["jobs", "unknown_before", "accepted", "resend", "unknown", "customers", "reasons"]


@pytest.fixture
def unknown(simulator: RunningSimulator, task: Tasks) -> dict[str, Any]:
    """The summary of an import of 30 rows: 10 are unknown and granted, 10 unknown and not."""
    applied = DropFault(at="after_applying", numbers=(2,))
    simulator.use_faults([applied, DropFault(at="after_reading", numbers=(3,))])
    _, summary = task().fail(rows(30), **IN_TENS)
    simulator.use_faults(None)
    assert summary["unknown"] == 20
    return cast(dict[str, Any], summary)


def context(task: Tasks, pushed: dict[str, Any] | None = None) -> Context:
    found: Any = task(task_id="settle", dag_id="mending").context()
    if pushed is not None:
        found["ti"].xcom_push = lambda key, value: pushed.__setitem__(key, value)
    return cast(Context, found)


def reconcile(task: Tasks, job: Any, **arguments: Any) -> dict[str, Any]:
    operator = BadgeReconcileOperator(task_id="settle", job=job, **{"verify_after": 0, **arguments})
    return operator.execute(context(task))


def test_granted_rows_are_accepted_and_others_freed(
    simulator: RunningSimulator, unknown: dict[str, Any], task: Tasks
) -> None:
    found = reconcile(task, unknown)
    assert list(found) == KEYS
    counts = {"jobs": 1, "unknown_before": 20, "accepted": 10, "resend": 10, "unknown": 0, "customers": 0}
    assert found == {**counts, "reasons": []}
    assert len(simulator.store) == 20
    again = task(run_id="next").run(rows(30))
    assert (again["already_accepted"], again["accepted"]) == (20, 10)
    assert simulator.simulator.summary()["grantedTwice"] == 0


def test_the_report_is_true_after_reconciliation(unknown: dict[str, Any], task: Tasks) -> None:
    reconcile(task, unknown)
    reported = BadgeErrorReportOperator(task_id="report", job=unknown, fail_with_import=False).execute(
        cast(Context, {})
    )
    assert [reported[name] for name in ("accepted", "unknown", "not_sent", "rows_reported")] == [20, 0, 10, 10]
    assert reported["may_be_granted_twice"] == 0
    text = Path(reported["errors_csv"].removeprefix("file://")).read_bytes().decode()
    listed = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["state"] for row in listed} == {"not_sent"}
    assert all("dag mending, run manual__2025" in row["message"] for row in listed)


@pytest.mark.parametrize("form", ["id", "summary", "list", "list of ids"])
def test_a_job_is_named_as_in_the_report(unknown: dict[str, Any], task: Tasks, form: str) -> None:
    job_id = unknown["job_id"]
    forms: dict[str, Any] = {"id": job_id, "summary": unknown, "list": [unknown, None], "list of ids": [job_id, job_id]}
    assert reconcile(task, forms[form])["unknown_before"] == 20


@pytest.mark.parametrize("job", [None, [], "None", [None]], ids=str)
def test_without_a_job_the_task_is_skipped(simulator: RunningSimulator, task: Tasks, job: Any) -> None:
    with pytest.raises(AirflowSkipException, match="no job"):
        reconcile(task, job)


@pytest.mark.parametrize(("action", "name"), [("accept", "accepted"), (" Resend ", "resend")])
def test_a_person_s_word_needs_no_connection(
    unknown: dict[str, Any], task: Tasks, action: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY_DEFAULT")
    assert reconcile(task, unknown, action=action)[name] == 20


def test_to_leave_rows_is_no_failure(unknown: dict[str, Any], task: Tasks) -> None:
    found = reconcile(task, unknown, action="leave")
    assert (found["unknown"], [reason["rows"] for reason in found["reasons"]]) == (20, [20])
    assert found["customers"] == 20
    assert "9000" not in str(found)  # how many they are, not who


def test_rows_still_unknown_fail_with_counts(simulator: RunningSimulator, unknown: dict[str, Any], task: Tasks) -> None:
    simulator.use_faults([StatusFault(status=400, operation="customer_badge", first=3)])
    pushed: dict[str, Any] = {}
    operator = BadgeReconcileOperator(task_id="settle", job=unknown, verify_after=0, max_unknown="10%")
    with pytest.raises(AirflowFailException, match=r"18 of 20 rows stay unknown; allowed: 10%.*airflow capillary"):
        operator.execute(context(task, pushed))
    assert (pushed["return_value"]["accepted"], pushed["return_value"]["unknown"]) == (2, 18)
    assert pushed["return_value"]["reasons"][0]["rows"] == 18
    # within the budget it is no failure
    simulator.use_faults([StatusFault(status=400, operation="customer_badge")])
    assert reconcile(task, unknown, max_unknown="100%")["unknown"] == 18


def test_an_unusable_api_is_retried_by_airflow(
    simulator: RunningSimulator, unknown: dict[str, Any], task: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_capillary.jobs.organisation.Backoff", lambda jitter: NoPatience())
    simulator.use_faults([StatusFault(status=503, operation="customer_badge")])
    with pytest.raises(BadgeTaskInterrupted):
        reconcile(task, unknown)


class NoPatience:
    """Gives up at once."""

    def exhausted(self, tries: int, waited: float = 0.0, asked: float | None = None) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"action": "guess"}, "verify, accept, resend, leave"),
        ({"action": None}, "verify, accept, resend, leave"),
        ({"max_unknown": "many"}, "max_unknown is 'many'"),
        ({"verify_after": -1}, "verify_after=-1"),
        ({"verify_after": "60"}, "verify_after='60'"),
        ({"capillary_conn_id": "none_such"}, "none_such"),
        ({"ledger_conn_id": "none_such"}, "none_such"),
        ({"job": "4711"}, "holds no job '4711'"),
        ({"job": 4711}, "job is a int"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_said_and_settles_nothing(
    simulator: RunningSimulator, unknown: dict[str, Any], task: Tasks, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        reconcile(task, **{"job": unknown, **arguments})
    assert reconcile(task, unknown, action="leave")["unknown"] == 20
    assert simulator.simulator.request_counts().get("GET", 0) == 0


def test_neither_rows_nor_secrets_are_logged(
    simulator: RunningSimulator, unknown: dict[str, Any], task: Tasks, logged: Callable[[int], str]
) -> None:
    logged(logging.DEBUG)
    reconcile(task, unknown)
    text = logged(logging.INFO)
    assert "20 rows of 1 jobs were unknown: 10 are accepted, 10 free" in text
    assert "90000" not in text
    assert simulator.settings.password not in text


def test_on_kill_before_anything_began_is_harmless() -> None:
    BadgeReconcileOperator(task_id="settle", job="x").on_kill()


def test_it_can_be_mapped_over_many_imports() -> None:
    BadgeReconcileOperator.partial(task_id="settle").expand(job=["a", "b"])
    assert set(BadgeReconcileOperator.template_fields) >= {"job", "action", "max_unknown"}
