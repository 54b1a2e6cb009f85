"""A running task and its job: what the task's arguments stand for, and what it leaves in XCom where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.ledger.facts import JobScope

if TYPE_CHECKING:
    from airflow.sdk import Context


def connected(conn_id: str) -> CapillaryBadgeHook:
    """The hook, its connection looked up and checked.

    :raises ConfigurationError: there is no such connection, or a field of it is wrong.
    """
    hook = CapillaryBadgeHook(conn_id)
    try:
        hook.get_conn()
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"there is no connection {conn_id!r}: create it, or correct capillary_conn_id"
        ) from error
    return hook


def refuse_text_of_something_else(dataset: Any) -> None:
    """Templates render to text: one without a value to ``None``, one of a dict to what Python prints of it.

    :raises ConfigurationError: ``dataset`` is such a text, or ``None``.
    """
    if dataset is None or (isinstance(dataset, str) and dataset.strip() in ("", "None")):
        raise ConfigurationError("dataset is None: the task that was to give it returned nothing")
    if isinstance(dataset, str) and dataset.lstrip()[:1] in ("{", "["):
        raise ConfigurationError(
            "dataset is the text of a dict or a list. Give the value itself, such as dataset=extract.output, "
            "or set render_template_as_native_obj=True"
        )


def scope_of(context: Context) -> JobScope:
    """The task instance that a job belongs to: its retries go on with the job."""
    ti = context["ti"]
    return JobScope(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=getattr(ti, "map_index", -1),
        max_tries=ti.max_tries,
    )


def whose_word(context: Context) -> str:
    """The task and its run, by which the ledger keeps who settled, revoked or seeded rows."""
    ti = context["ti"]
    return f"dag {ti.dag_id}, run {ti.run_id}, task {ti.task_id}"


def push_result(context: Context, result: Mapping[str, Any]) -> None:
    """Keep as the task's return value what it cannot return, because it is about to fail or to be skipped."""
    if (push := getattr(context.get("ti"), "xcom_push", None)) is not None:
        push(key="return_value", value=dict(result))
