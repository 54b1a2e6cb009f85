"""What the task's state store shows of an import, and that nothing the store does changes what is imported."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.jobs import lane
from airflow_provider_capillary.jobs import progress as job_progress
from airflow_provider_capillary.simulator.fault_plan import HangFault, RowErrorFault, SlowFault, StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import BADGE, ENDS, ends, granted_twice, rows

Tasks = Callable[..., Any]
SMALL = {"batch_size": 10, "canary": False, "concurrency": 1}
IMPORT = "PUT /api_gateway/v1/badges/import/customerBadges"


class Store:
    """Airflow's accessor with a memory of its own: JSON only, no ``None``, and reading it is what no import may do."""

    def __init__(self, fail_at: int = 0, value: Any = None) -> None:
        self.now: Any = value
        self.values: list[dict[str, Any]] = []
        self.threads: set[int] = set()
        self.calls = 0
        self.fail_at = fail_at

    def set(self, key: str, value: Any) -> None:
        self.calls += 1
        self.threads.add(threading.get_ident())
        if self.calls == self.fail_at:
            raise ConnectionError("password=hunter2")
        assert key == "progress"
        assert value is not None
        self.now = json.loads(json.dumps(value))
        self.values.append(self.now)

    def get(self, *_: Any) -> Any:
        raise AssertionError("the store was read")

    delete = clear = get

    @property
    def states(self) -> list[str]:
        return [value["state"] for value in self.values]


@pytest.fixture
def stored(task: Tasks) -> Tasks:
    """``stored(store, **ids)``: one task instance, with that as its state store."""

    def make(store: Any, **ids: Any) -> Any:
        one = task(**ids)
        plain = one.context
        one.context = lambda: plain() | {"task_state_store": store}
        return one

    return make


def account(summary: dict[str, Any]) -> dict[str, Any]:
    """What of a summary does not depend on the time of day."""
    return {name: summary[name] for name in ("job_id", "rows_read", *ENDS, "reasons", "requests")}


# -- What it shows


def test_the_store_shows_a_job_from_start_to_end(simulator: RunningSimulator, stored: Tasks) -> None:
    store = Store()
    given = [*rows(90), *rows(3, 91, customerId="nobody")]
    simulator.use_faults([RowErrorFault(code=1026, message="Customer 9000007 is gone", positions=(2,), times=1)])
    summary = stored(store, try_number=2, max_tries=5).run(given, **SMALL)
    assert store.states == ["checking", "running", "finished"]
    begun, ended = store.values[1], store.values[2]
    assert (begun["job_id"], begun["rows"], begun["done"]) == (summary["job_id"], 93, 0)
    assert ended["counts"] == {name: summary[name] for name in ENDS}
    assert (ended["rows"], ended["done"], ended["share"]) == (93, 93, 1.0)
    assert ended["reasons"] == summary["reasons"]
    assert ended["rate"] > 0
    assert {(value["epoch"], value["try_number"]) for value in store.values} == {(5, 2)}


def test_slow_batches_keep_the_store_current(
    simulator: RunningSimulator, stored: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_progress, "CALM_SECONDS", 0.05)
    monkeypatch.setattr(lane, "_LOOK_AGAIN_SECONDS", 0.02)
    simulator.use_faults([SlowFault(seconds=0.2)])
    store = Store()
    stored(store).run(rows(60), **SMALL)
    running = [value["done"] for value in store.values if value["state"] == "running"]
    assert running == sorted(running)
    assert len(set(running)) >= 3
    assert store.states[-1] == "finished"
    assert store.threads == {threading.get_ident()}


def test_a_retry_and_a_clear_show_their_own_life(simulator: RunningSimulator, stored: Tasks) -> None:
    store = Store()
    simulator.use_faults([StatusFault(status=403, first=3)])
    stored(store, try_number=1, max_tries=3).fail(rows(50), **SMALL)
    first = store.now
    assert (first["state"], first["counts"]["accepted"], first["counts"]["not_sent"]) == ("failed", 20, 30)
    simulator.use_faults(None)
    again = stored(store, try_number=2, max_tries=3).run(rows(50), **SMALL)
    retried = store.now
    assert (retried["state"], retried["epoch"], retried["try_number"]) == ("finished", 3, 2)
    assert retried["job_id"] == first["job_id"] == again["job_id"]
    assert retried["counts"]["accepted"] == 50
    cleared = stored(store, try_number=3, max_tries=5).run(rows(50), **SMALL)
    assert store.now["job_id"] == cleared["job_id"] != first["job_id"]
    assert (store.now["epoch"], store.now["counts"]["already_accepted"]) == (5, 50)
    assert len(simulator.store) == 50


def test_an_early_failure_replaces_an_earlier_life(simulator: RunningSimulator, stored: Tasks) -> None:
    store = Store()
    stored(store).run(rows(5), **SMALL)
    assert store.now["state"] == "finished"
    for number, (dataset, arguments) in enumerate([("None", {}), (rows(5), {"capillary_conn_id": "nowhere"})], 4):
        stored(store, max_tries=number).fail(dataset, **arguments)
        assert (store.now["state"], store.now["epoch"], store.now["job_id"]) == ("failed", number, "")
        assert store.states[-2:] == ["checking", "failed"]
    simulator.use_faults([StatusFault(status=401, operation="any")])
    stored(store, max_tries=9).fail(rows(5), **SMALL)
    assert (store.now["state"], store.now["epoch"], store.now["done"]) == ("failed", 9, 0)


def test_a_broken_off_job_is_shown_as_failed(simulator: RunningSimulator, stored: Tasks) -> None:
    store = Store()
    stored(store).fail([*rows(5), *rows(5)], on_duplicate="fail", **SMALL)
    assert store.states == ["checking", "running", "failed"]
    assert store.values[1]["job_id"] == store.now["job_id"] != ""
    assert (store.now["rows"], store.now["done"]) == (10, 0)
    assert len(simulator.store) == 0


