"""### Badges as soon as they are there

Two DAGs. `earned_badges_extract` is an example for a DAG that makes the rows, perhaps another team's. It writes a
dataset and gives an event of the asset `earned_badges`, whose *extra* has the dataset's URI.
`asset_triggered_badge_sync` has that asset as its schedule. It begins with the event and imports the dataset that the
event names.

- A run may have several events. All their datasets are imported, each once, the oldest first. If an event comes while
  another one waits for its run, Airflow leaves it to the run after that.
- An event without `dataset` in its extra fails the import before anything is sent. The message names the event's run.
- A retry reads the same events, and so the same datasets. Do not write another dataset to the same place.
- Clear a run that failed. The next run does not import its datasets.
- To start it without an event, give *Dataset* in the form.

To try it, unpause both and trigger `earned_badges_extract`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, Param, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

EARNED_BADGES = Asset("earned_badges")
CUSTOMERS_BADGES = Asset("capillary://eu.api.capillarytech.com/badges")
LOCAL_PATH = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "capillary" / "datasets"
RUN = "{{ dag.dag_id }}/{{ run_id | replace(':', '') | replace('+', '_') }}"
DATASET_PATH = f"{{{{ var.value.get('badge_dataset_path', 'file://{LOCAL_PATH}') }}}}/{RUN}"
# The day comes from the run, not from the clock, so that a retry or a clear extracts the same day.
DAY = "(params.day or macros.ds_add(dag_run.run_after | ds, -1))"
DAG_ARGUMENTS: dict[str, Any] = {
    "start_date": pendulum.datetime(2025, 1, 1, tz="UTC"),
    "catchup": False,
    "tags": ["capillary", "badges"],
    "doc_md": __doc__,
    "default_args": {"retries": 3, "retry_delay": timedelta(minutes=1)},
}

with DAG(
    dag_id="earned_badges_extract",
    description="Writes a dataset of earned badges, and gives an asset event",
    schedule=None,
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="The day to extract. Empty: the day before the run.",
        )
    },
    **DAG_ARGUMENTS,
):
    extract = SqlToBadgeDatasetOperator(
        task_id="extract",
        conn_id="warehouse",
        sql="sql/chosen_badges.sql",
        parameters={"date_from": f"{{{{ {DAY} }}}}", "date_to": f"{{{{ macros.ds_add({DAY}, 1) }}}}", "badges": ""},
        dataset_path=DATASET_PATH,
    )

    @task(outlets=[EARNED_BADGES])
    def announce(extracted: Any, **context: Any) -> None:
        """Put the dataset's URI into the event."""
        context["outlet_events"][EARNED_BADGES].extra = {"dataset": extracted["uri"], "rows": extracted["rows"]}

    announce(extract.output)

with DAG(
    dag_id="asset_triggered_badge_sync",
    description="Imports the datasets that other DAGs have announced",
    schedule=[EARNED_BADGES],
    params={"dataset": Param(None, type=["null", "string"], title="Dataset", description="URI, for a run by hand.")},
    **DAG_ARGUMENTS,
):
    # One import at a time, to keep the order of a customer's badges. With max_active_runs=1 instead, events that come
    # while a run is held back would wait for one more event.
    @task.capillary_badge_import(max_active_tis_per_dag=1)
    def import_badges(**context: Any) -> list[str]:
        """The datasets of the events that began this run, the oldest first."""
        if context["params"]["dataset"]:
            return [context["params"]["dataset"]]
        events = sorted(context["triggering_asset_events"][EARNED_BADGES], key=lambda event: event.timestamp)
        if not events:
            raise AirflowFailException("No event began this run. Give a dataset in the form to start it by hand.")
        datasets = [event.extra.get("dataset") for event in events]
        if not all(datasets):
            runs = ", ".join(str(event.source_run_id) for event in events if not event.extra.get("dataset"))
            raise AirflowFailException(f"An event names no dataset in its extra: that of the run {runs}")
        # a task that was cleared gives a second event with the same dataset
        return list(dict.fromkeys(datasets))

    imported = import_badges()
    report = BadgeErrorReportOperator(
        task_id="report", job=imported, trigger_rule="all_done", outlets=[CUSTOMERS_BADGES]
    )
