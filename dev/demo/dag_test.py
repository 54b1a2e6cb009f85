"""One run of the sample DAG through Airflow's own command, and its progress, read from its log."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dev.processes import child_process

DAG_ID = "nightly_badge_sync"
SECONDS_BETWEEN_LOOKS = 0.2
_STEP = re.compile(r"\[DAG TEST\] (?P<what>starting|end task) task_id=(?P<task>\w+)")


def airflow(*arguments: str) -> list[str]:
    """Airflow's command line in this very Python, wherever the shell's ``airflow`` may point."""
    return [sys.executable, "-m", "airflow", *arguments]


def run_dag(
    env: Mapping[str, str], log: Path, date_from: str, date_to: str, on_task_done: Callable[[str, float], None]
) -> int:
    """Run the DAG once for the range and return the exit code: 0 only if the run ended well.

    ``on_task_done`` is called with a task's id and its seconds, as soon as the log says that it is over.
    """
    conf = json.dumps({"date_from": date_from, "date_to": date_to})
    began: dict[str, float] = {}
    with child_process(airflow("dags", "test", DAG_ID, "--conf", conf), env, log) as child:
        lines = _lines_of(log, until=lambda: child.poll() is not None)
        for line in lines:
            step = _STEP.search(line)
            if step is None:
                continue
            if step["what"] == "starting":
                began[step["task"]] = time.monotonic()
            else:
                on_task_done(step["task"], time.monotonic() - began.get(step["task"], time.monotonic()))
        return child.wait()


def _lines_of(log: Path, until: Callable[[], bool]) -> Iterator[str]:
    """Give the lines of a growing file; the last ones after its writer ended."""
    with log.open(encoding="utf-8", errors="replace") as text:
        unfinished = ""
        while True:
            ended = until()
            read = unfinished + text.read()
            *complete, unfinished = read.split("\n")
            yield from complete
            if ended:
                yield unfinished
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)
