"""``python -m tests.compose``: bring ``docker-compose.yaml`` up, run two of its DAGs, compare, bring it down.

Images are pulled where ``--pull`` says so; else stand-ins are built (root, Debian and ten minutes are needed).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from .airflow_api import AirflowApi
from .commands import tell
from .engine import engine, install_what_is_missing
from .stack import Stack, running_stack
from .stand_ins import ROOT, stand_ins

FOLDER = ROOT / ".compose"


def main() -> int:
    """Try the stack; an exception tells what does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description=__doc__)
    parser.add_argument("--pull", action="store_true", help="the official images")
    parser.add_argument("--keep", action="store_true", help=f"keep what was built in {FOLDER.name}/ for the next time")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    os.environ["DOCKER_BUILDKIT"] = "0"  # Debian's engine has no buildx
    try:
        install_what_is_missing()
        with engine(FOLDER / "engine") as env:
            images = {} if options.pull else stand_ins(FOLDER, env)
            with running_stack(FOLDER, {**env, **images}) as stack:
                check(stack)
    finally:
        if not options.keep:
            shutil.rmtree(FOLDER, ignore_errors=True)
    return 0


def check(stack: Stack) -> None:
    """A nightly run, the same again, and a mapped run: grants are as counted, and none is there twice."""
    airflow = AirflowApi(stack.ui, "admin", stack.admin_password)
    for dag_id in ("nightly_badge_sync", "sharded_badge_sync"):
        airflow.wait_for_dag(dag_id)

    first = _imported(airflow, "nightly_badge_sync", _days(20, 10))
    assert first["accepted"] > 100, first
    _agree(stack, granted=first["accepted"])

    again = _imported(airflow, "nightly_badge_sync", _days(20, 10))
    assert (again["accepted"], again["already_accepted"]) == (0, first["accepted"] + first["already_accepted"]), again
    _agree(stack, granted=first["accepted"])

    mapped = _imported(airflow, "sharded_badge_sync", _days(15, 0))
    assert mapped["accepted"] > 100, mapped
    assert mapped["already_accepted"] > 0, "the days that both runs cover were sent again"
    _agree(stack, granted=first["accepted"] + mapped["accepted"])


def _days(first: int, end: int) -> dict[str, str]:
    """From so many days ago until so many days ago."""
    today = datetime.now(UTC).date()
    return {"date_from": str(today - timedelta(days=first)), "date_to": str(today - timedelta(days=end))}


def _imported(airflow: AirflowApi, dag_id: str, conf: dict[str, Any]) -> dict[str, int]:
    """Run a DAG and add up what its imports returned."""
    tell(f"running {dag_id} with {conf}")
    run = airflow.run(dag_id, conf, seconds=600)
    assert run["state"] == "success", [(task["task_id"], task["state"]) for task in run["tasks"]]
    imports = [task for task in run["tasks"] if task["task_id"] == "import_badges"]
    told = [airflow.returned(run, "import_badges", task["map_index"]) for task in imports]
    names = ("rows_read", "accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
    counts = {name: sum(one[name] for one in told) for name in names}
    workers = {task["hostname"] for task in imports}
    tell(f"  {len(imports)} import(s) on {len(workers)} worker(s): {counts}")
    return counts


def _agree(stack: Stack, granted: int) -> None:
    summary = stack.simulator_summary()
    assert summary["grants"] == summary["distinct_grants"] == granted, (summary, granted)
    tell(f"  the simulator granted {granted:,} badges, none twice")


if __name__ == "__main__":
    sys.exit(main())
