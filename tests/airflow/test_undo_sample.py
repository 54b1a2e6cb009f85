"""The sample that takes back what one import granted: a form, a dry run first."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_provider_capillary.simulator.server import running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev.sample_data.warehouse import BADGES

UNDO_FILE = Path(__file__).parents[2] / "dags" / "undo_badges.py"
IMPORTS_FILE = Path(__file__).with_name("dags") / "odd_imports.py"
BADGE = BADGES["big_basket"]


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    row = {"badge_meta_id": BADGE, "earn_event_date": 1_736_942_400, "earn_expires_on": 1_968_478_400}
    rows = [row | {"customer_id": 91_000_000 + number} for number in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "rows.jsonl")


@pytest.mark.timeout(300)
def test_an_undone_job_stays_undone(airflow_process: Any, tmp_path: Path, dataset: str) -> None:
    with running_simulator(badges=catalogue([BADGE])) as simulator:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}

        def imported() -> dict[str, Any]:
            ended = airflow_process.run(IMPORTS_FILE, "retried_import", env, run_conf={"dataset": dataset})
            return dict(ended.returned["import_badges"][0])

        def undone(**form: bool) -> dict[str, Any]:
            ended = airflow_process.run(UNDO_FILE, "undo_badges", env, run_conf={"job": job, **form})
            assert ended.state == "success", ended.log[-5_000:]
            return dict(ended.returned["undo"][0])

        def active() -> int:
            return sum(grant.is_active for grant in simulator.store.grants())

        job = imported()["job_id"]
        tried = undone()
        assert (tried["dry_run"], tried["to_revoke"], tried["revoked"], active()) == (True, 5, 0, 5)
        done = undone(dry_run=False)
        assert (done["dry_run"], done["revoked"], active()) == (False, 5, 0)
        once_more = undone(dry_run=False)
        assert (once_more["revoked"], once_more["already_revoked"]) == (0, 5)
        again = imported()
        assert (again["accepted"], again["already_accepted"], active()) == (0, 5, 0)
        assert [(reason["message"], reason["rows"]) for reason in again["reasons"]] == [("revoked, not sent", 5)]
        undone(dry_run=False, import_again=True)
        assert (imported()["accepted"], active()) == (5, 5)


@pytest.mark.parametrize("job", ["", "abc", 4711, ["6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10"]], ids=str)
def test_the_form_takes_one_job_id_only(job: Any) -> None:
    form = runpy.run_path(str(UNDO_FILE))["undo"].dag.params
    form.update({"job": "6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10"})
    with pytest.raises(ParamValidationError, match="job"):
        form.update({"job": job})
