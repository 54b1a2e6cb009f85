"""What the operators share while a task runs: its hook, its job's scope, its name, and its result in XCom."""

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
    """Make the hook, and look up and check its connection.

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
    """Refuse text that a template made of no value (``None``), or of a dict or list (what Python prints).

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
    """The task instance that a job belongs to. Its retries go on with the job."""
    ti = context["ti"]
    return JobScope(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=getattr(ti, "map_index", -1),
        max_tries=ti.max_tries,
    )


def whose_word(context: Context) -> str:
    """The task and its run, as the ledger records who settled, revoked or seeded rows."""
    ti = context["ti"]
    return f"dag {ti.dag_id}, run {ti.run_id}, task {ti.task_id}"


def push_result(context: Context, result: Mapping[str, Any]) -> None:
    """Push the result to XCom, because a task that fails or is skipped returns nothing."""
    if (push := getattr(context.get("ti"), "xcom_push", None)) is not None:
        push(key="return_value", value=dict(result))
