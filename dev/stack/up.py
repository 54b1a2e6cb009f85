"""``python -m dev.stack.up``: what ``make up`` runs, until somebody presses Ctrl-C."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from dev.airflow_home import LOGIN, PASSWORD, dags_folder
from dev.interrupts import one_interrupt
from dev.postgres import PostgresDidNotStartError
from dev.processes import ProcessesStillThereError
from dev.sample_data.recent_warehouse import load_recent_days
from dev.screen import Screen
from dev.simulator_process import SimulatorDidNotStartError
from dev.stack.folder_lock import FolderInUseError
from dev.stack.local_stack import LocalStack, StackDidNotStartError

SECONDS_BETWEEN_LOOKS = 0.5
_FAILURES = (
    FolderInUseError,
    PostgresDidNotStartError,
    ProcessesStillThereError,
    SimulatorDidNotStartError,
    StackDidNotStartError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the stack until it is interrupted; give the exit code: 0 after Ctrl-C, 1 where a process failed."""
    asked = _parser().parse_args(arguments)
    screen = Screen(Console())
    stack = LocalStack(asked.folder, [dags_folder(), *asked.dags], screen.step, ports=[asked.port])
    with one_interrupt():
        try:
            if asked.remove:
                stack.remove()
                return 0
            with stack:
                serve(stack, screen, stop_with_input=asked.stop_with_input)
        except KeyboardInterrupt:
            screen.say()
        except _FAILURES as error:
            screen.fail(str(error))
            return 1
        finally:
            stack.stop()  # again, where an interrupt came in between
    screen.say("Stopped, with everything that was started. The data is kept for the next time.")
    return 0


def serve(stack: LocalStack, screen: Screen, *, stop_with_input: bool = False) -> None:
    """Fill the warehouse, start Airflow, say what there is to see, and watch over it."""
    with screen.step("Sample warehouse"), stack.postgres.connect("warehouse") as connection:
        first_day, purchases = load_recent_days(connection, datetime.now(UTC).date())
    screen.say(f"  {purchases:,} purchases from {first_day} to today")
    stack.start_airflow()
    screen.say(f"\nReady after {time.monotonic() - stack.began:.0f} s.\n{_what_to_try(stack)}")
    while not (ended := stack.processes.ended()):
        if stop_with_input and _input_has_ended():
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
    raise StackDidNotStartError(f"{ended} has ended by itself; see {stack.logs / ended}.log")


def _input_has_ended() -> bool:
    """Whether nobody can write to standard input any more; what somebody wrote is thrown away."""
    descriptor = sys.stdin.fileno()
    return bool(select.select([descriptor], [], [], 0)[0]) and not os.read(descriptor, 4_096)


def _what_to_try(stack: LocalStack) -> str:
    today = datetime.now(UTC).date()
    week_ago, dags = today - timedelta(days=7), f"{stack.api.url}/dags"
    host, port = urlsplit(stack.simulator.url).hostname, urlsplit(stack.simulator.url).port
    return f"""
  Airflow    {stack.api.url}
  login      {stack.login}
  password   {stack.password}
  simulator  {stack.simulator.url}/simulator/summary
  its till   {LOGIN}, password {PASSWORD} (for a connection of your own: host {host}, port {port}, schema http)
  shell      {stack.command_line} capillary jobs    (any command of `airflow`)

What to try
  1. Import last night's badges: {dags}/nightly_badge_sync, Trigger.
     Counts, reasons, rows and report are in Browse, Badge imports, and in a tab of the run.
     For a dry run untick "Unpause" in the form, or last night's scheduled run begins too, and is none.
  2. Backfill a week: Trigger, Backfill, from {week_ago} to {today}. Then again with "All Runs":
     every row is accepted already, and the simulator has granted each badge once.
  3. The same days in one import: {dags}/backfill_badges, Trigger,
     From {week_ago}, To {today}; first as a dry run, which is the default there, then for good.
  4. Test the connection: Admin, Connections, the first icon beside capillary_default turns green.
  5. Clear a task, kill one, run a day twice: no badge is granted twice.

The simulator forgets its grants when it stops; the ledger, in PostgreSQL, does not.
Files and logs: {stack.folder}
Ctrl-C stops everything; `make clean` removes the data.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.stack.up", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".up"), help="where everything is kept (default: .up)")
    parser.add_argument("--port", type=int, default=8080, help="of Airflow, where it is free (default: 8080)")
    parser.add_argument(
        "--dags",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="load these DAGs too, besides the samples",
    )
    parser.add_argument(
        "--stop-with-input", action="store_true", help="stop too when standard input ends: with whoever started it"
    )
    parser.add_argument("--remove", action="store_true", help="remove the data of an earlier stack, and start nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
