"""The operator that notes what was granted elsewhere, as a worker runs it; and the imports that follow."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy.exc import OperationalError

from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.ledger.facts import Intent, JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.operators import witness_variable
from airflow_provider_capillary.operators.badge_reconcile import BadgeReconcileOperator
from airflow_provider_capillary.operators.badge_revoke import BadgeRevokeOperator
from airflow_provider_capillary.operators.badge_seed import BadgeSeedOperator
from airflow_provider_capillary.simulator.fault_plan import DropFault, RowErrorFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import BADGE, EARNED, ends, granted_twice, parquet, rows

Tasks = Callable[..., Any]


def seed(task: Tasks, dataset: Any, *, pushed: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    context: Any = task(task_id="seed").context()
    context["ti"].xcom_push = lambda key, value: ({} if pushed is None else pushed).__setitem__(key, value)
    return BadgeSeedOperator(task_id="seed", dataset=dataset, **arguments).execute(cast(Context, context))


def counts(summary: dict[str, Any]) -> dict[str, int]:
    """What became of the rows of a seed, without the zeros."""
    names = ("seeded", "already_held", "in_flight", "invalid", "not_seeded")
    assert sum(summary[name] for name in names) == summary["rows_read"]
    return {name: summary[name] for name in names if summary[name]}


def export(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Rows as an export has them: an id, no expiry."""
    given = [row | {"earnId": f"{row['customerId']:024x}"} | changes for row in rows(count)]
    return [{name: value for name, value in row.items() if name != "earnExpiresOn"} for row in given]


def states(home: Path) -> dict[str, int]:
    with closing(sqlite3.connect(home / "capillary_ledger.db")) as database:
        return dict(database.execute("SELECT state, count(*) FROM capillary_row GROUP BY state").fetchall())


