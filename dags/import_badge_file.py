"""### Import one file

Give the path or URI of a file of earned badges: a Parquet, CSV or JSON Lines file, on a disk that the workers can read
or on any storage that Airflow knows. Use it to import a corrected `errors.csv`:

1. Download it from the page *Badge imports*, and correct the rows in place. In a spreadsheet, open all columns as text.
2. Put it where the workers can read it, and trigger this DAG with its URI, such as
   `file:///home/ada/Downloads/errors.csv` or `s3://my_aws@my-bucket/errors.csv`.

Rows that were accepted before are not sent again. A row that is refused once more turns the run red, after all others
were sent. *Dry run* checks every row, and sends nothing.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

with DAG(
    dag_id="import_badge_file",
    description="Imports one file of earned badges, such as a corrected errors.csv",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params={
        "file": Param(
            type="string",
            minLength=1,
            title="File",
            description="file:///path/errors.csv, s3://connection@bucket/key, or the path of a file on the worker.",
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Check every row, send nothing."),
        "timezone": Param(
            None,
            type=["null", "string"],
            title="Time zone",
            description="Of times without an offset, such as Asia/Kolkata. Empty: such rows are invalid.",
        ),
    },
    # so that an empty field arrives as None, not as text
    render_template_as_native_obj=True,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    import_badges = BadgeImportOperator(
        task_id="import_badges",
        dataset="{{ params.file }}",
        timezone="{{ params.timezone }}",
        dry_run="{{ params.dry_run }}",
        # A row that is refused once more turns the run red, after all others were sent.
        max_rejected=0,
    )
    BadgeErrorReportOperator(task_id="report", job=import_badges.output, trigger_rule="all_done")
