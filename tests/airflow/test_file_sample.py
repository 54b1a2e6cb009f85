"""The sample that imports one file: a report's errors.csv, corrected in place, goes in as it is."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_provider_capillary.simulator.server import running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev.sample_data.warehouse import BADGES

FILE = Path(__file__).parents[2] / "dags" / "import_badge_file.py"
BADGE = BADGES["big_basket"]


@pytest.mark.timeout(300)
def test_a_corrected_row_of_a_failed_run_goes_in(airflow_process: Any, tmp_path: Path) -> None:
    rows = [
        {
            "badge_meta_id": BADGE,
            "customer_id": customer,
            "earn_event_date": "2025-01-15 12:00",
            "expires": 1_968_478_400,
        }
        for customer in (91_000_001, 91_000_002, "mobile 3")
    ]
    for row in rows:
        row["earn_expires_on"] = row.pop("expires")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with running_simulator(badges=catalogue([BADGE])) as simulator:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}

        def imported(file: Path, **form: Any) -> Any:
            form = {"file": str(file), "timezone": "Asia/Kolkata", **form}
            return airflow_process.run(FILE, "import_badge_file", env, run_conf=form)

        tried = imported(tmp_path / "rows.jsonl", dry_run=True)
        assert (tried.returned["import_badges"][0]["not_sent"], len(simulator.store)) == (2, 0)
        first = imported(tmp_path / "rows.jsonl")
        assert (first.state, len(simulator.store)) == ("failed", 2)
        errors = Path(first.returned["report"][0]["errors_csv"].removeprefix("file://"))
        corrected = tmp_path / "corrected.csv"
        corrected.write_text(errors.read_text("utf-8").replace("mobile 3", "91000003"), "utf-8")
        assert len(list(csv.DictReader(corrected.read_text("utf-8").splitlines()))) == 1
        second = imported(corrected)
        assert (second.state, second.returned["import_badges"][0]["accepted"]) == ("success", 1), second.log[-5_000:]
        assert len(simulator.store) == 3


@pytest.mark.parametrize("file", ["", None, 4711, ["a.csv"]], ids=str)
def test_the_form_takes_one_file(file: Any) -> None:
    form = runpy.run_path(str(FILE))["import_badges"].dag.params
    form.update({"file": "file:///data/errors.csv"})
    with pytest.raises(ParamValidationError, match="file"):
        form.update({"file": file})
