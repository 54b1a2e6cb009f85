"""``python -m dev.many_workers``: a large mapped import over two Celery workers, disturbed; then its speed-up.

Needs Debian's Redis (``apt-get install redis-server``), and nothing else that is not in `.venv`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from dev.compose.commands import tell
from dev.interrupts import one_interrupt
from dev.many_workers.celery_stack import celery_stack, enough_redis
from dev.many_workers.deaths import WORKERS, Told, a_worker_dies_and_redis_restarts
from dev.many_workers.throughput import Speed, one_and_two_workers

PARTS, PARTS_OF_SPEED = 16, 4
#: Below what two workers send without it, some 13 to 25 a second: else it would say nothing.
REQUESTS_PER_MINUTE = 600


def main() -> int:
    """Run both; an exception tells what does not hold."""
    parser = argparse.ArgumentParser(prog="python -m dev.many_workers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the disturbed import; 0: none")
    parser.add_argument("--batch-size", type=int, default=1_000)
    parser.add_argument("--speed-rows", type=int, default=240_000, help="of each undisturbed one; 0: none")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds of each request of those")
    options = parser.parse_args()
    if not enough_redis():
        sys.exit("redis-server is needed: apt-get install redis-server")
    # Not in a folder of ours: PostgreSQL of a root user runs as another one, who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="capillary-workers-"))
    began = time.monotonic()
    settings = {"capillary": {"default_batch_size": str(options.batch_size)}}
    with one_interrupt(), celery_stack(folder, (PARTS, PARTS_OF_SPEED), REQUESTS_PER_MINUTE, settings) as stack:
        tell(f"Airflow is ready after {time.monotonic() - began:.0f} s")
        if options.rows:
            stack.start_workers(*WORKERS)
            _show(a_worker_dies_and_redis_restarts(stack, PARTS, options.rows, REQUESTS_PER_MINUTE))
            stack.stop_worker(WORKERS[1])
        else:
            stack.start_workers(WORKERS[0])
        if options.speed_rows:
            tell(f"one worker, then two, each request takes {options.latency:g} s")
            _show_speed(*one_and_two_workers(stack, PARTS_OF_SPEED, options.speed_rows, options.latency))
    tell(f"all processes have ended, nothing is left; {time.monotonic() - began:.0f} s in all")
    return 0


def _show(told: Told) -> None:
    tell(f"{told.rows:,} rows in {PARTS} parts, one worker killed, Redis restarted: {dict(told.counts)}")
    tell("  the simulator granted each row exactly once; one report tells of all parts")
    tell(f"  imports took {told.seconds:.0f} s, tasks by their number of tries: {dict(told.tries)}")
    tell(f"  calls: {dict(told.requests)}")
    tell(
        f"  budget {REQUESTS_PER_MINUTE} a minute; the most that came within 60 s: {told.most_in_a_minute}, "
        f"within 5 s: {told.most_in_five_seconds} (budget {REQUESTS_PER_MINUTE // 12})"
    )


def _show_speed(one: Speed, two: Speed) -> None:
    for speed in (one, two):
        rate = f"{speed.rows_per_second:,.0f} rows/s"
        tell(f"  {speed.workers} worker(s): {speed.rows:,} rows in {speed.seconds:.1f} s, {rate}")
    tell(f"  ratio {two.rows_per_second / one.rows_per_second:.2f}")


if __name__ == "__main__":
    sys.exit(main())
