"""Operator, decorator, hook and callback side by side, as the sample for DAGs of one's own has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_capillary.operators.airflow_installation import HAS_RETRY_POLICIES
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev.sample_data.warehouse import BADGES
from tests.airflow.smtp_server import Mailbox, running_mailbox

FILE = Path(__file__).parents[2] / "dags" / "reuse_in_your_dag.py"
COMEBACK = BADGES["comeback"]
MEMBERS = [90_095_028, 90_308_841, 90_744_386]
Run = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as started:
        yield started


@pytest.fixture
def run(airflow_process: Any, mailbox: Mailbox, tmp_path: Path) -> Run:
    """Runs the sample against a simulator, on a part of the ledger that no other test sees, and with a mail server."""

    def start(simulator: RunningSimulator, **arguments: Any) -> Any:
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port}
        env = {
            "AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name),
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp | {"extra": {"disable_ssl": True, "disable_tls": True}}),
        }
        return airflow_process.run(FILE, "reuse_in_your_dag", env, run_conf=arguments)

    return start


def test_a_success_sends_no_alert(run: Run, mailbox: Mailbox, airflow_process: Any) -> None:
    with running_simulator(badges=catalogue({"id": id, "name": name} for name, id in BADGES.items())) as simulator:
        ended = run(simulator)
        grants = list(simulator.store.grants())
    assert ended.state == "success", ended.log[-5_000:]
    assert mailbox.messages == []
    assert ended.returned["badge_exists"] == ["comeback"]

    anniversaries = [grant for grant in grants if grant.customer_id in MEMBERS and grant.badge_meta_id == COMEBACK]
    assert [grant.customer_id for grant in anniversaries] == MEMBERS
    assert {datetime.fromtimestamp(grant.earned_at, UTC) for grant in anniversaries} == {
        datetime(2025, 3, 18, tzinfo=UTC)
    }
    [summary] = ended.returned["import_partner_file"]
    assert (summary["rows_read"], summary["accepted"], len(grants)) == (7, 7, 10)
    local = datetime(2025, 3, 17, 10, 12, 44, tzinfo=ZoneInfo("Asia/Kolkata")).timestamp()
    assert local in {grant.earned_at for grant in grants}

    # What the decorated function returned is nowhere in Airflow's database: its rows are the dataset, no XCom.
    for table in ("xcom", "rendered_task_instance_fields"):
        query = f"SELECT * FROM {table} WHERE run_id = ? AND task_id = 'import_anniversaries'"
        kept = repr(airflow_process.rows(query, ended.run_id))
        assert len(kept) > 50
        assert not any(str(member) in kept for member in MEMBERS)


def html_of(message: EmailMessage) -> str:
    body = message.get_body(("html",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def test_a_failed_import_alerts_with_its_counts(run: Run, mailbox: Mailbox, tmp_path: Path) -> None:
    lines = [f"{91_000_000 + n},{COMEBACK},2025-03-18T10:00:00,2026-03-18T10:00:00,BLR-04" for n in range(20)]
    lines.append(f"not a number,{COMEBACK},2025-03-18T10:00:00,2026-03-18T10:00:00,BLR-04")
    (tmp_path / "partner.csv").write_text("member,badge,earned,valid_until,store\n" + "\n".join(lines) + "\n")
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = run(simulator, partner_file=(tmp_path / "partner.csv").as_uri())
    assert (ended.state, ended.tasks["import_partner_file"]) == ("failed", ["failed"])
    [message] = mailbox.messages
    assert message["Subject"] == "reuse_in_your_dag: import_partner_file failed"
    assert message["To"] == "loyalty@example.com"
    text = html_of(message)
    assert "21 rows read: 20 accepted, 0 rejected, 1 invalid, 0 unknown, 0 not sent." in text
    assert "<li>1 x " in text
    assert "not a number" not in text


def test_an_import_that_never_began_alerts_with_plain_text(run: Run, mailbox: Mailbox) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = run(simulator, partner_file="file:///no/such/{{ 7 * 191 }}<b>.csv")
    assert ended.tasks["import_partner_file"] == ["failed"]
    [message] = mailbox.messages
    text = html_of(message)
    assert "No row was sent." in text
    # Airflow 3.2 gives no exception to the callbacks of a task that fails for good at once.
    reason = "file:///no/such/{{ 7 * 191 }}&lt;b&gt;.csv: no such file"
    assert (reason if HAS_RETRY_POLICIES else "The log of the task says why.") in text


def test_a_missing_badge_stops_everything_before_sending(run: Run) -> None:
    with running_simulator(badges=catalogue([BADGES["big_basket"]])) as simulator:
        ended = run(simulator)
        assert len(simulator.store) == 0
    assert (ended.tasks["badge_exists"], ended.tries["badge_exists"]) == (["failed"], [1])
    assert ended.tasks["import_anniversaries"] == ended.tasks["import_partner_file"] == ["upstream_failed"]
    assert f"Capillary has no badge {COMEBACK}" in ended.log