def test_an_import_of_seeded_rows_sends_nothing(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    summary = seed(task, parquet(tmp_path / "export.parquet", export(2_500)))
    assert counts(summary) == {"seeded": 2_500}
    assert not any(path for path in simulator.simulator.request_counts())  # not even a token was asked for
    assert ends(task().run(parquet(tmp_path / "night.parquet", rows(2_600)))) == {
        "accepted": 100,
        "already_accepted": 2_500,
    }
    assert len(simulator.store) == 100


def test_repeating_a_seed_changes_nothing(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    first = seed(task, export(50))
    again = seed(task, export(50))
    assert counts(again) == {"already_held": 50}
    assert again["job_id"] == first["job_id"]
    assert again["accepted"] == 50  # of the job, whichever try noted them
    with closing(sqlite3.connect(home / "capillary_ledger.db")) as database:
        [(batches, proof, by)] = database.execute("SELECT count(*), min(proof), min(request_id) FROM capillary_batch")
    assert (batches, proof) == (1, "seed")
    assert "dag nightly" in by
    assert "task seed" in by


def test_one_task_seeds_another_dataset_and_imports(simulator: RunningSimulator, task: Tasks) -> None:
    for count in (10, 20):
        context = task().context()
        BadgeSeedOperator(task_id="import_badges", dataset=export(count)).execute(context)
    assert ends(task().run(rows(30))) == {"accepted": 10, "already_accepted": 20}


def test_equal_rows_with_two_ids_are_two_grants(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    [row] = export(1)
    twice = [row, row | {"earnId": "f" * 24}, row, row | {"earnId": None}, row | {"earnId": "f" * 24}]
    summary = seed(task, twice)
    assert counts(summary) == {"seeded": 2, "already_held": 3}
    assert summary["repeated"] == 3
    assert counts(seed(task, twice[:2])) == {"already_held": 2}
    assert ends(task().run(rows(1), on_duplicate="allow")) == {"already_accepted": 1}


def test_too_many_invalid_rows_leave_the_ledger(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    given = [*export(20), *export(2, customerId="x"), *export(1, earnEventDate="2025-01-15 12:00:00")]
    pushed: dict[str, Any] = {}
    with pytest.raises(
        AirflowFailException, match=r"3 of 23 rows are invalid.*Nothing was recorded.*no offset|timezone"
    ):
        seed(task, given, pushed=pushed)
    summary = pushed["return_value"]
    assert counts(summary) == {"invalid": 3, "not_seeded": 20}
    assert sum(reason["rows"] for reason in summary["reasons"]) == 3
    assert states(home) == {}
    allowed = seed(task, given, max_invalid=3)
    assert counts(allowed) == {"seeded": 20, "invalid": 3}
    with closing(Ledger(f"sqlite:///{home}/capillary_ledger.db")) as ledger:
        assert [issue.row_number for issue in ledger.issues(allowed["job_id"])] == [21, 22, 23]


def test_unproven_rows_are_accepted_in_their_import(
    connect: Callable[..., RunningSimulator], task: Tasks, home: Path
) -> None:
    simulator = connect()
    simulator.use_faults([DropFault(at="after_applying", first=2)])
    _, summary = task().fail(rows(20), on_unknown="hold", batch_size=10, canary=False, concurrency=1)
    assert summary is not None
    assert ends(summary) == {"accepted": 10, "unknown": 10}
    seeded = seed(task, export(20))
    assert counts(seeded) == {"seeded": 10, "already_held": 10}
    assert seeded["settled"] == 10
    with closing(Ledger(f"sqlite:///{home}/capillary_ledger.db")) as ledger:
        job = ledger.job(summary["job_id"]).summary
        assert job is not None
        assert (job["accepted"], job["unknown"], job["settled"]) == (20, 0, {"accepted": 10})
        proofs = {row.proof for page in ledger.rows(summary["job_id"]) for row in page}
    assert proofs == {"reply", "seed"}
    simulator.use_faults(None)
    assert ends(task(max_tries=9).run(rows(20))) == {"already_accepted": 20}
    assert not granted_twice(simulator)


def test_refused_rows_granted_elsewhere_are_not_resent(
    connect: Callable[..., RunningSimulator], task: Tasks, home: Path
) -> None:
    simulator = connect()
    simulator.use_faults([RowErrorFault(code=1026, message="no such customer", customer_id=9_000_002)])
    task().run(rows(10), canary=False, max_rejected="100%")
    assert states(home) == {"accepted": 9, "rejected": 1}
    assert counts(seed(task, export(10))) == {"seeded": 1, "already_held": 9}
    assert states(home) == {"accepted": 10}
    simulator.use_faults(None)
    assert ends(task(max_tries=9).run(rows(10))) == {"already_accepted": 10}


def test_a_running_imports_rows_are_left(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    seed(task, export(1))  # makes the ledger, under the organisation's name
    with closing(Ledger(f"sqlite:///{home}/capillary_ledger.db", owner="elsewhere")) as ledger:
        [job] = ledger.jobs()
        scope, plan = JobScope("d", "t", "r"), JobPlan(job.organisation, "", "f", 5, {})
        running = ledger.open_job(scope, plan)
        badges = EarnedBadges([1, 2], [BADGE] * 2, [9_000_002, 9_000_003], [EARNED] * 2, [EARNED + 9] * 2)
        ledger.record(running, [Intent(badges, "f", "r", 1)])
        pushed: dict[str, Any] = {}
        with pytest.raises(AirflowException, match="2 of 5 rows were left alone") as failed:
            seed(task, export(5), pushed=pushed)
        assert not isinstance(failed.value, AirflowFailException)  # a retry looks again
        assert counts(pushed["return_value"]) == {"seeded": 2, "already_held": 1, "in_flight": 2}
        ledger.finish_job(running, "failed", None)
    assert counts(seed(task, export(5))) == {"seeded": 2, "already_held": 3}


def test_a_seed_can_be_revoked_by_its_ids(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    granted = task().run(rows(5))
    given = [
        row | {"earnId": grant.earned_badge_id} for row, grant in zip(rows(5), simulator.store.grants(), strict=True)
    ]
    (home / "capillary_ledger.db").unlink()  # the ledger is lost, and there is an export
    seeded = seed(task, [*given, *rows(1, first=6)])
    assert granted["accepted"] == 5
    assert counts(seeded) == {"seeded": 6}
    undone = BadgeRevokeOperator(task_id="undo", job=seeded, dry_run=False).execute(task(task_id="undo").context())
    assert (undone["revoked"], undone["without_id"]) == (5, 1)
    assert simulator.simulator.summary()["active"] == 0
    assert counts(seed(task, [*given, *rows(1, first=6)])) == {"already_held": 6}
    assert ends(task(max_tries=9).run(rows(6))) == {"already_accepted": 6}


def test_a_dry_run_says_what_it_would_do(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    task().run(rows(4))
    assert counts(seed(task, export(10), dry_run=True)) == {"seeded": 6, "already_held": 4}
    assert states(home) == {"accepted": 4}
    assert counts(seed(task, export(10))) == {"seeded": 6, "already_held": 4}


def test_names_units_and_zones_lead_to_the_same_rows(simulator: RunningSimulator, task: Tasks) -> None:
    in_ms = [row | {"earnedOn": row.pop("earnEventDate") * 1_000} for row in export(3)]
    seed(task, in_ms, field_mapping={"earnEventDate": "earnedOn", "earnedBadgeId": "earnId"}, timestamp_unit="ms")
    naive = export(3, earnEventDate="2025-01-15 17:30:00")
    assert counts(seed(task, naive, timezone="Asia/Kolkata")) == {"already_held": 3}


def test_a_dataset_without_rows_seeds_nothing(simulator: RunningSimulator, task: Tasks, home: Path) -> None:
    assert counts(seed(task, [])) == {}


def test_a_command_without_airflow_s_database_warns_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable() -> Any:
        raise OperationalError("SELECT", {}, Exception("no such table: variable"))

    monkeypatch.setattr(witness_variable, "_model", unreachable)
    with closing(Ledger(f"sqlite:///{home.parent}/ledger.db")) as ledger:
        witness_variable.witness_by_database(ledger, "shop").accept_seeded("Ada")
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "no Airflow database" in warning


def test_a_seeded_row_needs_no_reconciliation(simulator: RunningSimulator, task: Tasks) -> None:
    seeded = seed(task, export(3))
    operator = BadgeReconcileOperator(task_id="settle", job=seeded)
    assert operator.execute(task(task_id="settle").context())["unknown_before"] == 0