def test_a_kill_shows_what_was_not_sent(simulator: RunningSimulator, stored: Tasks) -> None:
    simulator.use_faults([HangFault(numbers=(3,), when="after", seconds=0.3)])
    store, done = Store(), threading.Event()
    one = stored(store)

    def kill() -> None:
        while simulator.simulator.request_counts().get(IMPORT, 0) < 3:
            done.wait(0.01)
        one.operator.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    _, pushed = one.fail(rows(200), verify_after=0, **SMALL)
    killer.join()
    assert store.now["state"] == "failed"
    assert store.now["counts"] == {name: pushed[name] for name in ENDS}
    assert store.now["counts"]["not_sent"] > 0
    assert store.now["done"] == 200 - pushed["not_sent"]
    assert store.now["share"] < 1


def test_a_wait_before_reads_is_shown(simulator: RunningSimulator, stored: Tasks, logged: Callable[[int], str]) -> None:
    simulator.use_faults([StatusFault(status=503, when="after", first=2, times=1)])
    store, begun = Store(), datetime.now(UTC)
    summary = stored(store).run(rows(20), verify_after=2, **SMALL)
    assert ends(summary) == {"accepted": 20}
    waited = [value for value in store.values if value["state"] == "waiting to read back"]
    assert waited[0]["done"] == 10
    assert begun < datetime.fromisoformat(waited[0]["until"]) < datetime.now(UTC) + timedelta(seconds=1)
    assert store.states[-1] == "finished"
    assert store.now["until"] is None
    lines = logged(logging.INFO)
    assert lines.index("::endgroup::") < lines.index("Waiting until") < lines.index("rows read")


# -- That it changes nothing


@pytest.mark.parametrize(
    ("store", "warned"),
    [
        (None, 0),
        (Store(fail_at=1), 1),
        (Store(fail_at=2), 1),
        (Store(fail_at=3), 1),
        (Store(value={"epoch": 3, "state": "finished", "done": 52, "share": 1.0}), 0),
    ],
    ids=["none", "fails at once", "fails when the job begins", "fails at the end", "reports that all is done"],
)
def test_the_store_changes_no_outcome(
    simulator: RunningSimulator,
    task: Tasks,
    stored: Tasks,
    store: Store | None,
    warned: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = [*rows(50), *rows(2, 51, customerId="nobody")]
    summary = stored(store).run(given, **SMALL)
    assert ends(summary) == {"accepted": 50, "invalid": 2}
    assert len(simulator.store) == 50
    warnings = [text for text in map(logging.LogRecord.getMessage, caplog.records) if "no longer shown" in text]
    assert ["ConnectionError" in text for text in warnings] == [True] * warned
    assert "hunter2" not in caplog.text
    assert store is None or not warned or store.calls == store.fail_at
    # the same task again, without any store: it goes on with the same job, whatever the store had said
    assert account(task(try_number=2).run(given, **SMALL)) == account(summary) | {"requests": 0}
    assert granted_twice(simulator) == []


@pytest.mark.parametrize("fail_at", [0, 1, 2, 3])
def test_a_failing_import_keeps_its_own_error(simulator: RunningSimulator, stored: Tasks, fail_at: int) -> None:
    simulator.use_faults([StatusFault(status=403, first=2)])
    error, pushed = stored(Store(fail_at)).fail(rows(30), **SMALL)
    assert isinstance(error, AirflowFailException)
    assert "access" in str(error)
    assert pushed is not None
    assert ends(pushed) == {"accepted": 10, "not_sent": 20}


# -- What it must not hold


def test_the_store_has_no_row_id_or_secret(simulator: RunningSimulator, stored: Tasks) -> None:
    settings = simulator.simulator.settings
    said = f"Customer 9000007 'Jane Recognisable' jane@example.org of {BADGE}: {settings.password} " + "x" * 5_000
    simulator.use_faults([RowErrorFault(code=1026, message=said, positions=(1, 2)), StatusFault(status=403, first=4)])
    store = Store()
    given = [*rows(80, email="jane@example.org"), *rows(9, 91, customerId="Jane Recognisable")]
    stored(store).fail(given, max_rejected=0, **SMALL)
    text = json.dumps(store.values)
    assert "1026" in text
    assert max(len(json.dumps(value)) for value in store.values) < 8_000
    for value in ("9000007", "9000001", "jane@", "Recognisable", BADGE, str(settings.password), "1736942400"):
        assert value not in text


# -- The group in the log


@pytest.mark.parametrize("how", ["well", "refused", "no connection"])
def test_the_log_group_closes_before_the_account(
    simulator: RunningSimulator, task: Tasks, logged: Callable[[int], str], how: str
) -> None:
    given = rows(30)
    arguments = SMALL | ({"capillary_conn_id": "nowhere"} if how == "no connection" else {})
    if how == "refused":
        simulator.use_faults([StatusFault(status=403, first=2)])
    if how == "well":
        task().run(given, **arguments)
    else:
        task().fail(given, **arguments)
    lines = [line for line in logged(logging.INFO).splitlines() if "group::" in line or "rows read" in line]
    reported = [next(word for word in ("::group::", "::endgroup::", "rows read") if word in line) for line in lines]
    begun = how != "no connection"
    assert reported.count("::group::") == reported.count("::endgroup::")
    # where Airflow's own logging is set up, each line is seen twice
    last = len(reported) - 1 - reported[::-1].index("::group::") if "::group::" in reported else 0
    assert reported[last : last + 2] == (["::group::", "::endgroup::"] if begun else [])
    assert reported.count("::group::") in ((1, 2) if begun else (0,))
