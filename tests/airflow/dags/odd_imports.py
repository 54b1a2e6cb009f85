"""DAGs that no user needs as a sample: a mapped import that does not begin, and one that may hold what is unknown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

SAMPLES = Path(__file__).parents[3] / "dags"

with DAG(
    "mapped_import",
    schedule=None,
    template_searchpath=[str(SAMPLES)],
    params={"conn_id": "warehouse", "folder": ""},
    default_args={"retries": 2, "retry_delay": timedelta(0)},
):
    extract = SqlToBadgeDatasetOperator(
        task_id="extract",
        conn_id="{{ params.conn_id }}",
        sql="sql/earned_badges.sql",
        parameters={"date_from": "2025-03-18", "date_to": "2025-03-19"},
        dataset_path="{{ params.folder }}",
        partitions=3,
    )
    mapped = BadgeImportOperator.partial(task_id="import_badges").expand(dataset=extract.output["parts"])
    BadgeErrorReportOperator(task_id="report", job=mapped.output, trigger_rule="all_done")

with DAG(
    "retried_import",
    schedule=None,
    params={"dataset": ""},
    default_args={"retries": 1, "retry_delay": timedelta(0)},
):
    BadgeImportOperator(
        task_id="import_badges",
        dataset="{{ params.dataset }}",
        on_unknown="{{ 'hold' if ti.try_number == 1 else 'verify' }}",
        max_unknown="100%",
        batch_size="10",
        verify_after=0,
        canary=False,
        concurrency=1,
    )
