"""### Yesterday's badges, from the warehouse to Capillary

Every night at 02:00 UTC it queries the warehouse for the badges that customers earned yesterday, imports them, and
writes a report of the rows that were not accepted. No badge is granted twice if you retry, clear or backfill this DAG.

**Before the first run**

1. Connection `warehouse`: any SQL database that Airflow knows. The query is `sql/earned_badges.sql`.
2. Connection `capillary_default` of the type *Capillary*: cluster URL, till id and till password. Use *Test* there.
3. If tasks run on more than one machine: set Variable `badge_dataset_path` to a place that all of them can read
   (`s3://my_aws@my-bucket/badges`), and the option `[capillary] ledger_conn_id` to a PostgreSQL connection.
   Extracted rows stay there, in a folder for each run. Delete it when you no longer want to retry that run.

**By hand**: the form asks for days, badges, a dry run, and what to do with rows whose reply was lost. Without days it
does what last night's run did. Days may overlap earlier imports, because rows that were accepted are not sent again.
When you unpause this DAG (the form does so too), last night's run begins for real. While the DAG is paused, no run
starts. For a first dry run use `backfill_badges`.

For many single days use Airflow's *Backfill* instead. It makes a run for each, with the days of its data interval.

**DAGs that need the badges** can wait for the event of the asset in `report`. Its *extra* has the counts. After a
failed import there is no event, because Airflow sends events of successful tasks only. `sharded_badge_sync` shows how
to have one in any case. After a dry run there is none either.

**When it fails**: the log of `import_badges` ends with the counts, the reasons, and what to do. `report` writes
`errors.csv` even if the import was killed, and then fails too. Correct the rows there and import that file, or clear
`import_badges`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

ZONE = "UTC"  # of the schedule, and of the warehouse's days
CUSTOMERS_BADGES = Asset("capillary://eu.api.capillarytech.com/badges")
LOCAL_PATH = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "capillary" / "datasets"
# A folder for each run: a retry or a clear of an old run must find what that run extracted.
RUN = "{{ dag.dag_id }}/{{ run_id | replace(':', '') | replace('+', '_') }}"
DATASET_PATH = f"{{{{ var.value.get('badge_dataset_path', 'file://{LOCAL_PATH}') }}}}/{RUN}"
# The form's choices: ids of badges in Capillary, and their names.
BADGES = {
    "6774a1c0d3f5b2e8a9014c01": "First purchase",
    "6774a1c0d3f5b2e8a9014c02": "Third purchase",
    "6774a1c0d3f5b2e8a9014c03": "Tenth purchase",
    "6774a1c0d3f5b2e8a9014c04": "Big basket",
    "6774a1c0d3f5b2e8a9014c05": "100 dollars in all",
    "6774a1c0d3f5b2e8a9014c06": "Comeback",
}
FORM = {
    "date_from": Param(
        None,
        type=["null", "string"],
        format="date",
        title="First day",
        description="Empty: the first of the run's data interval, or yesterday.",
    ),
    "date_to": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Day after the last",
        description="Empty: the end of the run's data interval, or today.",
    ),
    "badges": Param(
        [],
        type=["null", "array"],
        items={"type": "string", "pattern": "^[0-9a-f]{24}$"},
        examples=list(BADGES),
        values_display=BADGES,
        title="Badges",
        description="None: all of them.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Check every row, send nothing. To unpause this DAG begins last night's run too, for real: take "
        "backfill_badges for a first dry run.",
    ),
    "on_unknown": Param(
        "verify",
        type="string",
        enum=["verify", "hold", "resend"],
        title="Rows without proof",
        description="verify: read back. hold: leave them, report them. resend: send again, may grant twice.",
    ),
}


@task
def choose(**context: Any) -> dict[str, str]:
    """Which days and badges: those of the form, else the run's data interval, else the day before the run."""
    params, dag_run = context["params"], context["dag_run"]
    # A run that was triggered by hand may have no data interval.
    began = dag_run.data_interval_start or dag_run.run_after - timedelta(days=1)
    ended = dag_run.data_interval_end or dag_run.run_after
    date_from, date_to = params["date_from"] or day_of(began), params["date_to"] or day_of(ended)
    if date_from >= date_to:
        raise AirflowFailException(
            f"The first day is {date_from}, and the day after the last is {date_to}. There is no day between them. "
            "Nothing was sent. Trigger the DAG again with a later end."
        )
    return {
        "date_from": date_from,
        "date_to": date_to,
        "badges": "".join(f",{badge}," for badge in params["badges"] or []),
    }


def day_of(instant: Any) -> str:
    """The day of an instant in the warehouse's time zone."""
    return f"{pendulum.instance(instant).in_timezone(ZONE):%Y-%m-%d}"


with DAG(
    dag_id="nightly_badge_sync",
    description="Last night's earned badges into Capillary",
    # A plain cron string would give an interval of no length, and with it a query that finds nothing.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone=ZONE),
    start_date=pendulum.datetime(2025, 1, 1, tz=ZONE),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params=FORM,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=15),
    },
):
    chosen: Any = choose()
    extract = SqlToBadgeDatasetOperator(
        task_id="extract",
        conn_id="warehouse",
        sql="sql/chosen_badges.sql",
        parameters=chosen,
        dataset_path=DATASET_PATH,
    )
    import_badges = BadgeImportOperator(
        task_id="import_badges",
        dataset=extract.output,
        dry_run="{{ params.dry_run }}",
        on_unknown="{{ params.on_unknown }}",
    )
    # It fails after the report is written if the import is no success, so that the run is red.
    report = BadgeErrorReportOperator(
        task_id="report", job=import_badges.output, trigger_rule="all_done", outlets=[CUSTOMERS_BADGES]
    )
