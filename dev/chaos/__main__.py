"""Runs the chaos campaigns: ``python -m dev.chaos``, from the project's root."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec

from dev.postgres import postgres_server

from .campaign import Result
from .mode import ModeResult
from .modes import MODES, mode_table, unexpected
from .table import broken_expectations, table
from .tasks import KILLED_OFTEN, ModeTask, Task, run_mode_task, run_task

KILLED_DEATHS = 20


def main() -> int:
    """Run campaigns, print one table; 1 where an expectation is broken."""
    options = _options()
    started = time.monotonic()
    results: list[Result] = []
    of_modes: list[ModeResult] = []
    broken = 0
    with contextlib.ExitStack() as stack:
        needs_postgres = options.ledger != "sqlite" or options.modes
        postgres = stack.enter_context(postgres_server(durable=True)).uri("postgres") if needs_postgres else None
        tasks = list(_tasks(options, postgres))
        mode_tasks = list(_mode_tasks(options, postgres))
        # spawn: a fork of this process would take over its threads' locks
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(options.jobs, mp_context=context))
        futures = {pool.submit(run_task, task): task for task in tasks}
        of_mode_futures = [pool.submit(run_mode_task, task) for task in mode_tasks]
        for future in as_completed(futures):
            result = future.result()
            results.append(result)
            broken += _report(futures[future], result, len(results), len(tasks))
        if results:
            _say(table(results))  # now, so that a mode that cannot be tried hides nothing
        of_modes = [each.result() for each in of_mode_futures]
    differences = unexpected(of_modes)
    if of_modes:
        _say(mode_table(of_modes))
        for difference in differences:
            _say(f"UNEXPECTED {difference}")
    broken += len(differences)
    count = len(results) + len(of_modes)
    _say(f"{count} campaigns in {time.monotonic() - started:.0f} s; {broken or 'no'} expectations broken")
    if options.json:
        Path(options.json).write_bytes(msgspec.json.format(msgspec.json.encode([results, of_modes])))
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.chaos", description=__doc__)
    parser.add_argument("--seeds", default="1-4", help="such as 7, or 1-30, or 3,5,8 (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=2_000, help="of each campaign (default: %(default)s)")
    parser.add_argument("--deaths", type=int, default=6, help="processes to kill in each campaign")
    parser.add_argument("--policies", default="hold,verify,resend")
    parser.add_argument("--ledger", choices=("sqlite", "postgres", "both"), default="sqlite")
    parser.add_argument("--jobs", type=int, default=4, help="campaigns at a time: most of them wait (default: 4)")
    parser.add_argument("--killed-often", type=int, default=0, help="rows of one more job, to be killed 20 times")
    parser.add_argument("--modes", default="", help="the modes whose name holds this, or all")
    parser.add_argument("--mode-seeds", default="1-3", help="of the modes (default: %(default)s)")
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--keep", help="keep datasets, ledgers and the processes' logs in this folder")
    return parser.parse_args()


def _seeds(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _tasks(options: argparse.Namespace, postgres: str | None) -> Iterator[Task]:
    if options.killed_often:  # first: it takes longest
        seed = next(_seeds(options.seeds))
        yield Task(seed, options.killed_often, KILLED_DEATHS, KILLED_OFTEN, None, options.keep)
    for seed in _seeds(options.seeds):
        # both: every fifth seed on PostgreSQL, which is slower to kill and to start anew
        on_postgres = options.ledger == "postgres" or (options.ledger == "both" and seed % 5 == 0)
        for policy in filter(None, options.policies.split(",")):
            yield Task(seed, options.rows, options.deaths, policy, postgres if on_postgres else None, options.keep)


def _mode_tasks(options: argparse.Namespace, postgres: str | None) -> Iterator[ModeTask]:
    if options.modes:
        for name in MODES:
            if options.modes in ("all", name) or options.modes in name:
                for seed in _seeds(options.mode_seeds):
                    yield ModeTask(name, seed, postgres, options.keep)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _report(task: Task, result: Result, done: int, all_tasks: int) -> int:
    broken = broken_expectations(result)
    if not broken:
        if done % 10 == 0:
            _say(f"{done} of {all_tasks} campaigns")
        return 0
    _say(f"BROKEN with {task.policy}, seed {task.seed}: {', '.join(broken)}")
    for problem in result.difference.problems:
        _say(f"    {problem}")
    _say(f"    again: {task.command}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
