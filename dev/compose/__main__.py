"""``python -m dev.compose``: bring ``docker-compose.yaml`` up, run two of its DAGs, compare, bring it down.

Images are pulled where ``--pull`` says so; else stand-ins are built (root, Debian and ten minutes are needed).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

from dev.interrupts import one_interrupt
from dev.stack.airflow_api import AirflowApi

from .commands import say
from .dag_runs import DagRuns
from .engine import engine, install_what_is_missing
from .leavings import remove_folder
from .stack import Stack, running_stack
from .stand_ins import ROOT, images_built_here, stand_ins

FOLDER = ROOT / ".compose"
SECONDS_FOR_A_RUN = 600.0
COUNTS = ("rows_read", "accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")


def main() -> int:
    """Try the stack; an exception says what does not hold."""
    parser = argparse.ArgumentParser(prog="python -m dev.compose", description=__doc__)
    parser.add_argument("--pull", action="store_true", help="the official images")
    parser.add_argument("--keep", action="store_true", help=f"keep what was built in {FOLDER.name}/ for the next time")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    os.environ["DOCKER_BUILDKIT"] = "0"  # Debian's engine has no buildx
    well = False
    try:
        with one_interrupt():
            install_what_is_missing(stand_ins=not options.pull)
            with engine(FOLDER / "engine") as env, images_built_here(env, keep=options.keep):
                images = {} if options.pull else stand_ins(FOLDER, env)
                with running_stack(FOLDER, {**env, **images}) as stack:
                    check(stack)
        well = True
    finally:
        if not options.keep:
            remove_folder(FOLDER, but=() if well else ("logs.txt",))
    say("all is well, and nothing is left behind")
    return 0


def check(stack: Stack) -> None:
    """Scheduled runs, mapped and not, and triggered ones: grants are as counted, and none is there twice."""
    with closing(AirflowApi(stack.ui, "admin", stack.admin_password)) as api:
        sharded, nightly = DagRuns(api, "sharded_badge_sync"), DagRuns(api, "nightly_badge_sync")
        say("sharded_badge_sync: last night, as the scheduler does it, in four parts")
        last_night = _imported(sharded, sharded.unpause_and_wait(SECONDS_FOR_A_RUN), parts=4)
        assert last_night["accepted"] > 0, last_night
        _agree(stack, granted=last_night["accepted"])

        say("nightly_badge_sync: the same night, as the scheduler does it")
        same_night = _imported(nightly, nightly.unpause_and_wait(SECONDS_FOR_A_RUN))
        _nothing_new(same_night, last_night)
        _agree(stack, granted=last_night["accepted"])

        say("nightly_badge_sync: ten days, by hand")
        ten_days = _imported(nightly, nightly.start(_days(10, 0)))
        assert ten_days["accepted"] > 100, ten_days
        assert ten_days["already_accepted"] >= last_night["accepted"], ten_days
        _agree(stack, granted=last_night["accepted"] + ten_days["accepted"])

        say("sharded_badge_sync: last night again, by hand, in four parts")
        again = _imported(sharded, sharded.start(), parts=4)
        _nothing_new(again, last_night)
        _agree(stack, granted=last_night["accepted"] + ten_days["accepted"])


def _days(first: int, end: int) -> dict[str, str]:
    """From so many days ago until so many days ago."""
    today = datetime.now(UTC).date()
    return {"date_from": str(today - timedelta(days=first)), "date_to": str(today - timedelta(days=end))}


def _imported(dag: DagRuns, run_id: str, parts: int | None = None) -> Counter[str]:
    """Wait for the end of a run, and add up what its imports returned."""
    assert dag.wait_for_end(run_id, SECONDS_FOR_A_RUN) == "success", dag.states(run_id)
    imports = dag.tasks(run_id, "import_badges")
    assert [task["map_index"] for task in imports] == ([-1] if parts is None else list(range(parts)))
    counts: Counter[str] = Counter()
    for task in imports:
        summary = dag.returned(run_id, "import_badges", task["map_index"])
        counts.update({name: summary[name] for name in COUNTS})
    assert counts["rows_read"] == sum(counts[name] for name in COUNTS[1:]), counts
    workers = {task["hostname"] for task in imports}
    say(f"  {len(imports)} import(s) on {len(workers)} worker(s): {dict(counts)}")
    return counts


def _nothing_new(counts: Counter[str], earlier: Counter[str]) -> None:
    """Whatever an earlier run had accepted was left alone, and nothing else was."""
    assert counts["rows_read"] == earlier["rows_read"], (counts, earlier)
    assert counts["accepted"] == 0, counts
    assert counts["already_accepted"] == earlier["accepted"] + earlier["already_accepted"], (counts, earlier)


def _agree(stack: Stack, granted: int) -> None:
    """The simulator has granted as many as the summaries say, and each of them once."""
    summary = stack.simulator_summary()
    assert (summary["grants"], summary["distinct"], summary["grantedTwice"]) == (granted, granted, 0), (
        summary,
        granted,
    )
    say(f"  the simulator granted {granted:,} badges, none twice")


if __name__ == "__main__":
    sys.exit(main())
