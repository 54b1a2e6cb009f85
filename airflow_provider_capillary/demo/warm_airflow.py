"""``python -m airflow_provider_capillary.demo.warm_airflow``: the command ``airflow``, with DAGs' imports in memory.

Tasks are forks of the scheduler (LocalExecutor), and DAG files are read by forks of the DAG processor. What is loaded
here need not be loaded by each of them, which would take longer than the work itself. Nothing else is different.
"""

from __future__ import annotations

import importlib

_NEEDED = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.standard.operators.empty",
    "airflow_provider_capillary.ledger.sql_ledger",
    "airflow_provider_capillary.operators.badge_error_report",
    "airflow_provider_capillary.operators.badge_import",
    "airflow_provider_capillary.transfers.sql_to_badge_dataset",
    "pyarrow.parquet",
    "sqlalchemy.dialects.postgresql.psycopg",
)


def main() -> None:
    """Load, then become ``airflow`` with the same arguments."""
    for module in _NEEDED:
        importlib.import_module(module)
    from airflow.__main__ import main as airflow

    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
