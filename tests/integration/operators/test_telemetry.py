"""What an import reports to monitoring, which cannot disturb it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Asset, Context
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.lineage import HookLineageCollector
from airflow.sdk.observability.stats import Stats

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator

ROW = {"badgeMetaId": "654e08f2041fd452b3ef5b2e", "earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}
BADGES = Asset("capillary://shop.example/badges")
IDS = {"dag_id": "nightly", "task_id": "import_badges", "run_id": "1", "map_index": -1, "try_number": 1, "max_tries": 1}
READERS = "airflow.sdk.plugins_manager.get_hook_lineage_readers_plugins"
Collected = Callable[[], tuple[list[str], list[str]]]


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    """Assets of the hook-level lineage: inputs, outputs."""
    made: Any = HookLineageCollector  # its constructor has no types
    collector = made()
    monkeypatch.setattr("airflow.sdk.lineage.get_hook_lineage_collector", lambda: collector)
    monkeypatch.setattr(READERS, lambda: [object])

    def look() -> tuple[list[str], list[str]]:
        found = collector.collected_assets
        return [one.asset.uri for one in found.inputs], [one.asset.uri for one in found.outputs]

    return look


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What was counted so far."""
    counts: dict[str, int] = {}

    def incr(name: str, count: int = 1, **_: Any) -> None:
        counts[name] = counts.get(name, 0) + count

    monkeypatch.setattr(Stats, "incr", incr)
    return counts


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    lines = [
        f"{ROW['badgeMetaId']},{customer},{ROW['earnEventDate']},{ROW['earnExpiresOn']}" for customer in range(1, 9)
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["badgeMetaId,customerId,earnEventDate,earnExpiresOn", *lines]) + "\n")
    return str(path)


def run(
    dataset: Any, context: dict[str, Any] | None = None, **arguments: Any
) -> tuple[BadgeImportOperator, dict[str, Any]]:
    ids = {name: arguments.pop(name, value) for name, value in IDS.items()}
    operator = BadgeImportOperator(task_id="import_badges", dataset=dataset, **arguments)
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(**ids, xcom_push=lambda key, value: pushed.update(value))
    try:
        return operator, operator.execute(cast(Context, {"ti": ti, **(context or {})}))
    except AirflowException:
        return operator, pushed


def test_lineage_has_files_read_and_badges_written(
    simulator: RunningSimulator, collected: Collected, dataset: str
) -> None:
    run(dataset)
    host = simulator.url.removeprefix("http://")
    assert collected() == ([f"file://{dataset}"], [f"capillary://{host}/badges"])


def test_without_readers_no_collector_is_made(
    simulator: RunningSimulator, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's collector, without a reader, would load half of the installed providers first."""
    asked: list[str] = []
    monkeypatch.setattr("airflow.sdk.lineage.get_hook_lineage_collector", lambda: asked.append("collector"))
    monkeypatch.setattr(READERS, lambda: asked.append("readers"))
    run(dataset)
    assert set(asked) == {"readers"}


def test_a_dry_run_has_written_nothing(simulator: RunningSimulator, collected: Collected, dataset: str) -> None:
    operator, _ = run(dataset, dry_run=True)
    assert collected() == ([f"file://{dataset}"], [])
    reported = operator.get_openlineage_facets_on_complete(None)
    assert reported is not None
    assert reported.outputs == []
    assert reported.run_facets["capillary_badgeImport"].dryRun is True  # type: ignore[attr-defined]


def test_a_broken_off_import_counts_nothing_but_names_places(
    simulator: RunningSimulator, collected: Collected, counted: dict[str, int]
) -> None:
    operator, summary = run("/none/such.csv")
    assert (summary, collected(), counted) == ({}, ([], []), {})
    reported = operator.get_openlineage_facets_on_failure(None)
    assert reported is not None
    assert [(one.namespace, one.name) for one in reported.inputs] == [("file", "/none/such.csv")]
    [output] = reported.outputs
    assert output.name == "badges"
    assert not cast(Any, output).outputFacets
    assert reported.run_facets == {}


def test_rows_are_counted_once_and_requests_by_try(
    simulator: RunningSimulator, counted: dict[str, int], dataset: str
) -> None:
    simulator.use_faults([StatusFault(status=502, when="before", first=1)])
    stuck: dict[str, Any] = {
        "on_unknown": "hold",
        "max_unknown": "100%",
        "batch_size": 1,
        "concurrency": 1,
        "canary": False,
    }
    _, first = run(dataset, **stuck)
    assert first["unknown"] + first["not_sent"] == 8
    requests = first["requests"]
    assert counted == {"capillary.requests": requests}
    simulator.use_faults(None)
    _, last = run(dataset, try_number=2, verify_after=0)
    assert last["accepted"] == 8
    assert counted == {"capillary.requests": requests + last["requests"], "capillary.rows.accepted": 8}


def test_the_event_of_the_outlet_has_the_counts(simulator: RunningSimulator, dataset: str) -> None:
    events = OutletEventAccessors()
    _, summary = run(dataset, {"outlet_events": events}, outlets=[BADGES])
    assert (events[BADGES].extra["accepted"], events[BADGES].extra["job_id"]) == (8, summary["job_id"])
    assert events[BADGES].extra["dataset"] == [f"file://{dataset}"]


def test_no_observer_can_disturb_an_import(
    simulator: RunningSimulator, dataset: str, monkeypatch: pytest.MonkeyPatch, logged: Callable[[int], str]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no route, password hunter2")

    monkeypatch.setattr(READERS, broken)
    monkeypatch.setattr(Stats, "incr", broken)
    monkeypatch.setattr(Stats, "timing", broken)
    operator, summary = run(dataset, {"outlet_events": SimpleNamespace()}, outlets=[BADGES])
    assert summary["accepted"] == len(simulator.store) == 8
    assert operator.get_openlineage_facets_on_complete(None) is not None
    text = logged(logging.WARNING)
    for name in ("count_import", "collect_lineage", "fill_events"):
        assert f"{name} failed; the task's own work is not affected" in text
    assert "hunter2" not in text
