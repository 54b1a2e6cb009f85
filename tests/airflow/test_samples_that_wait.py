"""The samples that wait for something: for the event of another DAG, and for a person's answer."""

from __future__ import annotations

import json
import runpy
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from airflow.sdk.execution_time import macros

from airflow_provider_capillary.operators.airflow_installation import HAS_RETRY_POLICIES
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev.sample_data.warehouse import BADGES

DAGS = Path(__file__).parents[2] / "dags"
BADGE = BADGES["big_basket"]
EARNED, LATER, ENDS = 1_736_942_400, 1_739_620_800, 1_771_156_800  #: noon UTC of 2025-01-15, 2025-02-15, 2026-02-15
Run = Callable[..., Any]


@pytest.fixture
def run(airflow_process: Any, tmp_path: Path) -> Run:
    """Runs a DAG of a file against a simulator, on a part of the ledger that no other test sees."""

    def start(file: Path, dag_id: str, simulator: RunningSimulator, **arguments: Any) -> Any:
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": simulator.airflow_connection(organisation=tmp_path.name)}
        return airflow_process.run(file, dag_id, env, **arguments)

    return start


# --------------------------------------------------------------------------------------------- the event of another DAG

ASSET_FILE = DAGS / "asset_triggered_badge_sync.py"


@pytest.mark.timeout(300)
def test_a_run_imports_every_dataset_its_events_name(run: Run) -> None:
    def extract(simulator: RunningSimulator, day: str) -> dict[str, Any]:
        ended = run(ASSET_FILE, "earned_badges_extract", simulator, run_conf={"day": day})
        [returned] = ended.returned["extract"]
        return dict(returned)

    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        first, second = (extract(simulator, day) for day in ("2025-02-01", "2025-02-02"))
        assert len(simulator.store) == 0
        one = run(ASSET_FILE, "asset_triggered_badge_sync", simulator, by_events=True)
        third = extract(simulator, "2025-02-03")
        two = run(ASSET_FILE, "asset_triggered_badge_sync", simulator, by_events=True)
        granted = len(simulator.store)
        given = {"dataset": first["uri"]}
        again = run(ASSET_FILE, "asset_triggered_badge_sync", simulator, run_conf=given)
        nothing = run(ASSET_FILE, "asset_triggered_badge_sync", simulator)
        assert len(simulator.store) == granted > 900
    assert [ended.state for ended in (one, two, again)] == ["success"] * 3, two.log[-5_000:]
    read = [ended.returned["import_badges"][0]["rows_read"] for ended in (one, two)]
    assert read == [first["rows"], second["rows"] + third["rows"]]
    assert again.returned["import_badges"][0]["accepted"] == 0
    assert one.run_id.startswith("asset_triggered__")

    assert (nothing.state, nothing.tasks["import_badges"]) == ("failed", ["failed"])
    assert nothing.tries["import_badges"] == [1]
    assert "No event began this run. Give a dataset in the form" in nothing.log


@pytest.mark.parametrize(
    ("day", "asked_for"), [(None, ("2026-11-27", "2026-11-28")), ("2025-02-28", ("2025-02-28", "2025-03-01"))], ids=str
)
def test_the_extract_takes_the_forms_day_or_yesterday(day: str | None, asked_for: tuple[str, str]) -> None:
    extract = runpy.run_path(str(ASSET_FILE))["extract"]
    context = {
        "params": {"day": day},
        "dag_run": SimpleNamespace(run_after=datetime(2026, 11, 28, 1, tzinfo=UTC)),
        "macros": macros,
    }

    found = extract.render_template(extract.parameters, context)

    assert (found["date_from"], found["date_to"]) == asked_for


def event(dataset: str | None, hour: int) -> SimpleNamespace:
    extra = {} if dataset is None else {"dataset": dataset}
    timestamp = datetime(2025, 2, 1, hour, tzinfo=UTC)
    return SimpleNamespace(extra=extra, timestamp=timestamp, source_run_id=f"manual__{hour}")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event("s3://lake/b", 4), event("s3://lake/a", 3)], ["s3://lake/a", "s3://lake/b"]),
        ([event("s3://lake/a", 3), event("s3://lake/b", 4), event("s3://lake/a", 5)], ["s3://lake/a", "s3://lake/b"]),
    ],
    ids=["the oldest first", "what was reported of twice once"],
)
def test_of_several_events_the_datasets_are(events: list[Any], expected: list[str]) -> None:
    assert datasets_of(events) == expected


@pytest.mark.parametrize("dataset", [None, ""])
def test_an_event_without_a_dataset_is_named(dataset: str | None) -> None:
    with pytest.raises(AirflowFailException, match=r"no dataset in its extra: that of the run manual__4$"):
        datasets_of([event("s3://lake/a", 3), event(dataset, 4)])


def datasets_of(events: list[Any]) -> Any:
    names = runpy.run_path(str(ASSET_FILE))
    context = {"params": {"dataset": None}, "triggering_asset_events": {names["EARNED_BADGES"]: events}}
    return names["import_badges"].function(**context)


# --------------------------------------------------------------------------------------------------- a person's answer

REVIEW_FILE = DAGS / "review_unknown_badges.py"
IMPORTS_FILE = Path(__file__).with_name("dags") / "odd_imports.py"


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    write(tmp_path / "rows.jsonl.control.jsonl", range(90, 91))
    return write(tmp_path / "rows.jsonl", range(4))


