"""### A large night, in parts

The same as `nightly_badge_sync`, for nights that are too large for one worker. The result of the query is written in
four parts, each part is imported by a task of its own, and one report covers all of them.

- **Order**: all rows of a customer are in the same part, so a customer's badges are granted in their order.
- **Failures**: a part that fails does not stop the others. Clear the failed index alone. Its rows that were accepted
  are not sent again. `max_rejected` and `max_unknown` apply to each part alone.
- **Speed**: mostly the API is the limit, not the worker. Set `requests_per_minute` in the connection: all parts share
  that budget. Parts help if reading and checking rows is the limit, or if you want to clear a part alone.
- **Other DAGs** can wait for the report: `schedule=[Asset("capillary://eu.api.capillarytech.com/badges")]`. One event
  comes for all parts, also after a failed import. Its *extra* has the counts and says whether it `succeeded`.

**Before the first run**: the connections of `nightly_badge_sync`, and a pool, which limits how many tasks import at
the same time over all DAGs: `airflow pools set capillary_api 2 "imports into Capillary"`. With more than one machine,
put the parts where all of them can read them (Variable `badge_dataset_path`), and the ledger into PostgreSQL.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

PARTS = 4
# A run that was triggered by hand may have no data interval: then it does what last night's run did.
DATE_FROM = "{{ (dag_run.data_interval_start or dag_run.run_after - macros.timedelta(days=1)) | ds }}"
DATE_TO = "{{ (dag_run.data_interval_end or dag_run.run_after) | ds }}"
CUSTOMERS_BADGES = Asset("capillary://eu.api.capillarytech.com/badges")
LOCAL_PATH = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "capillary" / "datasets"
# A folder for each run: a retry or a clear of an old run must find what that run extracted.
RUN = "{{ dag.dag_id }}/{{ run_id | replace(':', '') | replace('+', '_') }}"
DATASET_PATH = f"{{{{ var.value.get('badge_dataset_path', 'file://{LOCAL_PATH}') }}}}/{RUN}"

with DAG(
    dag_id="sharded_badge_sync",
    description="Last night's earned badges into Capillary, in parts, with one report",
    # A plain cron string would give an interval of no length, and with it a query that finds nothing.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    extract = SqlToBadgeDatasetOperator(
        task_id="extract",
        conn_id="warehouse",
        sql="sql/chosen_badges.sql",
        parameters={"date_from": DATE_FROM, "date_to": DATE_TO, "badges": ""},
        dataset_path=DATASET_PATH,
        partitions=PARTS,
    )
    import_badges = BadgeImportOperator.partial(
        task_id="import_badges",
        map_index_template="{{ task.dataset.rpartition('/')[2] }}",
        pool="capillary_api",
        max_active_tis_per_dagrun=2,
    ).expand(dataset=extract.output["parts"])
    # The outlet is here, because the mapped task would give an event for each part. The report does not fail with the
    # imports, because Airflow sends events of successful tasks only, and this event should come in any case.
    report = BadgeErrorReportOperator(
        task_id="report",
        job=import_badges.output,
        trigger_rule="all_done",
        outlets=[CUSTOMERS_BADGES],
        fail_with_import=False,
    )
    # Fails with the imports, so that the run is red if one of them is no success.
    badges_synced = EmptyOperator(task_id="badges_synced")

    import_badges >> [report, badges_synced]
