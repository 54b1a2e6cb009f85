"""Every file in dags/ loads fast and alone, and does against a simulator what its description says."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue
from dev import airflow_home
from dev.sample_data.corrections import DELETED_BADGE
from dev.sample_data.warehouse import BADGES

DAGS = Path(__file__).parents[2] / "dags"
A_NIGHT = ("2025-03-18", "2025-03-19")
FILES = sorted(DAGS.glob("*.py"))

#: As Airflow's DAG processor does: Airflow is there already, and each file is read in a process forked from it.
READ_EACH = """
import json, os, runpy, sys, time, warnings
began = time.process_time()
import airflow.sdk
of_airflow = time.process_time() - began
import airflow.providers.standard.operators.empty, airflow.providers.standard.operators.hitl
airflow.sdk.task.python  # looks through all providers, once

FORBIDDEN = {"socket.connect", "sqlite3.connect", "socket.getaddrinfo"}
EXTRAS = ("airflow.providers.smtp", "airflow.providers.postgres", "airflow.providers.sqlite",
          "airflow.providers.amazon", "psycopg", "psycopg2", "s3fs", "pandas")

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(EXTRAS):
            raise ModuleNotFoundError(name)

def refuse(event, arguments):
    if event in FORBIDDEN:
        raise RuntimeError(f"the file wants {event} {arguments} while it is read")

def read(file):
    sys.addaudithook(refuse)
    for name in [name for name in sys.modules if name.startswith(EXTRAS)]:
        del sys.modules[name]
    sys.meta_path.insert(0, NotInstalled())
    warnings.simplefilter("error")
    began = time.process_time()
    names = runpy.run_path(file)
    seconds = time.process_time() - began
    dags = {dag.dag_id: dag for dag in names.values() if type(dag).__name__ == "DAG"}
    dags |= {task.dag.dag_id: task.dag for task in names.values() if getattr(task, "task_id", None)}
    return {
        "seconds": seconds,
        "of_airflow": of_airflow,
        "dags": {
            name: {
                "doc_md": dag.doc_md,
                "tags": sorted(dag.tags),
                "catchup": dag.catchup,
                "start_date": dag.start_date.isoformat(),
                "paused": dag.is_paused_upon_creation,
            }
            for name, dag in dags.items()
        },
    }

for file in sys.argv[1:]:
    if os.fork() == 0:
        print(json.dumps({"file": file, **read(file)}), flush=True)
        os._exit(0)
    if os.wait()[1] != 0:
        sys.exit(f"{file} could not be read")
