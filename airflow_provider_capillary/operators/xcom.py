"""XCom of a task that fails: Airflow keeps none, and what was done is wanted nevertheless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


def push_result(context: Context, result: Mapping[str, Any]) -> None:
    """Keep as the task's return value what it cannot return, because it is about to fail or to be skipped."""
    if (push := getattr(context.get("ti"), "xcom_push", None)) is not None:
        push(key="return_value", value=dict(result))
