"""A mapped import over two Celery workers, of which one dies in the middle, and Redis is restarted once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from dev.compose.dag_runs import DagRuns
from dev.many_workers.at_once import Noted, WitnessCheck
from dev.many_workers.celery_stack import CeleryStack
from dev.many_workers.night import Night, dag_of
from dev.many_workers.timed_simulator import read_times

WORKERS = ("worker-1", "worker-2")
NIGHT = "2026-03-01"
HELD_PART = 5  #: one that begins when others have ended
SECONDS = 900.0
COUNTS = ("rows_read", "accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
#: Requests that have their turn and wait for something else before they go: one for each lane and each reader.
LATE_REQUESTS = 2 * (4 + 1)


class Deaths(NamedTuple):
    """What is left to be printed, when all holds."""

    rows: int
    seconds: float  #: from the begin of the first import to the end of the last one
    tries: Counter[int]
    requests: Counter[str]
    most_in_a_minute: int
    most_in_five_seconds: int
    counts: Counter[str]
    noted: Noted


def a_worker_dies_and_redis_restarts(stack: CeleryStack, parts: int, rows: int, per_minute: int) -> Deaths:
    """Run it, and see that grants, accounts, budget and report are as if nothing had happened."""
    check, dag = WitnessCheck(stack), DagRuns(stack.api, dag_of(parts))
    dag.unpause()
    run_id = dag.start({"rows": rows}, f"{NIGHT}T02:00:00Z")
    killed_part = _kill_in_the_middle(stack, dag, run_id)
    stack.wait_until("two thirds are granted", lambda: stack.granted() > rows * 2 / 3, SECONDS)
    stack.stop_redis()
    stack.start_redis()
    assert dag.wait_for_end(run_id, SECONDS) == "success", (dag.states(run_id), stack.reported())

    imports = dag.tasks(run_id, "import_badges")
    assert [task["map_index"] for task in imports] == list(range(parts))
    assert imports[killed_part]["try_number"] >= 2, imports[killed_part]
    counts = _account(dag, run_id, parts)
    assert counts == Counter({"rows_read": rows, "accepted": rows}), counts
    _each_row_exactly_once(stack, Night(NIGHT, rows))
    _one_report(stack, dag, run_id, parts, rows)
    noted = check.compare(
        [one for part in range(parts) for one in dag.tries(run_id, "import_badges", part)],
        [dag.returned(run_id, "import_badges", part)["job_id"] for part in range(parts)],
    )
    times = [when for when, _ in read_times(stack.times)]
    per_five_seconds = per_minute / 12
    minute, five = most_within(times, 60), most_within(times, 5)
    assert minute <= per_minute + LATE_REQUESTS, f"{minute} requests in a minute"
    assert five <= per_five_seconds + LATE_REQUESTS, f"{five} requests in five seconds"
    return Deaths(
        rows,
        seconds_of(imports),
        Counter(int(task["try_number"]) for task in imports),
        Counter(operation for _, operation in read_times(stack.times)),
        minute,
        five,
        counts,
        noted,
    )


def _kill_in_the_middle(stack: CeleryStack, dag: DagRuns, run_id: str) -> int:
    """Kill a worker while a request of its is granted already and has no answer; give the part that it imported."""
    stack.wait_until("the extract has ended", lambda: _has_begun(dag, run_id), SECONDS)
    part = dag.returned(run_id, "extract")["parts"][HELD_PART]
    customers = pq.read_table(part.removeprefix("file://"), columns=["customer_id"]).column("customer_id")
    customer = customers[len(customers) * 2 // 3].as_py()
    stack.simulator.use_faults({"kind": "hang", "when": "after", "customer_id": customer, "times": 1})
    stack.wait_until("a request hangs", lambda: stack.simulator.faults_happened() == [1], SECONDS)
    stack.simulator.use_faults()
    task = dag.tasks(run_id, "import_badges")[HELD_PART]
    assert (task["state"], task["try_number"]) == ("running", 1), task
    worker = stack.worker_of(task["pid"], WORKERS)
    stack.kill_worker(worker)
    stack.start_workers(worker)  # as a person who watches over it would
    return HELD_PART


def _has_begun(dag: DagRuns, run_id: str) -> bool:
    return any(task["state"] == "running" for task in dag.tasks(run_id, "import_badges"))


def _account(dag: DagRuns, run_id: str, parts: int) -> Counter[str]:
    """The summaries of all parts, added."""
    total: Counter[str] = Counter()
    for part in range(parts):
        summary: dict[str, Any] = dag.returned(run_id, "import_badges", part)
        total.update({name: summary[name] for name in COUNTS})
    return +total


def _each_row_exactly_once(stack: CeleryStack, night: Night) -> None:
    night.take(stack.grants())
    assert (night.missing, night.twice, night.others) == (0, 0, 0), (night.missing, night.twice, night.others)


def _one_report(stack: CeleryStack, dag: DagRuns, run_id: str, parts: int, rows: int) -> None:
    found = list(stack.reports.rglob("report.html"))
    assert len(found) == 1, found
    reported = dag.returned(run_id, "report")
    assert (reported["jobs"], reported["rows_read"], reported["accepted"], reported["rows_reported"]) == (
        parts,
        rows,
        rows,
        0,
    ), reported


def most_within(times: list[float], seconds: float) -> int:
    """The most calls that came within so many seconds, wherever these begin."""
    most = begin = 0
    for end, when in enumerate(times):
        while times[begin] <= when - seconds:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def seconds_of(tasks: list[dict[str, Any]]) -> float:
    """From the begin of the first to the end of the last."""
    begins = [datetime.fromisoformat(task["start_date"]) for task in tasks]
    ends = [datetime.fromisoformat(task["end_date"]) for task in tasks]
    return (max(ends) - min(begins)).total_seconds()
