"""### A long range of days, once

For the history before the first night, or after a rule has changed. Give the first day and the day after the last one,
or neither for the seven days up to yesterday. The warehouse is queried month by month (`days_per_query`), side by side.
All rows together are **one** import: one budget, one report, the badges of each customer in the order in which they
were earned.

**Or Airflow's own backfill?** For some missed or corrected *nights* it is better: *Trigger > Backfill* of
`nightly_badge_sync` makes a run for each day, which can be retried and cleared alone. It is slower, because each run
has its own start and its own canary batches, and its runs end in any order. Use this DAG for years, for a range that is
not a number of whole nights, or if the order of a customer's badges matters over days.

Both may overlap earlier imports, because rows that were accepted are not sent again.

**First** try it with *Dry run*: every row is validated, nothing is sent. A large import can be undone with
`BadgeRevokeOperator`, but customers will have seen the badges.
"""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, Param, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

USUAL_RANGE = timedelta(days=7)
MOST_QUERIES = 500  # Airflow maps over 1,024 values at most, unless it is configured otherwise
CUSTOMERS_BADGES = Asset("capillary://eu.api.capillarytech.com/badges")
LOCAL_PATH = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "capillary" / "datasets"
# A folder for each run and query: a retry or a clear of an old run must find what that run extracted.
RUN = "{{ dag.dag_id }}/{{ run_id | replace(':', '') | replace('+', '_') }}/{{ ti.map_index }}"
DATASET_PATH = f"{{{{ var.value.get('badge_dataset_path', 'file://{LOCAL_PATH}') }}}}/{RUN}"
FORM = {
    "date_from": Param(
        None,
        type=["null", "string"],
        format="date",
        title="From",
        description="The first day. Empty: seven days before To.",
    ),
    "date_to": Param(
        None,
        type=["null", "string"],
        format="date",
        title="To",
        description="The day after the last one. Empty: the day of the run, so that it ends with yesterday.",
    ),
    "days_per_query": Param(31, type="integer", minimum=1, maximum=366, title="Days in one query"),
    "max_rejected": Param(
        "1%",
        type="string",
        pattern=r"^\d+(\.\d+)?%?$",
        title="Rejected rows",
        description="A count or a share. Above it the import fails, after all is sent and recorded.",
    ),
    "dry_run": Param(True, type="boolean", title="Dry run", description="Validate every row, send nothing."),
}


@task
def divide(**context: Any) -> list[dict[str, str]]:
    """Divide the range into the days of each query, in order."""
    params = context["params"]
    # The run's day, not today: a retry or a clear of this run must query the same days.
    end = date.fromisoformat(params["date_to"] or f"{context['dag_run'].run_after:%Y-%m-%d}")
    day = date.fromisoformat(params["date_from"]) if params["date_from"] else end - USUAL_RANGE
    step = timedelta(days=params["days_per_query"])
    if not day < end <= day + MOST_QUERIES * step:
        raise AirflowFailException(
            f"From {day} to {end} are {(end - day).days} days, but at least 1 and at most {MOST_QUERIES * step.days} "
            "are allowed. The day in To is not part of the range. With more days in one query the range may be longer. "
            "Nothing was sent."
        )
    ranges = []
    while day < end:
        next_day = min(day + step, end)
        ranges.append({"date_from": day.isoformat(), "date_to": next_day.isoformat(), "badges": ""})
        day = next_day
    return ranges


with DAG(
    dag_id="backfill_badges",
    description="A long range of days as one import into Capillary",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params=FORM,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    extract = SqlToBadgeDatasetOperator.partial(
        task_id="extract",
        conn_id="warehouse",
        sql="sql/chosen_badges.sql",
        dataset_path=DATASET_PATH,
        map_index_template="{{ task.parameters['date_from'] }} to {{ task.parameters['date_to'] }}",
        max_active_tis_per_dagrun=4,
    ).expand(parameters=divide())
    # Not mapped: two months at the same time would grant a customer's later badge before the earlier one.
    import_badges = BadgeImportOperator(
        task_id="import_badges",
        dataset=extract.output,
        max_rejected="{{ params.max_rejected }}",
        dry_run="{{ params.dry_run }}",
    )
    report = BadgeErrorReportOperator(
        task_id="report", job=import_badges.output, trigger_rule="all_done", outlets=[CUSTOMERS_BADGES]
    )
