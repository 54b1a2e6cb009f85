"""``python -m dev.stack.warm_airflow``: the command ``airflow``, with DAGs' imports in memory.

Tasks are forks of the scheduler (LocalExecutor), and DAG files are read by forks of the DAG processor. What is loaded
here need not be loaded by each of them, which would take longer than the work itself. After a change of this package
the stack must therefore be started again. DAG files are read anew each time.
"""

from __future__ import annotations

import importlib

_NEEDED = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.decorators.python",
    "airflow_provider_capillary.ledger.ledger",
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
    # The first asset of a process makes Airflow load whatever may know what assets of its kind are.
    from airflow.sdk import Asset

    Asset("capillary://warm")
    from airflow.__main__ import main as airflow

    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
