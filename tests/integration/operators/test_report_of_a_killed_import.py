"""What is reported of an import whose process was killed: as much as the ledger knows, and never "nothing was sent"."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.operators.badge_reconcile import BadgeReconcileOperator
from airflow_provider_capillary.operators.badge_revoke import BadgeRevokeOperator
from airflow_provider_capillary.simulator.fault_plan import HangFault
from airflow_provider_capillary.simulator.server import RunningSimulator

BADGE = "654e08f2041fd452b3ef5b2e"
RUN = "manual__2025-01-15T12:00:00+00:00"
ARGUMENTS = {"batch_size": 10, "canary": False, "concurrency": 1, "verify_after": 0}
SCRIPT = """
import json, sys
from types import SimpleNamespace
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
rows, ids, arguments = json.load(sys.stdin)
BadgeImportOperator(task_id="import_badges", dataset=rows, **arguments).execute({"ti": SimpleNamespace(**ids)})
"""
Tasks = Callable[..., Any]


def rows(count: int) -> list[dict[str, Any]]:
    dates = {"earn_event_date": "2025-01-15T12:00:00Z", "earn_expires_on": "2026-01-15T12:00:00Z"}
    return [{"badge_meta_id": BADGE, "customer_id": 9_000_000 + number, **dates} for number in range(1, count + 1)]


def ids(**changes: Any) -> dict[str, Any]:
    return {
        **{"dag_id": "nightly", "task_id": "import_badges", "run_id": RUN},
        **{"map_index": -1, "try_number": 1, "max_tries": 3},
    } | changes


def intents(home: Path) -> int:
    """Batches without an outcome: that of the request in flight, and the next one of the other lane."""
    with closing(sqlite3.connect(f"file:{home / 'capillary_ledger.db'}?mode=ro", uri=True)) as ledger:
        (count,) = ledger.execute("SELECT count(*) FROM capillary_batch WHERE state = 'intent'").fetchone()
    return int(count)


@pytest.fixture
def killed(simulator: RunningSimulator, home: Path) -> dict[str, Any]:
    """70 rows: 10 granted, 10 applied without a reply when the process was killed, 10 about to be sent, 40 not."""
    simulator.use_faults([HangFault(when="after", numbers=(2,))])
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdin is not None
    with process.stdin:
        json.dump([rows(70), ids(), ARGUMENTS], process.stdin)
    until = time.monotonic() + 60
    # SQLite reports another process's commits to no one: the ledger has to be looked at.
    while (len(simulator.store) < 20 or intents(home) < 2) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    simulator.use_faults(None)
    return ids()


def tasks() -> tuple[BadgeImportOperator, BadgeErrorReportOperator]:
    with DAG("nightly", schedule=None):
        imported = BadgeImportOperator(task_id="import_badges", dataset=[])
        report = BadgeErrorReportOperator(task_id="report", job=imported.output, trigger_rule="all_done")
    return imported, report


def context(pushed: dict[str, Any] | None = None, **states: str) -> Context:
    """Of the report's own task. ``states``: what Airflow answers of the import's instances."""
    ti = SimpleNamespace(**ids(task_id="report"))
    if pushed is not None:
        ti.xcom_push = lambda key, value: pushed.__setitem__(key, value)
    if states:
        ti.get_task_states = lambda dag_id, task_ids, run_ids: {RUN: states}
    return cast(Context, {"ti": ti})


def accepted_customers(home: Path) -> set[int]:
    with closing(Ledger(f"sqlite:///{home / 'capillary_ledger.db'}")) as ledger:
        pages = ledger.rows(only_job(home))
        return {row.badge.customer_id for page in pages for row in page if row.state is RowState.ACCEPTED}


def only_job(home: Path) -> str:
    with closing(Ledger(f"sqlite:///{home / 'capillary_ledger.db'}")) as ledger:
        (job,) = ledger.jobs()
    return job.job_id


def test_a_killed_imports_report_fails_once_written(
    killed: dict[str, Any], home: Path, simulator: RunningSimulator, task: Tasks
) -> None:
    for job in (None, "None", [None]):  # what an import that returned nothing renders to
        without_dag = BadgeErrorReportOperator(task_id="report", job=job, fail_with_import=False)
        assert without_dag.execute(context())["unknown"] == 20
    _, report = tasks()
    report.job = None
    pushed: dict[str, Any] = {}
    with pytest.raises(AirflowFailException, match="import_badges died: 20 in doubt, 40 not sent") as failed:
        report.execute(context(pushed))
    assert "othing was sent" not in str(failed.value)
    returned = pushed["return_value"]
    assert {name: returned[name] for name in ("rows_read", "accepted", "unknown", "not_sent")} == {
        **{"rows_read": 70, "accepted": 10, "unknown": 20, "not_sent": 40}
    }
    with Path(returned["errors_csv"].removeprefix("file://")).open(newline="") as text:
        doubtful = list(csv.DictReader(text))
    customers = {int(row["customerId"]) for row in doubtful}
    without_reply = {grant.customer_id for grant in simulator.store.grants()} - accepted_customers(home)
    assert (len(doubtful), len(customers), len(without_reply)) == (20, 20, 10)
    assert without_reply < customers
    page = Path(returned["report_html"].removeprefix("file://")).read_text("utf-8")
    assert "The import died: 20 in doubt, 40 not sent" in page

    BadgeReconcileOperator(task_id="settle", job=only_job(home), action="accept").execute(context())
    with pytest.raises(AirflowFailException, match="failed: 0 refused, 0 unknown, 40 not sent"):
        report.execute(context())

    task(try_number=2).run(rows(70), **ARGUMENTS)
    assert report.execute(context())["accepted"] == 70
    assert simulator.simulator.summary()["grantedTwice"] == 0


@pytest.mark.parametrize("states", [{}, {"import_badges": "failed"}], ids=["plain context", "of Airflow"])
def test_reconciliation_and_revocation_find_a_killed_import(
    killed: dict[str, Any], home: Path, simulator: RunningSimulator, states: dict[str, str]
) -> None:
    with DAG("nightly", schedule=None):
        imported = BadgeImportOperator(task_id="import_badges", dataset=[])
        settle = BadgeReconcileOperator(task_id="settle", job=imported.output, action="accept", trigger_rule="all_done")
        undo = BadgeRevokeOperator(task_id="undo", job=imported.output, dry_run=False, trigger_rule="all_done")
        by_text = BadgeRevokeOperator(task_id="count", job="{{ ti.xcom_pull(task_ids='import_badges') }}")
        imported >> by_text
    settle.job, undo.job, by_text.job = None, [None], "None"  # what an import that returned nothing renders to
    settled = settle.execute(context(None, **states))
    assert (settled["jobs"], settled["unknown_before"], settled["accepted"]) == (1, 20, 20)
    assert by_text.execute(context(None, **states))["to_revoke"] == 10
    undone = undo.execute(context(None, **states))
    assert (undone["revoked"], undone["without_id"]) == (10, 20)
    elsewhere = cast(Context, {"ti": SimpleNamespace(**ids(task_id="undo", run_id="another"))})
    with pytest.raises(AirflowSkipException, match=r"the ledger sqlite:.* holds none of an import of this run"):
        undo.execute(elsewhere)


def test_killed_parts_are_reported_beside_others(simulator: RunningSimulator, task: Tasks) -> None:
    with DAG("nightly", schedule=None):
        imported = BadgeImportOperator.partial(task_id="import_badges").expand(dataset=[[], []])
        report = BadgeErrorReportOperator(task_id="report", job=imported.output)
    good = task(map_index=0).run(rows(1))
    _, failed = task(map_index=1).fail([*rows(1), {**rows(2)[1], "customer_id": "none"}], max_rejected=0)
    earlier = task(map_index=5).run(rows(1))  # of an earlier, longer expansion
    assert failed is not None
    report.job = [good]
    states = {"import_badges_0": "success", "import_badges_1": "failed", "import_badges_2": "failed"}
    pushed: dict[str, Any] = {}
    with pytest.raises(AirflowFailException) as error:
        report.execute(context(pushed, **states))
    assert "import_badges[1] failed: 1 refused" in str(error.value)
    assert "import_badges[2] began no job, and sent nothing" in str(error.value)
    assert earlier["job_id"] not in str(error.value)
    assert pushed["return_value"]["jobs"] == 2


def test_an_import_that_was_skipped_is_no_failure(simulator: RunningSimulator, task: Tasks) -> None:
    _, report = tasks()
    task().run(rows(1))  # before a clear; this time the import is skipped
    report.job = None
    with pytest.raises(AirflowSkipException):
        report.execute(context(import_badges="skipped"))


def test_an_import_without_a_job_fails_the_report(home: Path) -> None:
    _, report = tasks()
    report.job = None
    with pytest.raises(AirflowFailException, match=r"import_badges began no job.*nothing was sent"):
        report.execute(context(import_badges="failed"))


def test_an_older_success_hides_no_failed_try(simulator: RunningSimulator, task: Tasks) -> None:
    _, report = tasks()
    task().run(rows(1))
    report.job = None
    with pytest.raises(AirflowFailException, match="the last try of import_badges began no job"):
        report.execute(context(import_badges="failed"))


def test_rows_within_the_budget_fail_no_report(simulator: RunningSimulator, task: Tasks) -> None:
    _, report = tasks()
    report.job = task().run([*rows(1), {**rows(2)[1], "customer_id": "none"}], max_rejected=1)
    assert report.execute(context(import_badges="success"))["rows_reported"] == 1


def test_a_remote_jobs_lease_is_waited_for(home: Path, simulator: RunningSimulator) -> None:
    from airflow_provider_capillary.ledger.facts import JobPlan, JobScope

    behind = [0.0]
    url = f"sqlite:///{home / 'capillary_ledger.db'}"
    elsewhere = Ledger(url, owner="elsewhere/1/1", clock=lambda: time.time() - behind[0])
    job = elsewhere.open_job(
        JobScope("nightly", "import_badges", RUN, -1, 3), JobPlan("shop", "https://api", "f", 4, {})
    )
    _, report = tasks()
    report.job = None
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        behind[0] = 2 * LEASE_SECONDS
        elsewhere.renew_lease(job)  # from now on its lease was over a minute ago

    report._wait = wait
    with closing(elsewhere), pytest.raises(AirflowFailException, match="died: 0 in doubt, 4 not sent"):
        report.execute(context(import_badges="failed"))
    assert len(waits) <= 1