def write(file: Path, customers: range) -> str:
    rows = [
        {
            "badge_meta_id": BADGE,
            "customer_id": 90_000_000 + number,
            "earn_event_date": EARNED,
            "earn_expires_on": EARNED + 31_536_000,
        }
        for number in customers
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def hide(simulator: RunningSimulator, customers: int) -> None:
    """Let these customers earn the badge again later: a read then no longer shows the earlier earn."""
    later = [(number + 1, 90_000_000 + number, BADGE, (LATER, 0), (ENDS, 0)) for number in range(customers)]
    simulator.store.grant(later, "another-tool", 0.0)


def import_without_replies(run: Run, airflow_process: Any, simulator: RunningSimulator, dataset: str) -> str:
    """One badge is granted before: a read that shows it lets reads of the others be believed."""
    control = run(IMPORTS_FILE, "retried_import", simulator, run_conf={"dataset": f"{dataset}.control.jsonl"})
    long_ago(airflow_process, str(control.returned["import_badges"][0]["job_id"]))
    simulator.use_faults([{"kind": "status", "status": 503, "when": "before"}])
    ended = run(IMPORTS_FILE, "retried_import", simulator, run_conf={"dataset": dataset})
    simulator.use_faults([])
    [summary] = ended.returned["import_badges"]
    assert (ended.state, summary["unknown"]) == ("success", 4), ended.log[-5_000:]
    long_ago(airflow_process, str(summary["job_id"]))
    return str(summary["job_id"])


def long_ago(airflow_process: Any, job: str) -> None:
    """Move the sends of a job an hour back: the test does not wait until a read may be trusted."""
    with closing(sqlite3.connect(airflow_process.home / "capillary_ledger.db")) as ledger, ledger:
        of_job = "job_id = (SELECT id FROM capillary_job WHERE job_id = ?)"
        clocks = ("sent_at", "settled_at", "sent_boot_time", "settled_boot_time")
        earlier = ", ".join(f"{clock} = {clock} - 3600" for clock in clocks)
        moved = ledger.execute(f"UPDATE capillary_batch SET {earlier} WHERE {of_job}", [job])
        assert moved.rowcount > 0


@pytest.mark.skipif(not HAS_RETRY_POLICIES, reason="dag.test() of Airflow 3.2 cannot wait for a person")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("answer", "sent"), [("Resend", 3), ("Accept", 0), ("Leave", 0)])
def test_a_persons_answer_settles_the_rest(
    run: Run, airflow_process: Any, dataset: str, answer: str, sent: int
) -> None:
    with running_simulator(badges=catalogue([BADGE]), earns_detail=False) as simulator:
        hide(simulator, 3)
        job = import_without_replies(run, airflow_process, simulator, dataset)
        before = len(simulator.store)
        ended = run(REVIEW_FILE, "review_unknown_badges", simulator, run_conf={"jobs": [job]}, answers={"ask": answer})
        assert len(simulator.store) == before  # it sends nothing itself
        later = run(IMPORTS_FILE, "retried_import", simulator, run_conf={"dataset": dataset})
        assert len(simulator.store) == before + sent + 1
    assert ended.state == "success", ended.log[-5_000:]
    [found], [asked], [settled] = (ended.returned[task] for task in ("verify", "ask", "settle"))
    assert (found["unknown_before"], found["resend"], found["unknown"]) == (4, 1, 3)
    assert asked["chosen_options"] == [answer]
    assert asked["responded_by_user"]["name"] == "ada"
    end = {"Resend": "resend", "Accept": "accepted", "Leave": "unknown"}[answer]
    assert (settled["unknown_before"], settled[end]) == (3, 3)

    query = "SELECT subject, body FROM hitl_detail h JOIN task_instance t ON t.id = h.ti_id WHERE t.run_id = ?"
    [(subject, body)] = airflow_process.rows(query, ended.run_id)
    assert "were they granted" in subject
    assert "**Left: 3 rows of 3\ncustomers.**" in body
    assert f"| {job} | `airflow capillary unknown {job}` |" in body
    assert "| 3 | " in body
    assert "90000000" not in body  # no customer is shown

    [summary] = later.returned["import_badges"]
    assert (summary["accepted"], summary["already_accepted"]) == (sent + 1, 3 if answer == "Accept" else 0)


@pytest.mark.timeout(300)
def test_no_person_is_asked_where_reads_settle(run: Run, airflow_process: Any, dataset: str) -> None:
    with running_simulator(badges=catalogue([BADGE])) as simulator:
        job = import_without_replies(run, airflow_process, simulator, dataset)
        ended = run(REVIEW_FILE, "review_unknown_badges", simulator, run_conf={"jobs": [job]})
    assert ended.state == "success", ended.log[-5_000:]
    assert (ended.tasks["verify"], ended.tasks["ask"], ended.tasks["settle"]) == (["success"], ["skipped"], ["skipped"])
    assert ended.returned["verify"][0]["resend"] == 4


@pytest.mark.parametrize("jobs", [[], ["abc"], "6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10"], ids=str)
def test_the_review_s_form_takes_job_ids_only(jobs: Any) -> None:
    form = runpy.run_path(str(REVIEW_FILE))["verify"].dag.params
    form.update({"jobs": ["6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10"]})
    with pytest.raises(ParamValidationError, match="jobs"):
        form.update({"jobs": jobs})
