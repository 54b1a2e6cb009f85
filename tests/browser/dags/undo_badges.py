"""Undo an import whose job id a form asks for."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, Param

from airflow_provider_capillary.operators.badge_revoke import BadgeRevokeOperator

with DAG(
    dag_id="undo_badges",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    render_template_as_native_obj=True,
    params={
        "jobs": Param([], type="array", items={"type": "string"}, title="Jobs"),
        "dry_run": Param(True, type="boolean", title="Dry run"),
    },
):
    BadgeRevokeOperator(task_id="undo", job="{{ params.jobs }}", dry_run="{{ params.dry_run }}")
