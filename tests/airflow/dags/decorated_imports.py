"""Functions as imports, retried and mapped, as Airflow runs them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_capillary.decorators.badge_import import badge_import_task

BADGE = "654e08f2041fd452b3ef5b2e"


def rows(first: int, count: int) -> list[dict[str, Any]]:
    dates = {"earn_event_date": "2025-01-15T12:00:00Z", "earn_expires_on": "2026-01-15T12:00:00Z"}
    return [{"badge_meta_id": BADGE, "customer_id": number, **dates} for number in range(first, first + count)]


with DAG("decorated_retry", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(0)}):

    @task.capillary_badge_import(
        on_unknown="{{ 'hold' if ti.try_number == 1 else 'verify' }}",
        max_unknown="100%",
        batch_size=10,
        verify_after=0,
        canary=False,
        concurrency=1,
    )
    def import_rows(count: str) -> list[dict[str, Any]]:
        return rows(9_000_000, int(count))

    import_rows("{{ 100 + 100 }}")

with DAG("decorated_parts", schedule=None, default_args={"retries": 0}):

    @badge_import_task(map_index_template="customers from {{ first }}", max_rejected=0)
    def import_part(first: int, count: int) -> list[dict[str, Any]]:
        return [row | {"note": "{{ 7 * 191 }}"} for row in rows(first, count)]

    import_part.override(task_id="import_parts").partial(count=3).expand(first=[9_000_000, -1, 9_000_100])
