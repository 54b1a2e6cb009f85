"""This package: the report as a task writes it, of an import that goes before and is not measured."""

from __future__ import annotations

import json
import logging
import os
import sys
from types import SimpleNamespace

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from measuring import measured


def main(dataset: str, api: str, state: str, ledger: str) -> None:
    """Import, then report."""
    logging.getLogger("airflow_provider_capillary").setLevel(logging.WARNING)
    connection = {"conn_type": "capillary", "host": api, "login": "till", "password": "x"}
    os.environ["AIRFLOW_CONN_CAPILLARY_DEFAULT"] = json.dumps(connection)
    os.environ["AIRFLOW_CONN_LEDGER"] = ledger or json.dumps({"conn_type": "sqlite", "host": f"{state}/ledger.db"})
    task = BadgeImportOperator(
        task_id="import_badges", dataset=dataset, ledger_conn_id="ledger", batch_size=1_000, max_rejected="100%"
    )
    ti = SimpleNamespace(
        dag_id="bench", task_id="import_badges", run_id="1", map_index=-1, try_number=1, max_tries=3, log=None
    )
    job = task.execute({"ti": ti})["job_id"]  # type: ignore[typeddict-item]
    report = BadgeErrorReportOperator(
        task_id="report", job=job, report_path=f"file://{state}/reports", ledger_conn_id="ledger"
    )
    measured(lambda: int(report.execute({})["rows_reported"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
