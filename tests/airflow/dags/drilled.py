"""An import and a seed that a run's conf says all of: which rows, and on which ledger."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.operators.badge_seed import BadgeSeedOperator

DATASET, LEDGER = "{{ dag_run.conf['dataset'] }}", "{{ dag_run.conf['ledger'] }}"

with DAG("drilled", schedule=None, default_args={"retries": 2, "retry_delay": timedelta(0)}):
    # A read may be trusted at once: the simulator shows every grant at once.
    BadgeImportOperator(
        task_id="import_badges",
        dataset=DATASET,
        ledger_conn_id=LEDGER,
        batch_size=5,
        concurrency=1,
        canary=False,
        verify_after=0,
    )

with DAG("drilled_seed", schedule=None):
    BadgeSeedOperator(task_id="seed", dataset=DATASET, ledger_conn_id=LEDGER)
