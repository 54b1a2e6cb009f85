"""Nothing that a chain of tasks leaves behind holds a credential, though Airflow's masking is switched off here."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.serde import serialize

from airflow_provider_capillary.hooks import capillary
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.simulator.fault_plan import DropFault, RowErrorFault, StatusFault
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

LOGIN, PASSWORD, SECRET = "kestrel.till", "p4ss-Kestrel-word", "0auth-Kestrel-secret"
DIGEST = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
HEADER = base64.b64encode(f"{LOGIN}:{DIGEST}".encode()).decode()
BADGE, CUSTOMER, EMAIL = "654e08f2041fd452b3ef5b2e", 9_007_199_254, "jane.kestrel@example.org"
OUTCOMES = [
    "success",
    "refused",
    "not accepted",
    "no proof",
    "echoed for all",
    "echoed for a row",
]


def faults(outcome: str, auth_type: str) -> list[Any]:
    """What goes wrong; an unkind server repeats in its refusal the credentials that it was sent."""
    basic = f"you sent Basic {HEADER} that is {HEADER} of {DIGEST} of {PASSWORD}"
    echo = basic if auth_type == "basic" else f"you sent the secret {SECRET}"
    plans: dict[str, list[Any]] = {
        "refused": [StatusFault(status=403)],
        "not accepted": [StatusFault(status=401)],
        "no proof": [DropFault(at="after_applying")],
        "echoed for all": [StatusFault(status=403, message=echo)],
        "echoed for a row": [RowErrorFault(code=1026, message=echo)],
    }
    return plans.get(outcome, [])


class Left:
    """What a chain of tasks left behind, by where it was found."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def add(self, place: str, text: str | bytes) -> None:
        self.places[place] = self.places.get(place, "") + (text if isinstance(text, str) else text.decode("latin-1"))

    def holding(self, text: str) -> set[str]:
        return {place for place, found in self.places.items() if text in found}


def run(left: Left, operator: Any, context: Any) -> Any:
    """Run one task, and note all that it leaves: its rendered fields, its XCom, and what its failure says."""
    pushed: dict[str, Any] = {}
    context["ti"].xcom_push = lambda key, value: pushed.__setitem__(key, value)
    operator.render_template_fields(cast(Context, {"ds": "2025-01-15", **context}))
    left.add("rendered fields", repr([getattr(operator, name) for name in operator.template_fields]))
    try:
        pushed["return_value"] = operator.execute(context)
    except AirflowException as error:
        left.add("exceptions", "".join(traceback.format_exception(error)))
    left.add("XCom", json.dumps(serialize(pushed)))
    return pushed.get("return_value")


def warehouse(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE earned (badge_meta_id, customer_id, earn_event_date, earn_expires_on, email)")
        dates = ("2025-01-15T12:00:00Z", "2026-01-15T12:00:00Z")
        good = [(BADGE, CUSTOMER + number, *dates, EMAIL) for number in range(20)]
        connection.executemany("INSERT INTO earned VALUES (?, ?, ?, ?, ?)", [*good, (BADGE, -CUSTOMER, *dates, EMAIL)])


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Secrets that Airflow was to mask; here it is not asked, so that nothing is masked."""
    secrets: list[str] = []
    monkeypatch.setattr(capillary, "mask_secret", secrets.append)
    return secrets


@pytest.mark.parametrize("auth_type", ["basic", "oauth"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_left_behind_has_credentials_or_rows(
    connect: Callable[..., Any],
    task: Callable[..., Any],
    logged: Callable[[int], str],
    reported: list[str],
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    auth_type: str,
    outcome: str,
) -> None:
    settings = {"username": LOGIN, "password": PASSWORD, "oauth_key": "kestrel-key", "oauth_secret": SECRET}
    simulator = connect(auth_type, simulator={**settings, "faults": faults(outcome, auth_type)})
    warehouse(tmp_path / "shop.db")
    fields = {"conn_type": "sqlite", "host": str(tmp_path / "shop.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    left = Left()
    extracted = run(
        left,
        SqlToBadgeDatasetOperator(
            task_id="extract", conn_id="warehouse", sql="SELECT * FROM earned", dataset_path=(home / "set").as_uri()
        ),
        task().context(),
    )
    importing = BadgeImportOperator(task_id="import", dataset=extracted, on_unknown="hold", max_rejected=5)
    summary = run(left, importing, task().context())
    returned = run(left, BadgeErrorReportOperator(task_id="report", job=summary), task().context())
    left.add("log from DEBUG on", logged(logging.DEBUG))
    for path in home.glob("capillary_ledger.db*"):
        left.add("ledger", path.read_bytes())
    for uri in (returned["errors_csv"], returned["summary_json"]):
        left.add("report", Path(uri.removeprefix("file://")).read_bytes())

    # Each place was really looked into, and the run went as it was meant to.
    assert left.holding(summary["job_id"]) >= {"XCom", "log from DEBUG on", "ledger", "report"}
    assert (summary["accepted"] == 20) == (outcome == "success")
    assert summary["accepted"] + summary["unknown"] == len(simulator.store)
    assert bool(left.places.get("exceptions")) == (outcome != "success")
    assert left.holding(str(-CUSTOMER)) >= {"report", "ledger"}
    tokens = [secret for secret in reported if secret.startswith("eyJ")]
    assert (auth_type == "oauth") == bool(tokens)

    for secret in {PASSWORD, DIGEST, HEADER, SECRET, *reported}:
        assert left.holding(secret) == set()
    for value in (EMAIL, *(str(CUSTOMER + number) for number in range(20)), str(CUSTOMER)):
        assert left.holding(value) <= {"report", "ledger"}
