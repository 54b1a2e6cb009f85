"""The operator that undoes imports, as a worker runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_capillary.operators.badge_revoke import BadgeRevokeOperator
from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import BADGE, rows

Tasks = Callable[..., Any]
KEYS = [
    "jobs",
    "dry_run",
    "to_revoke",
    "badges",
    "revoked",
    "not_active",
    "refused",
    "unconfirmed",
    "already_revoked",
    "free",
    "without_id",
    "unknown",
    "reasons",
]


@pytest.fixture
def imported(simulator: RunningSimulator, task: Tasks) -> dict[str, Any]:
    return cast(dict[str, Any], task().run(rows(20)))


def revoke(task: Tasks, job: Any, pushed: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    context: Any = task(task_id="undo").context()
    context["ti"].xcom_push = lambda key, value: ({} if pushed is None else pushed).__setitem__(key, value)
    return BadgeRevokeOperator(task_id="undo", job=job, **arguments).execute(cast(Context, context))


def active(simulator: RunningSimulator) -> int:
    return int(simulator.simulator.summary()["active"])


def test_the_default_only_says_what_it_would_revoke(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY_DEFAULT")  # which is not needed for it
    found = revoke(task, imported)
    assert list(found) == KEYS
    assert (found["dry_run"], found["to_revoke"], found["badges"], found["revoked"]) == (True, 20, {BADGE: 20}, 0)
    assert active(simulator) == 20


@pytest.mark.parametrize("no", [False, "False", " false ", 0], ids=repr)
def test_asked_to_it_takes_the_badges_back_once(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks, no: Any
) -> None:
    found = revoke(task, imported, dry_run=no)
    assert (found["dry_run"], found["to_revoke"], found["revoked"]) == (False, 20, 20)
    assert active(simulator) == 0
    again = revoke(task, imported, dry_run=no)
    assert (again["to_revoke"], again["revoked"], again["already_revoked"]) == (0, 0, 20)
    assert simulator.simulator.request_counts()["POST /api_gateway/v1/badges/customer/revokeEarn"] == 20


@pytest.mark.parametrize("unclear", [None, "", "None", "no", "maybe", 2], ids=repr)
def test_an_unclear_word_takes_nothing_back(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks, unclear: Any
) -> None:
    with pytest.raises(AirflowFailException, match="neither true nor false"):
        revoke(task, imported, dry_run=unclear)
    assert active(simulator) == 20


def test_a_later_import_regrants_no_revoked_row(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks
) -> None:
    revoke(task, imported, dry_run=False)
    later = task(run_id="backfill").run(rows(25))
    assert (later["already_accepted"], later["accepted"]) == (20, 5)
    assert active(simulator) == 5


def test_refusals_fail_with_counts(simulator: RunningSimulator, imported: dict[str, Any], task: Tasks) -> None:
    simulator.use_faults([StatusFault(status=400, code=1026, operation="revoke", numbers=(3,))])
    pushed: dict[str, Any] = {}
    with pytest.raises(AirflowFailException, match="1 of 20 badges are not revoked"):
        revoke(task, imported, pushed, dry_run=False)
    assert (pushed["return_value"]["revoked"], pushed["return_value"]["refused"]) == (19, 1)


@pytest.mark.parametrize("job", [None, "None", []], ids=repr)
def test_without_a_job_the_task_is_skipped(simulator: RunningSimulator, task: Tasks, job: Any) -> None:
    with pytest.raises(AirflowSkipException):
        revoke(task, job, dry_run=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"job": "4711"}, "holds no job '4711'"),
        ({"capillary_conn_id": "none_such"}, "none_such"),
        ({"ledger_conn_id": "none_such"}, "none_such"),
    ],
    ids=str,
)
def test_a_wrong_argument_revokes_nothing(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        revoke(task, **{"job": imported, "dry_run": False, **arguments})
    assert active(simulator) == 20


def test_neither_rows_nor_secrets_are_logged(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks, logged: Callable[[int], str]
) -> None:
    logged(logging.DEBUG)
    revoke(task, imported, dry_run=False)
    text = logged(logging.INFO)
    assert "Of 20 badges 20 are revoked" in text
    assert f"{BADGE}: 20 earned badges" in text
    assert "90000" not in text
    assert simulator.settings.password not in text


def test_on_kill_before_anything_began_is_harmless() -> None:
    BadgeRevokeOperator(task_id="undo", job="x").on_kill()


def test_freed_rows_are_granted_by_the_next_import(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks
) -> None:
    found = revoke(task, imported, dry_run=False, import_again="True")
    assert (found["revoked"], found["free"]) == (20, 20)
    later = task(run_id="corrected").run(rows(20, earnExpiresOn=1_900_000_000))
    assert later["accepted"] == active(simulator) == 20


@pytest.mark.parametrize("unclear", [None, "yes please"], ids=repr)
def test_an_unclear_word_frees_nothing(
    simulator: RunningSimulator, imported: dict[str, Any], task: Tasks, unclear: Any
) -> None:
    with pytest.raises(AirflowFailException, match=r"import_again=.*neither true nor false"):
        revoke(task, imported, dry_run=False, import_again=unclear)
    assert active(simulator) == 20