"""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was found in each file, read where there is no connection, no database and no network."""
    home = tmp_path_factory.mktemp("nothing")
    env = airflow_home.environment(home, home, "http://127.0.0.1:9", home)
    done = subprocess.run(
        [sys.executable, "-c", READ_EACH, *map(str, FILES)],
        env={name: value for name, value in env.items() if not name.startswith("AIRFLOW_CONN")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5_000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"file"')]
    return {Path(one["file"]).stem: one for one in found}


@pytest.fixture
def nightly(airflow_process: Any, tmp_path: Path) -> Callable[..., Any]:
    """Runs the nightly sample against a simulator, on a part of the ledger that no other test sees."""

    def run(
        simulator: RunningSimulator, days: tuple[str, str] | None = ("2025-03-18", "2025-03-19"), **dag: Any
    ) -> Any:
        connection = simulator.airflow_connection(organisation=tmp_path.name)
        if days is not None:
            dag["run_conf"] = {"date_from": days[0], "date_to": days[1]}
        env = {"AIRFLOW_CONN_CAPILLARY_DEFAULT": connection}
        return airflow_process.run(DAGS / "nightly_badge_sync.py", "nightly_badge_sync", env, **dag)

    return run


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_a_sample_loads_quickly_with_nothing_else(samples: dict[str, Any], name: str) -> None:
    sample = samples[name]
    # airflow.sdk itself takes 2 to 3 s on an idle machine; on a busy one both take longer
    assert sample["seconds"] < max(1, sample["of_airflow"] / 3)


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_a_sample_is_documented_and_runs_on_request(samples: dict[str, Any], name: str) -> None:
    dags = samples[name]["dags"]
    assert name in dags
    for dag in dags.values():
        assert dag["doc_md"].startswith("### ")
        assert len(dag["doc_md"]) > 500
        assert {"capillary", "badges"} <= set(dag["tags"])
        assert dag["catchup"] is False
        assert dag["start_date"] == "2025-01-01T00:00:00+00:00"
        assert dag["paused"] is None  # Airflow's default is to pause


@pytest.mark.parametrize(
    ("params", "interval", "expected"),
    [
        ({}, (datetime(2025, 1, 5, 2, tzinfo=UTC), datetime(2025, 1, 6, 2, tzinfo=UTC)), ("2025-01-05", "2025-01-06")),
        ({}, (None, None), ("2025-02-28", "2025-03-01")),
        ({"date_from": "2025-01-01", "date_to": "2025-04-01"}, (None, None), ("2025-01-01", "2025-04-01")),
        ({"date_from": "2025-01-01"}, (None, None), ("2025-01-01", "2025-03-01")),
    ],
    ids=[
        "a night's run takes its interval",
        "a run without an interval takes yesterday",
        "the user's dates win",
        "from a day until now",
    ],
)
def test_the_range_of_days_comes_from(
    params: dict[str, str], interval: tuple[datetime | None, datetime | None], expected: tuple[str, str]
) -> None:
    chosen = choose(params, interval)
    assert (chosen["date_from"], chosen["date_to"]) == expected


def choose(params: dict[str, Any], interval: tuple[datetime | None, datetime | None] = (None, None)) -> Any:
    dag_run = SimpleNamespace(
        data_interval_start=interval[0],
        data_interval_end=interval[1],
        run_after=datetime(2025, 3, 1, 14, tzinfo=UTC),
    )
    names = runpy.run_path(str(DAGS / "nightly_badge_sync.py"))
    given = {name: param.value for name, param in names["FORM"].items()} | params
    return names["choose"].function(params=given, dag_run=dag_run)


def errors_csv(ended: Any) -> list[dict[str, str]]:
    [returned] = ended.returned["report"]
    with Path(returned["errors_csv"].removeprefix("file://")).open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.timeout(300)  # Airflow starts here
def test_a_night_run_again_grants_nothing_twice(nightly: Callable[..., Any]) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        first = nightly(simulator)
        assert first.state == "success", first.log[-5_000:]
        tasks = ("choose", "extract", "import_badges", "report")
        assert first.tasks == {task: ["success"] for task in tasks}
        [summary] = first.returned["import_badges"]
        granted = len(simulator.store)
        assert granted == summary["accepted"] > 100
        assert (summary["rejected"], summary["invalid"], summary["unknown"]) == (1, 0, 0)
        [row] = errors_csv(first)
        assert row["badge_meta_id"] == DELETED_BADGE

        second = nightly(simulator)
        assert second.state == "success", second.log[-5_000:]
        [summary] = second.returned["import_badges"]
        assert (summary["accepted"], summary["already_accepted"], summary["requests"]) == (0, granted, 0)
        assert len(simulator.store) == granted


@pytest.mark.timeout(300)
def test_a_failed_import_fails_the_run_without_retries(
    nightly: Callable[..., Any],
) -> None:
    with running_simulator(badges=catalogue([BADGES["big_basket"]])) as simulator:
        ended = nightly(simulator)
    assert ended.state == "failed"
    assert ended.tasks["import_badges"] == ["failed"]
    assert ended.tries["import_badges"] == [1]
    assert ended.tasks["report"] == ["failed"]
    assert ended.tries["report"] == [1]
    [summary] = ended.returned["import_badges"]
    assert len(errors_csv(ended)) == summary["rejected"] > 50
    assert "rows are refused" in ended.log


@pytest.mark.timeout(300)
def test_a_manual_run_imports_yesterday(nightly: Callable[..., Any]) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = nightly(simulator, None, logical_date=None, run_after="2025-03-19T14:00:00+00:00")
        assert ended.logical_date is None
        assert ended.state == "success", ended.log[-5_000:]
        days = {datetime.fromtimestamp(grant.earned_at, UTC).date().isoformat() for grant in simulator.store.grants()}
    assert days == {"2025-03-18"}


@pytest.mark.timeout(300)
def test_the_form_s_badges_and_dry_run_hold(nightly: Callable[..., Any]) -> None:
    form = {"date_from": "2025-03-18", "date_to": "2025-03-19", "badges": [BADGES["big_basket"], BADGES["century"]]}
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        dry = nightly(simulator, None, run_conf=form | {"dry_run": True, "on_unknown": "hold"})
        assert len(simulator.store) == 0
        wet = nightly(simulator, None, run_conf=form)
        badges = {grant.badge_meta_id for grant in simulator.store.grants()}
    assert (dry.state, wet.state) == ("success", "success"), dry.log[-5_000:]
    [planned], [summary] = dry.returned["import_badges"], wet.returned["import_badges"]
    assert planned["dry_run"] is True
    assert planned["not_sent"] == summary["accepted"] == summary["rows_read"] > 10
    assert badges == set(form["badges"])


@pytest.mark.timeout(300)
def test_days_in_wrong_order_send_nothing(nightly: Callable[..., Any]) -> None:
    with running_simulator(badges=catalogue(BADGES.values())) as simulator:
        ended = nightly(simulator, ("2025-03-19", "2025-03-18"))
        assert simulator.simulator.request_counts() == {}
    assert ended.state == "failed"
    assert (ended.tasks["choose"], ended.tries["choose"]) == (["failed"], [1])
    assert ended.tasks["report"] == ["failed"]  # the run would be green else
    assert "There is no day between them" in ended.log


@pytest.mark.parametrize(
    "given",
    [
        {"date_from": "18/03/2025"},
        {"date_from": "2025-02-30"},
        {"date_to": 20250318},
        {"badges": "6774a1c0d3f5b2e8a9014c01"},
        {"badges": ["First purchase"]},
        {"badges": ["6774a1c0d3f5b2e8a9014c01', '')) --"]},
        {"dry_run": "perhaps"},
        {"on_unknown": "resent"},
    ],
    ids=str,
)
def test_airflow_refuses_a_wrong_form_field_by_name(given: dict[str, Any]) -> None:
    form = ParamsDict(runpy.run_path(str(DAGS / "nightly_badge_sync.py"))["FORM"])
    form.validate()
    [name] = given
    with pytest.raises(ParamValidationError, match=name):
        form.update(given)
