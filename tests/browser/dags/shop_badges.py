"""Import a file and report on it: the file, and what happens to rows without proof, are asked for in the form."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

with DAG(
    dag_id="shop_badges",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    max_active_runs=8,
    params={
        "file": Param("", type="string", title="File"),
        "on_unknown": Param("hold", enum=["hold", "verify"], title="Rows without proof"),
        "max_unknown": Param("0", type="string", title="Unknown rows allowed"),
    },
    default_args={"retries": 0, "retry_delay": timedelta(seconds=1)},
):
    import_badges = BadgeImportOperator(
        task_id="import_badges",
        dataset="{{ params.file }}",
        on_unknown="{{ params.on_unknown }}",
        max_unknown="{{ params.max_unknown }}",
        max_rejected="60%",
        verify_after=1,
        batch_size=20,
        concurrency=1,
    )
    import_badges >> BadgeErrorReportOperator(task_id="report", job=import_badges.output, trigger_rule="all_done")
