"""What is shown of a running import: how often, by which thread, what exactly, and that showing it can do no harm."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES, Reason
from airflow_provider_capillary.jobs import lane as lane_module
from airflow_provider_capillary.jobs.account import Account
from airflow_provider_capillary.jobs.lane import LaneThreads
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.progress import JobState, Progress, ProgressFacts, harmless
from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.operators.live_progress import LiveProgress, progress_value

NOW = datetime(2026, 3, 1, 2, 30, 15, 999_999, tzinfo=UTC)
KEYS = {
    *("epoch", "try_number", "state", "until", "job_id", "rows", "done", "share", "rate", "counts", "reasons"),
    "updated_at",
}
WAITING = "waiting to read back"


class Store:
    """As Airflow's accessor: JSON only, and nothing may be ``None``."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    def set(self, key: str, value: Any) -> None:
        assert key == "progress"
        assert value is not None
        self.values.append(json.loads(json.dumps(value)))


def live(store: Any = None, **ids: Any) -> LiveProgress:
    ti = SimpleNamespace(**({"max_tries": 3, "try_number": 2} | ids))
    return LiveProgress(cast(Context, {"ti": ti, "task_state_store": store}), now=lambda: NOW)


def facts(state: Any = "running", rows: int = 200, accepted: int = 50, **changes: Any) -> ProgressFacts:
    given: dict[str, Any] = {"job_id": "j", "seconds": 4.0, "counts": {RowState.ACCEPTED: accepted}, "reasons": ()}
    return ProgressFacts(state=JobState(state), rows=rows, **(given | changes))


# -- What is stored


def test_the_value_names_life_and_progress() -> None:
    store = Store()
    reasons = (Reason("send", 1026, "refused", 4), Reason("validate", None, "no date", 1))
    live(store).show(facts(counts={RowState.ACCEPTED: 45, RowState.REJECTED: 5}, reasons=reasons))
    assert store.values == [
        {
            "epoch": 3,
            "try_number": 2,
            "state": "running",
            "until": None,
            "job_id": "j",
            "rows": 200,
            "done": 50,
            "share": 0.25,
            "rate": 12.5,
            "counts": {
                "accepted": 45,
                "already_accepted": 0,
                "rejected": 5,
                "invalid": 0,
                "unknown": 0,
                "not_sent": 0,
            },
            "reasons": [
                {"stage": "send", "code": 1026, "message": "refused", "rows": 4},
                {"stage": "validate", "code": None, "message": "no date", "rows": 1},
            ],
            "updated_at": "2026-03-01T02:30:15+00:00",
        }
    ]


def test_the_value_always_has_the_same_keys() -> None:
    store = Store()
    with live(store) as progress:
        progress.show(facts())
        progress.show(facts("finished"))
    with pytest.raises(KeyError), live(store):
        raise KeyError
    assert [value["state"] for value in store.values] == ["checking", "running", "finished", "checking", "failed"]
    for value in store.values:
        assert set(value) == KEYS
        assert list(value["counts"]) == [state.value for state in FINAL_STATES]


@pytest.mark.parametrize(("state", "share"), [("running", 0.0), ("finished", 1.0), ("failed", 0.0)])
def test_a_dataset_without_rows_has_a_share_too(state: Any, share: float) -> None:
    assert progress_value(facts(state, rows=0, accepted=0, seconds=0.0))["share"] == share


def test_the_value_stays_small_whatever_the_api_says() -> None:
    reasons = tuple(Reason("send", 2**63, "\U0001f4a5" * 5_000, 2**63) for _ in range(40))
    store = Store()
    live(store, max_tries=2**63).show(facts(rows=2**63, accepted=2**62, reasons=reasons))
    [value] = store.values
    assert len(value["reasons"]) == 5
    assert all(len(reason["message"]) == 100 for reason in value["reasons"])
    assert len(json.dumps(value)) < 8_000


# -- Harmless


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_display_is_no_failing_one(error: type[BaseException]) -> None:
    calls: list[int] = []

    def cut_off() -> None:
        calls.append(1)
        raise error

    show = harmless(cut_off)
    for _ in range(2):
        with pytest.raises(error):
            show()
    assert len(calls) == 2


# -- The group in the log


