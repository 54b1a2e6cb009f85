"""One extract in a process of its own, which then says how it ended and how much memory it needed at most."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from airflow.providers.postgres.hooks import postgres
from airflow.sdk.exceptions import AirflowException

from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator


def peak_bytes() -> int:
    """The most memory this process had resident; ``getrusage`` would count what the parent had when it forked."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def outcome(driver: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """What became of one extract."""
    postgres.USE_PSYCOPG3 = driver == 3
    try:
        returned = SqlToBadgeDatasetOperator(task_id="extract", **arguments).execute({})
    except AirflowException as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"rows": returned["rows"]}


def main(largest_file: int, *extracts: dict[str, Any]) -> None:
    """Extract one after the other; a line of JSON for each."""
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    for arguments in extracts:
        reported = outcome(arguments.pop("driver", 3), arguments)
        sys.stdout.write(f"\n{json.dumps(reported | {'peak': peak_bytes()})}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
