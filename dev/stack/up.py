"""Serves the local stack until Ctrl-C: ``python -m dev.stack.up``, or ``make up``."""

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
from dev.sample_data.warehouse import BADGES
from dev.screen import Screen
from dev.simulator_process import SimulatorDidNotStartError
from dev.stack.folder_lock import FolderInUseError
from dev.stack.local_stack import LocalStack, StackDidNotStartError

SECONDS_BETWEEN_LOOKS = 0.5
FIRST_BADGE = BADGES["first_purchase"]
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
    if stack.taken_port is not None:
        screen.say(f"  port {stack.taken_port} is taken by another program: Airflow has another one")
    screen.say(f"\nReady after {time.monotonic() - stack.began:.0f} s.\n{_what_to_try(stack)}")
    while not (ended := stack.processes.ended()):
        if stop_with_input and _input_has_ended():
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
    raise StackDidNotStartError(f"{ended} has ended unasked; see {stack.logs / ended}.log")


def _input_has_ended() -> bool:
    """Whether standard input has ended; what came there is thrown away."""
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
  its till   {LOGIN}, password {PASSWORD}
             for a connection of your own: Cluster URL {host}, Port {port}, Scheme http
  shell      {stack.command_line} capillary jobs
             any command of `airflow`; {stack.command_line.name} capillary --help lists those of this provider

What to try
  1. See what the last seven days would send, and send nothing: {dags}/backfill_badges,
     Trigger, with the form as it is. (To unpause nightly_badge_sync begins last night's run for real.)
  2. Backfill the week: {dags}/nightly_badge_sync, Trigger, Backfill,
     from {week_ago} to {today}, times 00:00. It is over when every run is green or red; Airflow's blue bar stays
     a minute longer. Then again with "All Runs": every row is accepted already, and each badge was granted once.
  3. Look at it: Browse, Badge imports (and a tab of each run and task). Some nights have a row that was refused:
     its reason, the report, errors.csv, and what to do.
  4. Correct such a row: download errors.csv, put right what its column "message" says (where the badge is missing,
     {FIRST_BADGE} is one), save it, and {dags}/import_badge_file,
     Trigger, with the file's path.
  5. Undo an import: its page, Undo; first a dry run, then for good.
  6. Test the connection: Admin, Connections, the first icon beside capillary_default turns green.
  7. Clear a task, kill one, run a day twice: no badge is granted twice.

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
        "--stop-with-input",
        action="store_true",
        help="stop too when standard input ends: with its parent",
    )
    parser.add_argument("--remove", action="store_true", help="remove the data of an earlier stack, and start nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
