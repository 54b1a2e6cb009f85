"""### Take back what an import granted

Give the id of the import's job, from the end of the task's log, from `summary.json` or from the report. The first run
is a dry run: it reports how many badges of which kind would be taken back. Run it again with *Dry run* off to do it.

Badges are taken back by the ids in the ledger. Rows of other imports are not touched, and a second run takes back
nothing more. A later import of the same rows finds them `already_accepted` and sends nothing, unless a run of this DAG
had *Import again* set.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from airflow_provider_capillary.operators.badge_revoke import BadgeRevokeOperator

JOB_ID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

with DAG(
    dag_id="undo_badges",
    description="Takes back the badges that one import granted; a dry run first",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params={
        "job": Param(type="string", pattern=JOB_ID, title="Job", description="The id of the import's job."),
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only count. Take nothing back."),
        "import_again": Param(
            False,
            type="boolean",
            title="Import again",
            description="Let a later import grant the revoked rows again.",
        ),
        "connection": Param(
            "capillary_default",
            type="string",
            minLength=1,
            title="Connection",
            description="To Capillary, as the import had it.",
        ),
        "ledger": Param(
            None,
            type=["null", "string"],
            title="Ledger",
            description="Connection of the import's ledger. Empty: that of [capillary] ledger_conn_id.",
        ),
    },
    # so that an empty field arrives as None, not as text
    render_template_as_native_obj=True,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    undo = BadgeRevokeOperator(
        task_id="undo",
        job="{{ params.job }}",
        dry_run="{{ params.dry_run }}",
        import_again="{{ params.import_again }}",
        capillary_conn_id="{{ params.connection }}",
        ledger_conn_id="{{ params.ledger }}",
    )
