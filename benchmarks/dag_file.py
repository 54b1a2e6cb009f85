"""``python -m benchmarks.dag_file``: what it costs a DAG file to name the operators, beside Airflow's HttpOperator.

Each is named in five fresh processes, in turns; medians of what comes on top of ``airflow.sdk``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

ROUNDS = 5
_OURS = "airflow_provider_capillary"
NAMED = {
    "HttpOperator": "from airflow.providers.http.operators.http import HttpOperator",
    "BadgeImportOperator": f"from {_OURS}.operators.badge_import import BadgeImportOperator",
    "all six operators": f"""
from {_OURS}.operators.badge_error_report import BadgeErrorReportOperator
from {_OURS}.operators.badge_import import BadgeImportOperator
from {_OURS}.operators.badge_reconcile import BadgeReconcileOperator
from {_OURS}.operators.badge_revoke import BadgeRevokeOperator
from {_OURS}.operators.badge_seed import BadgeSeedOperator
from {_OURS}.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator
""",
}
_MEASURED = """
import json, os, sys, time
from airflow.sdk import DAG, task
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
cpu, bytes_ = time.process_time(), memory()
exec(sys.argv[1])
print(json.dumps([time.process_time() - cpu, memory() - bytes_]))
"""


def measured(code: str) -> tuple[float, float]:
    """CPU seconds and bytes of memory that ``code`` needs in a fresh process."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, code], capture_output=True, text=True, check=True)
    seconds, grown = json.loads(done.stdout.splitlines()[-1])
    return seconds, grown


def main() -> int:
    """Print one line for each."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMED}
    for _ in range(ROUNDS):
        for name, code in NAMED.items():
            found[name].append(measured(code))
    for name, costs in found.items():
        seconds, grown = (statistics.median(values) for values in zip(*costs, strict=True))
        sys.stdout.write(f"{name:20} {seconds * 1_000:4.0f} ms CPU  {grown / 2**20:5.1f} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
