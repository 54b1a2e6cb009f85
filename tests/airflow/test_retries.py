"""What a real Airflow makes of errors: when it tries again, when it does not, and what it shows of the import."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import running_simulator

# on 3.2 the two tasks would wait for their retry_delay of an hour
pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow has retry policies since 3.3")
DAGS = Path(__file__).with_name("dags") / "retried.py"
BADGE = "654e08f2041fd452b3ef5b2e"
ROWS, ASKED, WAITING = 20, 2.0, ("asked_to_wait", "mapped")
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first test of the folder


def dataset(path: Path, customer: int) -> str:
    """Rows of one customer, so that all are of one lane: its refusals are counted."""
    row = {"badgeMetaId": BADGE, "customerId": customer, "earnExpiresOn": 1_768_478_400}
    rows = [row | {"earnEventDate": 1_736_942_400 + 86_400 * day} for day in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def retried(airflow_process: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """One run of three imports: two are refused with 429 until their first try gives up, one has a wrong password."""
    folder = tmp_path_factory.mktemp("retried")
    one, other = dataset(folder / "one.jsonl", 9_000_000), dataset(folder / "other.jsonl", 9_500_000)
    # an import gives up after six refusals; the last of each is the one that Airflow hears of
    last = StatusFault(status=429, retry_after=ASKED, numbers=(6, 12))
    with running_simulator(faults=[last, StatusFault(status=429, retry_after=0, times=10)]) as simulator:
        good = json.loads(simulator.airflow_connection(organisation=folder.name))
        env = {
            "AIRFLOW_CONN_CAPILLARY_DEFAULT": json.dumps(good),
            "AIRFLOW_CONN_WRONG_PASSWORD": json.dumps(good | {"password": "not this one"}),
        }
        ended = airflow_process.run(DAGS, "retried", env, run_conf={"dataset": one, "other": other})
        return ended, simulator.simulator.summary()


def test_a_retry_comes_when_the_api_said(retried: tuple[Any, dict[str, Any]], airflow_process: Any) -> None:
    ended, _ = retried
    for task in WAITING:
        assert (ended.tasks[task], ended.tries[task]) == (["success"], [2]), ended.log[-5_000:]
        [(failed_at, delay, reason)] = airflow_process.rows(
            "SELECT end_date, retry_delay_override, retry_reason FROM task_instance_history"
            " WHERE task_id = ? AND run_id = ? AND try_number = 1",
            *(task, ended.run_id),
        )
        [(begun_at,)] = airflow_process.rows(
            "SELECT start_date FROM task_instance WHERE task_id = ? AND run_id = ?", *(task, ended.run_id)
        )
        waited = (datetime.fromisoformat(begun_at) - datetime.fromisoformat(failed_at)).total_seconds()
        assert ASKED <= waited < 60  # the task's own retry_delay is an hour
        assert ASKED <= delay <= 1.1 * ASKED
        assert reason == "asked to wait 2.0 s before the next try"


def test_a_retry_by_policy_continues_the_job(retried: tuple[Any, dict[str, Any]], airflow_process: Any) -> None:
    ended, granted = retried
    query = "SELECT DISTINCT max_tries FROM {} WHERE task_id IN (?, ?) AND run_id = ?"
    for table in ("task_instance_history", "task_instance"):
        assert airflow_process.rows(query.format(table), *WAITING, ended.run_id) == [(3,)]
    for task in WAITING:
        [summary] = ended.returned[task]
        assert f"Beginning job {summary['job_id']}" in ended.log
        assert f"Going on with job {summary['job_id']}" in ended.log
        assert (summary["accepted"], summary["not_sent"]) == (ROWS, 0)
    assert (granted["grants"], granted["grantedTwice"]) == (2 * ROWS, 0)


def test_a_wrong_password_uses_no_further_try(retried: tuple[Any, dict[str, Any]]) -> None:
    ended, _ = retried
    assert ended.state == "failed"
    assert (ended.tasks["wrong_password"], ended.tries["wrong_password"]) == (["failed"], [1])
    assert "wrong_password" not in ended.returned


def test_the_state_store_shows_how_each_import_ended(retried: tuple[Any, dict[str, Any]], airflow_process: Any) -> None:
    ended, _ = retried
    kept = airflow_process.rows(
        "SELECT task_id, key, value FROM task_state_store WHERE dag_id = 'retried' AND run_id = ?", ended.run_id
    )
    assert {key for _, key, _ in kept} == {"progress"}
    shown = {task: json.loads(value) for task, _, value in kept}
    for task in WAITING:
        [summary] = ended.returned[task]
        value = shown[task]
        assert (value["state"], value["job_id"], value["share"]) == ("finished", summary["job_id"], 1.0)
        assert (value["epoch"], value["try_number"], value["rows"]) == (3, 2, ROWS)
        assert value["counts"]["accepted"] == ROWS
        assert abs((datetime.now(UTC) - datetime.fromisoformat(value["updated_at"])).total_seconds()) < 600
    assert (shown["wrong_password"]["state"], shown["wrong_password"]["job_id"]) == ("failed", "")


def test_log_groups_do_not_overlap(retried: tuple[Any, dict[str, Any]]) -> None:
    ended, _ = retried
    ours = [line for line in ended.log.splitlines() if "group::" in line and "live_progress" in line]
    # two tries of two tasks; the third task never came so far
    assert ["::group::Sending" in line for line in ours] == [True, False] * 4
    assert ["::endgroup::" in line for line in ours] == [False, True] * 4
