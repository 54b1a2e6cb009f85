"""An import of a second organisation, by a connection of its own and into a ledger of its own."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, Param

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

with DAG(
    dag_id="second_shop",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    params={"file": Param("", type="string", title="File")},
    default_args={"retries": 0},
):
    BadgeImportOperator(
        task_id="import_badges",
        dataset="{{ params.file }}",
        capillary_conn_id="second_till",
        ledger_conn_id="second_ledger",
    )
