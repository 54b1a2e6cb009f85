"""``python -m dev.many_workers``: a mapped import over two Celery workers, disturbed; its speed-up; sixteen at once.

Needs Debian's Redis (``apt-get install redis-server``), and nothing else that is not in `.venv`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from dev.compose.commands import say
from dev.interrupts import one_interrupt
from dev.many_workers.at_once import Noted, sixteen_at_once
from dev.many_workers.celery_stack import celery_stack, enough_redis
from dev.many_workers.deaths import WORKERS, Deaths, a_worker_dies_and_redis_restarts
from dev.many_workers.throughput import Speed, one_and_two_workers

PARTS, PARTS_OF_SPEED = 16, 4
#: Below what two workers send without it, some 13 to 25 a second: else it would say nothing.
REQUESTS_PER_MINUTE = 600


def main() -> int:
    """Run both; an exception says what does not hold."""
    parser = argparse.ArgumentParser(prog="python -m dev.many_workers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the disturbed import; 0: none")
    parser.add_argument("--batch-size", type=int, default=1_000)
    parser.add_argument("--speed-rows", type=int, default=240_000, help="of each undisturbed one; 0: none")
    parser.add_argument("--at-once-rows", type=int, default=3_200, help="of sixteen imports at once; 0: none")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds of each request of those")
    options = parser.parse_args()
    if (options.rows or options.speed_rows) and not enough_redis():
        sys.exit("redis-server is needed: apt-get install redis-server")
    began = time.monotonic()
    if options.rows or options.speed_rows:
        _over_celery(options, began)
    if options.at_once_rows:
        _at_once(options.at_once_rows)
    say(f"all processes have ended, nothing is left; {time.monotonic() - began:.0f} s in all")
    return 0


def _folder() -> Path:
    # Not in a folder of ours: PostgreSQL of a root user runs as another one, who may not enter there.
    return Path(tempfile.mkdtemp(prefix="capillary-workers-"))


def _over_celery(options: argparse.Namespace, began: float) -> None:
    settings = {"capillary": {"default_batch_size": str(options.batch_size)}}
    with one_interrupt(), celery_stack(_folder(), (PARTS, PARTS_OF_SPEED), REQUESTS_PER_MINUTE, settings) as stack:
        say(f"Airflow is ready after {time.monotonic() - began:.0f} s")
        if options.rows:
            stack.start_workers(*WORKERS)
            _show(a_worker_dies_and_redis_restarts(stack, PARTS, options.rows, REQUESTS_PER_MINUTE))
            stack.stop_worker(WORKERS[1])
        else:
            stack.start_workers(WORKERS[0])
        if options.speed_rows:
            say(f"one worker, then two, each request takes {options.latency:g} s")
            _show_speed(*one_and_two_workers(stack, PARTS_OF_SPEED, options.speed_rows, options.latency))


def _at_once(rows: int) -> None:
    # Sixteen that begin at once on few processors need longer to read a DAG file than Airflow gives them.
    local = {"executor": "LocalExecutor", "parallelism": str(PARTS), "dagbag_import_timeout": "600"}
    settings = {"core": local, "capillary": {"default_batch_size": "20"}}
    with one_interrupt(), celery_stack(_folder(), (PARTS,), None, settings) as stack:
        noted = sixteen_at_once(stack, PARTS, rows)
    say(f"{noted.jobs} imports by LocalExecutor, {noted.at_once} of them at once, none refused, none tried again")
    _show_witness(noted)


def _show_witness(noted: Noted) -> None:
    say(f"  the witness names all {noted.jobs} jobs; it was written {noted.writes} times of {noted.allowed} allowed")


def _show(reported: Deaths) -> None:
    say(f"{reported.rows:,} rows in {PARTS} parts, one worker killed, Redis restarted: {dict(reported.counts)}")
    _show_witness(reported.noted)
    say("  the simulator granted each row exactly once; one report covers all parts")
    say(f"  imports took {reported.seconds:.0f} s, tasks by their number of tries: {dict(reported.tries)}")
    say(f"  calls: {dict(reported.requests)}")
    say(
        f"  budget {REQUESTS_PER_MINUTE} a minute; the most that came within 60 s: {reported.most_in_a_minute}, "
        f"within 5 s: {reported.most_in_five_seconds} (budget {REQUESTS_PER_MINUTE // 12})"
    )


def _show_speed(one: Speed, two: Speed) -> None:
    for speed in (one, two):
        rate = f"{speed.rows_per_second:,.0f} rows/s"
        say(f"  {speed.workers} worker(s): {speed.rows:,} rows in {speed.seconds:.1f} s, {rate}")
    say(f"  ratio {two.rows_per_second / one.rows_per_second:.2f}")


if __name__ == "__main__":
    sys.exit(main())
