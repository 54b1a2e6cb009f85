"""What an Airflow keeps of a night's import: no credential in any file of its home, no row where it has no business."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.simulator.server import running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev.sample_data.warehouse import BADGES

NIGHTLY = Path(__file__).parents[2] / "dags" / "nightly_badge_sync.py"
LOGIN, PASSWORD, SECRET = "osprey.till", "p4ss-Osprey-word", "0auth-Osprey-secret"
DIGEST = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
HEADER = base64.b64encode(f"{LOGIN}:{DIGEST}".encode()).decode()
#: Every token of the simulator begins so; Airflow's own, which are of another kind, do not.
TOKEN = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": "JWT"}).encode()).decode().rstrip("=")

#: `dags test` has the supervisor in its own process, which notes at DEBUG what it is to mask, in clear.
MASKING = "msg=MaskSecret("


def files_holding(text: str, folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    }


@pytest.mark.timeout(300)  # Airflow starts with the first of them
@pytest.mark.parametrize("auth_type", ["basic", "oauth"])
@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_leaves_no_credential_or_row_behind(
    airflow_process: Any, tmp_path: Path, auth_type: str, state: str
) -> None:
    badges = BADGES.values() if state == "success" else [BADGES["big_basket"]]
    credentials: dict[str, Any] = {
        "username": LOGIN,
        "password": PASSWORD,
        "oauth_key": "osprey-key",
        "oauth_secret": SECRET,
    }
    with running_simulator(badges=catalogue(badges), **credentials) as simulator:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(auth_type, organisation=tmp_path.name)}
        days = {"date_from": "2025-03-18", "date_to": "2025-03-19"}
        ended = airflow_process.run(NIGHTLY, "nightly_badge_sync", env, run_conf=days)
        customers = {str(grant.customer_id) for grant in simulator.store.grants()}
    assert ended.state == state
    assert len(customers) > 5

    # The search finds what is there: the run in database, ledger and log, customers in what is theirs to be in.
    home = airflow_process.home
    found_in = {name.removesuffix("-wal") for name in files_holding(ended.run_id, home)}
    assert found_in >= {"airflow.db", "capillary_ledger.db", "dag_runs.log"}
    [summary] = ended.returned["import_badges"]
    assert any(name.startswith("reports/") for name in files_holding(summary["job_id"], home))
    log = "\n".join(line for line in ended.log.splitlines() if MASKING not in line)
    for secret in (PASSWORD, DIGEST, HEADER, SECRET, TOKEN):
        assert files_holding(secret, home) <= {"dag_runs.log"}
        assert secret not in log

    kept = [
        repr(airflow_process.rows(f"SELECT * FROM {table} WHERE run_id = ?", ended.run_id))
        for table in ("xcom", "rendered_task_instance_fields")
    ]
    assert all(len(text) > 200 for text in kept)
    info = "\n".join(line for line in ended.log.splitlines() if "[debug" not in line)
    assert "rows read" in info
    numbers = {number for text in (*kept, info) for number in re.findall(r"(?<![\w-])\d+(?![\w-])", text)}
    assert numbers & customers == set()
