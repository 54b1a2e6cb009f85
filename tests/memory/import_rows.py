"""One import in a process of its own, which then says how much memory it needed at most."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator


def peak_bytes() -> int:
    """The most memory this process had resident.

    Not by ``getrusage`` where that can be avoided: Linux counts for it what the parent had when it started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(dataset: str, settings: dict[str, Any]) -> None:
    """Import the dataset into whatever ``capillary_default`` is, and print the account as JSON."""
    ids = {"dag_id": "memory", "task_id": "import", "run_id": "r", "map_index": -1, "try_number": 1, "max_tries": 0}
    began = time.monotonic()
    context: Any = {"ti": SimpleNamespace(**ids)}
    summary = BadgeImportOperator(task_id="import", dataset=dataset, batch_size=1000, **settings).execute(
        cast(Any, context)
    )
    reported = {"summary": summary, "seconds": time.monotonic() - began, "peak": peak_bytes()}
    sys.stdout.write(f"\n{json.dumps(reported)}\n")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
