"""How much faster two workers are than one, where the server's latency is the limit."""

from __future__ import annotations

from typing import NamedTuple

from dev.compose.dag_runs import DagRuns
from dev.many_workers.celery_stack import CeleryStack
from dev.many_workers.deaths import SECONDS, WORKERS, seconds_of
from dev.many_workers.night import dag_of


class Speed(NamedTuple):
    """One mapped import."""

    workers: int
    rows: int
    seconds: float  #: from the begin of the first import to the end of the last one, starts of processes included

    @property
    def rows_per_second(self) -> float:
        """Over all workers."""
        return self.rows / self.seconds


def one_and_two_workers(stack: CeleryStack, parts: int, rows: int, latency: float) -> tuple[Speed, Speed]:
    """Import so many rows with the one worker that runs, and as many others with two.

    :param latency: seconds that each import request takes at the simulator
    """
    stack.simulator.use_faults({"kind": "slow", "seconds": latency, "pieces": 2})
    dag = DagRuns(stack.api, dag_of(parts))
    dag.unpause()
    one = _speed(dag, 1, rows, "2026-04-02T02:00:00Z")
    stack.start_workers(WORKERS[1])
    two = _speed(dag, 2, rows, "2026-04-03T02:00:00Z")
    stack.simulator.use_faults()
    return one, two


def _speed(dag: DagRuns, workers: int, rows: int, logical_date: str) -> Speed:
    run_id = dag.start({"rows": rows}, logical_date)
    assert dag.wait_for_end(run_id, SECONDS) == "success", dag.states(run_id)
    return Speed(workers, rows, seconds_of(dag.tasks(run_id, "import_badges")))
