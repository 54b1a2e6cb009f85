"""Mapped imports of a few rows each: sixteen of them, and one; and a seed of the same rows."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.operators.badge_seed import BadgeSeedOperator

BADGE = "654e08f2041fd452b3ef5b2e"


def rows_of(part: int) -> list[dict[str, object]]:
    """Two rows that no other part has."""
    dates = {"earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}
    return [{"badgeMetaId": BADGE, "customerId": 7_700_000 + 2 * part + row, **dates} for row in (0, 1)]


with DAG("witnessed_seed", schedule=None):
    BadgeSeedOperator(
        task_id="seed",
        dataset=[row for part in range(16) for row in rows_of(part)],
        ledger_conn_id="witnessed_ledger",
    )

for dag_id, parts in (("witnessed", 16), ("witnessed_again", 1)):
    with DAG(dag_id, schedule=None, default_args={"retries": 1, "retry_delay": timedelta(0)}):
        BadgeImportOperator.partial(task_id="import_badges", canary=False, ledger_conn_id="witnessed_ledger").expand(
            dataset=[rows_of(part) for part in range(parts)]
        )
