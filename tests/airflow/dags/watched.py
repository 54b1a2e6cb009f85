"""DAGs that are watched: by OpenLineage, by StatsD, and by DAGs that wait for assets."""

from __future__ import annotations

from airflow.sdk import DAG, Asset

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

QUERY = """
    SELECT badge_id AS badge_meta_id, customer_id, earned_at AS earn_event_date, expires_at AS earn_expires_on
    FROM earned ORDER BY customer_id
"""
IMPORTED, REPORTED = Asset("capillary://api.example/badges"), Asset("capillary://api.example/reports")

with DAG("watched", schedule=None, params={"folder": ""}):
    extract = SqlToBadgeDatasetOperator(
        task_id="extract", conn_id="shop", sql=QUERY, dataset_path="{{ params.folder }}", partitions=2
    )
    import_badges = BadgeImportOperator(task_id="import_badges", dataset=extract.output, outlets=[IMPORTED])
    BadgeErrorReportOperator(task_id="report", job=import_badges.output, outlets=[REPORTED])

with DAG("watched_dry_run", schedule=None, params={"folder": ""}):
    tried = BadgeImportOperator(
        task_id="import_badges", dataset="{{ params.folder }}/good.jsonl", dry_run=True, outlets=[IMPORTED]
    )
    BadgeErrorReportOperator(task_id="report", job=tried.output, outlets=[REPORTED])

with DAG("watched_parts", schedule=None, params={"folder": ""}, render_template_as_native_obj=True):
    mapped = BadgeImportOperator.partial(task_id="import_badges", max_rejected=0, outlets=[IMPORTED]).expand(
        dataset=["{{ params.folder }}/good.jsonl", "{{ params.folder }}/fine.jsonl", "{{ params.folder }}/bad.jsonl"]
    )
    # Airflow sends events of successful tasks only, so the report must not fail with its imports.
    BadgeErrorReportOperator(
        task_id="report", job=mapped.output, outlets=[REPORTED], trigger_rule="all_done", fail_with_import=False
    )
