"""This package's import of rows that the API refuses, every one, with the operator as a task runs it."""

from __future__ import annotations

import json
import logging
import os
import sys
from types import SimpleNamespace

from airflow.sdk.exceptions import AirflowException

# An import loads 46 MiB of libraries, pyarrow above all, when it begins. The limit is about the rows, on top of them.
import airflow_provider_capillary.operators.import_task  # noqa: F401
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from measuring import measured


def main(dataset: str, api: str, batch_size: int, state: str) -> None:
    """Send the dataset; canaries are left out, and early stops, so that every row is sent and reported."""
    logging.getLogger("airflow_provider_capillary").setLevel(logging.CRITICAL)
    connection = {"conn_type": "capillary", "host": api, "login": "till", "password": "x"}
    os.environ["AIRFLOW_CONN_CAPILLARY_DEFAULT"] = json.dumps(connection)
    os.environ["AIRFLOW_CONN_LEDGER"] = json.dumps({"conn_type": "sqlite", "host": f"{state}/ledger.db"})
    task = BadgeImportOperator(
        task_id="import_badges",
        dataset=dataset,
        ledger_conn_id="ledger",
        batch_size=batch_size,
        verify_after=0,
        canary=False,
        max_rejected="100%",
    )
    ti = SimpleNamespace(
        dag_id="bench", task_id="import_badges", run_id="1", map_index=-1, try_number=1, max_tries=3, log=None
    )

    def work() -> int:
        try:
            return int(task.execute({"ti": ti})["accepted"])  # type: ignore[typeddict-item]
        except AirflowException:  # nearly all rows refused: the import stops early, which is what it is for
            return 0

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
