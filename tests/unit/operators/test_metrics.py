"""Metrics as they leave: through Airflow's own StatsD client, into a socket."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.observability.metrics import stats_utils
from airflow.sdk.observability.stats import Stats

from airflow_provider_capillary.core.summary import Summary
from airflow_provider_capillary.exceptions import ApiUnavailableError, BudgetExceededError, CapillaryError
from airflow_provider_capillary.operators.telemetry.metrics import count_import

ENDS: dict[str, Any] = {"accepted": 4, "already_accepted": 3, "rejected": 2, "invalid": 0, "unknown": 0, "not_sent": 1}
REST: dict[str, Any] = {"requests": 2, "batches": 2, "started_at": "", "finished_at": "", "ledger": "ledger.db"}
SUMMARY = Summary(job_id="job-1", rows_read=10, reasons=(), **ENDS, **REST)
Received = Callable[[], list[str]]


def task_instance(**ids: Any) -> Any:
    return SimpleNamespace(**{"dag_id": "nightly", "task_id": "import_badges", "try_number": 1, "max_tries": 3} | ids)


def airflow_s_factory() -> Any:
    """What makes Airflow's own backend; 3.2 asks for the class for which it is made."""
    make: Any = stats_utils.get_stats_factory
    return make(Stats) if inspect.signature(make).parameters else make()


def initialize(factory: Any) -> None:
    """Let Airflow count through it; since 3.3 Airflow has new names for its own metrics, beside the old ones."""
    names = (
        {"export_legacy_names": True} if "export_legacy_names" in inspect.signature(Stats.initialize).parameters else {}
    )
    Stats.initialize(factory=factory, **names)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Received]:
    """A StatsD on loopback; gives what it has received, in alphabetical order."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        settings = {"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(server.getsockname()[1])}
        for name, value in (settings | getattr(request, "param", {})).items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
        made: list[Any] = []
        factory = airflow_s_factory()

        def client() -> Any:
            made.append(factory())
            return made[-1]

        initialize(client)

        def received() -> list[str]:
            Stats.incr("the_end")  # datagrams on loopback arrive in order: nothing that counts comes after this
            found: list[str] = []
            while not any("the_end" in line for line in found):
                found += server.recv(65_536).decode().splitlines()
            return sorted(line for line in found if "the_end" not in line)

        yield received
        monkeypatch.undo()
        initialize(airflow_s_factory())
        for one in made:
            one.statsd.close()


def test_metrics_need_no_tags(statsd: Received) -> None:
    count_import(task_instance(), SUMMARY, None, 1.5)
    assert statsd() == [
        "airflow.capillary.import.duration:1500.000000|ms",
        "airflow.capillary.requests:2|c",
        "airflow.capillary.rows.accepted:4|c",
        "airflow.capillary.rows.already_accepted:3|c",
        "airflow.capillary.rows.not_sent:1|c",
        "airflow.capillary.rows.rejected:2|c",
    ]


@pytest.mark.parametrize("statsd", [{"STATSD_INFLUXDB_ENABLED": "True"}], indirect=True)
@pytest.mark.parametrize(
    "tags", [{}, {"stats_tags": {"dag_id": "nightly", "task_id": "import_badges", "team_name": "crm"}}]
)
def test_tags_are_those_of_airflow_s_own_task_metrics(statsd: Received, tags: dict[str, Any]) -> None:
    count_import(task_instance(**tags), SUMMARY, None, 1.5)
    reported = ",dag_id=nightly,task_id=import_badges" + (",team_name=crm" if tags else "")
    assert f"airflow.capillary.rows.accepted{reported}:4|c" in statsd()


@pytest.mark.parametrize(
    ("error", "try_number", "rows_are_counted"),
    [
        (None, 1, True),
        (BudgetExceededError("too many"), 1, True),  # fails without another try
        (ApiUnavailableError("out of reach"), 1, False),
        (ApiUnavailableError("out of reach"), 3, False),
        (ApiUnavailableError("out of reach"), 4, True),  # the last one: max_tries is 3 retries
    ],
)
def test_a_jobs_rows_are_counted_once(
    statsd: Received, error: CapillaryError | None, try_number: int, rows_are_counted: bool
) -> None:
    count_import(task_instance(try_number=try_number), SUMMARY, error, 1.0)
    received = statsd()
    assert any("rows" in line for line in received) is rows_are_counted
    assert "airflow.capillary.requests:2|c" in received


def test_an_import_that_sends_nothing_counts_no_request(statsd: Received) -> None:
    count_import(task_instance(), msgspec.structs.replace(SUMMARY, requests=0, accepted=0, not_sent=5), None, 1.0)
    received = statsd()
    assert not any("requests" in line or ".accepted" in line for line in received)
    assert "airflow.capillary.rows.not_sent:5|c" in received
