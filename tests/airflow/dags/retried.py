"""A DAG for what Airflow does after a failed try: imports that are asked to wait, and one with a wrong password."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

SMALL: dict[str, Any] = {"canary": False, "concurrency": 1}

with DAG(
    "retried",
    schedule=None,
    params={"dataset": "", "other": ""},
    # without what the server asks for, a retry would come after this test has long given up
    default_args={"retries": 3, "retry_delay": timedelta(hours=1)},
):
    BadgeImportOperator(task_id="asked_to_wait", dataset="{{ params.dataset }}", **SMALL)
    BadgeImportOperator.partial(task_id="mapped", **SMALL).expand(dataset=["{{ params.other }}"])
    BadgeImportOperator(
        task_id="wrong_password", dataset="{{ params.dataset }}", capillary_conn_id="wrong_password", **SMALL
    )
