"""This package: the extract as a task runs it."""

from __future__ import annotations

import os
import sys

from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator
from measuring import measured


def main(connection: str, sql: str, dataset_path: str, partitions: str) -> None:
    """Write the result of the query."""
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = connection
    task = SqlToBadgeDatasetOperator(
        task_id="extract", sql=sql, conn_id="warehouse", dataset_path=dataset_path, partitions=int(partitions)
    )
    measured(lambda: int(task.execute({})["rows"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
