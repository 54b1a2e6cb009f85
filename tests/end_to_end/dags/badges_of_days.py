"""Extract, import, report: small, quick to retry, and with a data interval as its schedule."""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

# A run that a person triggered has no data interval.
LAST_DAY = (
    "{{ params.last_day or (dag_run.data_interval_start | ds if dag_run.data_interval_start"
    " else macros.ds_add(dag_run.run_after | ds, -1)) }}"
)
DATASETS = f"{os.environ['AIRFLOW_HOME']}/datasets"
SQL = """
    SELECT badge_meta_id, customer_id, earn_event_date, earn_expires_on
    FROM earned_badges
    WHERE earned_on > %(last_day)s::date - %(days)s::int AND earned_on <= %(last_day)s::date
    ORDER BY customer_id
"""

with DAG(
    dag_id="badges_of_days",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    # One scheduled run, whatever day it is, and no other one that begins while the tests run.
    start_date=pendulum.datetime(2025, 3, 31, tz="UTC"),
    end_date=pendulum.datetime(2025, 3, 31, tz="UTC"),
    catchup=True,
    max_active_runs=8,
    params={
        "last_day": Param(None, type=["null", "string"], format="date"),
        "days": Param(1, type="integer", minimum=1),
    },
    # Of four runs over the same rows three have to try again until the first is done.
    default_args={"retries": 12, "retry_delay": timedelta(seconds=2)},
):
    extract = SqlToBadgeDatasetOperator(
        task_id="extract",
        conn_id="warehouse",
        sql=SQL,
        parameters={"last_day": LAST_DAY, "days": "{{ params.days }}"},
        dataset_path=f"file://{DATASETS}/{{{{ run_id | replace(':', '') | replace('+', '_') }}}}",
    )
    # A read may be trusted at once: the simulator shows every grant at once.
    import_badges = BadgeImportOperator(task_id="import_badges", dataset=extract.output, verify_after=0)
    # Where the import is no success, neither is the report, and with it the run.
    BadgeErrorReportOperator(task_id="report", job=import_badges.output, trigger_rule="all_done")
