"""This package: the operator as a task runs it, with ledger and summary."""

from __future__ import annotations

import json
import logging
import os
import sys
from types import SimpleNamespace

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from measuring import measured


def main(dataset: str, api: str, batch_size: int, state: str, ledger: str, concurrency: str, run_id: str = "1") -> None:
    """Send the dataset; a second call with the same state and run is the retry of the first."""
    logging.getLogger("airflow_provider_capillary").setLevel(logging.WARNING)
    connection = {"conn_type": "capillary", "host": api, "login": "till", "password": "x"}
    os.environ["AIRFLOW_CONN_CAPILLARY_DEFAULT"] = json.dumps(connection)
    os.environ["AIRFLOW_CONN_LEDGER"] = ledger or json.dumps({"conn_type": "sqlite", "host": f"{state}/ledger.db"})
    task = BadgeImportOperator(
        task_id="import_badges",
        dataset=dataset,
        ledger_conn_id="ledger",
        batch_size=batch_size,
        concurrency=int(concurrency),
        verify_after=0,
    )
    ti = SimpleNamespace(
        dag_id="bench", task_id="import_badges", run_id=run_id, map_index=-1, try_number=1, max_tries=3, log=None
    )
    measured(lambda: int(task.execute({"ti": ti})["accepted"]))  # type: ignore[typeddict-item]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
