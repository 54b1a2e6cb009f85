"""### Rows without proof: a person decides

A row is *unknown* if it was sent, and neither the reply nor a later read proves whether the badge was granted. An
import fails while it has such rows. Give its job id (from the message of the failed task, or from `summary.json`):

1. `verify` reads each of these badges back once more, and settles the rows that a read proves.
2. `ask` shows how many are left, and why, and waits for a person (*Required Actions* in Airflow). It uses no worker
   while it waits, and nothing is sent or decided. Airflow 3.3 loses an answer that comes within the first seconds, and
   asks again after `retry_delay`.
3. `settle` does what was chosen:
   - **Leave**: nothing changes. Ask Capillary first, and run this DAG again.
   - **Accept**: they *were* granted. The ledger has them as accepted from then on, and no import sends them again.
   - **Resend**: they were *not* granted. They are free, and the next import of these rows sends them: clear the failed
     task. If they were granted after all, customers get the badge twice.

The ledger records which run decided; Airflow records who answered (XCom of `ask`). Single rows can be decided with the
command `airflow capillary resolve`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, Param, task

from airflow_provider_capillary.operators.badge_reconcile import BadgeReconcileOperator

JOB_ID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
QUESTION = """
{% set found = ti.xcom_pull(task_ids='verify') -%}
Of {{ found.unknown_before }} unknown {{ 'row' if found.unknown_before == 1 else 'rows' }} reading back has settled
{{ found.accepted }} as granted and {{ found.resend }} as not granted.
**Left: {{ found.unknown }} {{ 'row' if found.unknown == 1 else 'rows' }} of {{ found.customers }}
{{ 'customer' if found.customers == 1 else 'customers' }}.**

Their customers and badges: *Browse > Badge imports*, the job, *Rows*; or by command.

| job | command |
|---|---|
{% for job in params.jobs -%}
| {{ job }} | `airflow capillary unknown {{ job }}` |
{% endfor %}

| rows | why |
|---|---|
{% for reason in found.reasons -%}
| {{ reason.rows }} | {{ reason.message | replace('|', '/') | e }} |
{% endfor %}
*Leave*: decide later. *Accept*: they were granted. *Resend*: they were not; the next import sends them.
"""

with DAG(
    dag_id="review_unknown_badges",
    description="A person decides about rows without proof",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params={
        "jobs": Param(
            [],
            type="array",
            items={"type": "string", "pattern": JOB_ID},
            minItems=1,
            title="Jobs",
            description="Ids of the imports whose unknown rows are to be reviewed, one a line.",
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
    # so that a list arrives as a list, and an empty field as None
    render_template_as_native_obj=True,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    verify = BadgeReconcileOperator(
        task_id="verify",
        job="{{ params.jobs }}",
        capillary_conn_id="{{ params.connection }}",
        ledger_conn_id="{{ params.ledger }}",
        max_unknown="100%",
    )

    @task.short_circuit
    def any_left(found: Any) -> bool:
        """Whether rows are left that a person must decide."""
        return bool(found["unknown"])

    ask = HITLOperator(
        task_id="ask",
        subject="Badges without proof: were they granted?",
        body=QUESTION,
        options=["Leave", "Accept", "Resend"],
    )
    settle = BadgeReconcileOperator(
        task_id="settle",
        job="{{ params.jobs }}",
        action="{{ ti.xcom_pull(task_ids='ask')['chosen_options'][0] }}",
        capillary_conn_id="{{ params.connection }}",
        ledger_conn_id="{{ params.ledger }}",
        max_unknown="100%",
    )

    any_left(verify.output) >> ask >> settle
