"""### Yesterday's badges, from the warehouse to Capillary

Every night at 02:00 UTC: ask the warehouse who earned which badge yesterday, import the answer, write a report of what
was not accepted. No badge is granted twice, whether you retry, clear or backfill this DAG.

**Before the first run**

1. Connection `warehouse`: any SQL database that Airflow knows. The query is `sql/earned_badges.sql`.
2. Connection `capillary_default` of the type *Capillary*: cluster URL, till id and till password. Use *Test* there.
3. Where tasks run on more than one machine: set Variable `badge_dataset_path` to a place that all of them reach
   (`s3://my_aws@my-bucket/badges`), and the option `[capillary] ledger_conn_id` to a PostgreSQL connection.
   What was extracted stays there, a folder for each run; delete it when you no longer want to retry that run.

**Other days**: trigger it with `date_from` (that day included) and `date_to` (that day excluded). Rows that were
accepted before are not sent again, so that a range may overlap what is done.

**When it fails**: the message of `import_badges` names the counts and the top reasons. `report` has written
`errors.csv` all the same. Correct the rows there and import that file, or clear `import_badges`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

# A run triggered by hand may have no data interval: then it does what last night's run did.
DATE_FROM = (
    "{{ params.date_from or (dag_run.data_interval_start | ds if dag_run.data_interval_start"
    " else macros.ds_add(dag_run.run_after | ds, -1)) }}"
)
DATE_TO = (
    "{{ params.date_to or (dag_run.data_interval_end | ds if dag_run.data_interval_end else dag_run.run_after | ds) }}"
)
LOCAL_PATH = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "capillary" / "datasets"
# A folder for each run: a retry or a clear of an old run must find what that run extracted.
RUN = "{{ dag.dag_id }}/{{ run_id | replace(':', '') | replace('+', '_') }}"
DATASET_PATH = f"{{{{ var.value.get('badge_dataset_path', 'file://{LOCAL_PATH}') }}}}/{RUN}"

with DAG(
    dag_id="nightly_badge_sync",
    # A plain cron string would give an interval of no length, and with it a query that finds nothing.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params={
        "date_from": Param(
            None, type=["null", "string"], format="date", title="From", description="First day. Default: the run's day."
        ),
        "date_to": Param(
            None, type=["null", "string"], format="date", title="To", description="The day after the last one."
        ),
    },
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=15),
    },
):
    extract = SqlToBadgeDatasetOperator(
        task_id="extract",
        conn_id="warehouse",
        sql="sql/earned_badges.sql",
        parameters={"date_from": DATE_FROM, "date_to": DATE_TO},
        dataset_path=DATASET_PATH,
    )
    import_badges = BadgeImportOperator(task_id="import_badges", dataset=extract.output)
    report = BadgeErrorReportOperator(task_id="report", job=import_badges.output, trigger_rule="all_done")
    # The report ends well even where the import failed. This second leaf does not, and so the run is not green;
    # it also tells other DAGs (schedule=[Asset("capillary://badges")]) that the badges are there.
    badges_synced = EmptyOperator(task_id="badges_synced", outlets=[Asset("capillary://badges")])

    import_badges >> [report, badges_synced]