def markers(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "group::" in record.getMessage()]


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (["running"], None),
        (["running", "running", "finished"], None),
        (["running", "failed"], ValueError),
        (["running", "running"], KeyboardInterrupt),
    ],
)
def test_a_group_opens_and_closes_once(
    steps: list[str], error: type[BaseException] | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(error) if error else nullcontext(), live() as progress:
        for step in steps:
            progress.show(facts(step))
        if error:
            raise error
    assert markers(caplog) == ["::group::Sending", "::endgroup::"]


def test_an_unsent_row_has_no_outcome() -> None:
    counts = {RowState.ACCEPTED: 5, RowState.UNKNOWN: 1, RowState.NOT_SENT: 160}
    stopped = progress_value(facts("failed", rows=166, accepted=0, counts=counts))
    assert (stopped["done"], stopped["share"]) == (6, 0.0361)
    checked = progress_value(facts("finished", rows=166, counts={RowState.NOT_SENT: 166}, dry_run=True))
    assert (checked["done"], checked["share"]) == (166, 1.0)


# -- How often, and from where


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def begun(clock: Callable[[], float], show: Any) -> tuple[Progress, Account]:
    account = Account()
    progress = Progress(account, clock, show)
    progress.begin("j", 100)
    return progress, account


def test_progress_comes_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, shown = Clock(), list[ProgressFacts]()
    progress, account = begun(clock, shown.append)
    for _ in range(60):  # half a minute
        clock.now += 0.5
        account.count(RowState.ACCEPTED)
        progress.report()
    progress.end(well=True)
    assert [(one.state, one.seconds, one.done) for one in shown] == [
        ("running", 0.0, 0),
        ("running", 10.0, 20),
        ("running", 20.0, 40),
        ("running", 30.0, 60),
        ("finished", 30.0, 60),
    ]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "20 of 100 rows (20%), 2 rows/s, about 40 s left"
    assert len(lines) == 3


def test_the_reading_threads_wait_shows_at_once() -> None:
    clock, shown = Clock(), list[ProgressFacts]()
    progress, _ = begun(clock, shown.append)
    with progress.waiting(clock.now + 60):
        pass
    progress.end(well=True)
    assert [(one.state, one.wait) for one in shown] == [("running", None), (WAITING, 60.0), ("finished", None)]


def test_lane_waits_show_once_rows_stop() -> None:
    clock, shown = Clock(), list[ProgressFacts]()
    progress, account = begun(clock, shown.append)
    waits, ends = threading.Event(), threading.Event()

    def lane() -> None:
        with progress.waiting(1_060.0):
            waits.set()
            ends.wait(30)

    thread = threading.Thread(target=lane)
    thread.start()
    assert waits.wait(30)
    for accepted in (1, 1, 0, 0, 0):  # other lanes send for two seconds, then are still
        account.count(RowState.ACCEPTED, accepted)
        progress.report()
        clock.now += 1
    ends.set()
    thread.join()
    for _ in range(10):
        progress.report()
        clock.now += 1
    assert [(one.state, one.wait) for one in shown] == [("running", None), (WAITING, 57.0), ("running", None)]


def test_a_failing_display_leaves_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, calls = Clock(), list[ProgressFacts]()

    def show(one: ProgressFacts) -> None:
        calls.append(one)
        raise OSError("no")

    progress, _ = begun(clock, show)
    clock.now += 10
    progress.report()
    progress.end(well=False)
    assert len(calls) == 1
    assert sum("rows/s" in record.getMessage() for record in caplog.records) == 1
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 1


def test_the_waiting_thread_reports_busy_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "_LOOK_AGAIN_SECONDS", 0.005)
    reporters: list[threading.Thread] = []
    more = threading.Semaphore(0)
    done: list[int] = []

    class Watched(Progress):
        def report(self) -> None:
            reporters.append(threading.current_thread())
            more.release()

    def deliver(work: int) -> None:
        assert more.acquire(timeout=30)  # a batch takes until progress was reported
        done.append(work)

    lanes = LaneThreads[int](2, deliver, StopSignal(), Watched(Account(), Clock(), None))
    lanes.put(0, list(range(5)))  # two may wait while one is in flight
    lanes.put(1, [5])
    reported_while_full = len(reporters)
    lanes.close()
    assert reported_while_full > 0
    assert len(reporters) > reported_while_full
    assert set(reporters) == {threading.current_thread()}
    assert [work for work in done if work < 5] == [0, 1, 2, 3, 4]
    assert len(done) == 6


def test_facts_are_of_one_moment_while_lanes_count() -> None:
    account, stop = Account(), threading.Event()
    given: dict[str, Any] = {
        "source": "s",
        "line": 1,
        "original": {},
        "request_id": None,
        "attempt": 1,
        "badge_meta_id": None,
    }
    issues = [RowIssue(n, RowState.REJECTED, "send", "refused", code=n % 5, **given) for n in range(200)]

    def count() -> None:
        while not stop.is_set():
            account.close_rows(issues)

    lane = threading.Thread(target=count)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        lane.start()
        seen = [account.so_far()]
        while len(seen) < 300 or not seen[-1][0][RowState.REJECTED]:
            seen.append(account.so_far())
    finally:
        stop.set()
        lane.join()
        sys.setswitchinterval(usual)
    for counts, reasons in seen:
        assert set(counts) == set(FINAL_STATES)
        assert sum(counts.values()) == sum(reason.rows for reason in reasons)
        assert sum(counts.values()) % len(issues) == 0
