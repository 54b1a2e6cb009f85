"""What the operators that work on earlier jobs share: which jobs, whose word, which connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.operators.badge_error_report import job_ids_of

if TYPE_CHECKING:
    from airflow.sdk import Context


def jobs_of(job: Any) -> list[str]:
    """The ids of the jobs in what was given as ``job``; skips the task where no import began one."""
    job_ids, _ = job_ids_of(job)
    if not job_ids:
        raise AirflowSkipException("There is no job to work on: the import failed before it began one.")
    return job_ids


def whose_word(context: Context) -> str:
    """Who does it, for the ledger: the task and its run."""
    ti = context["ti"]
    return f"dag {ti.dag_id}, run {ti.run_id}, task {ti.task_id}"


def connected(conn_id: str) -> CapillaryBadgeHook:
    """The hook, its connection looked up and checked."""
    hook = CapillaryBadgeHook(conn_id)
    try:
        hook.get_conn()
    except AirflowNotFoundException as error:
        told = f"there is no connection {conn_id!r}: create it, or correct capillary_conn_id"
        raise ConfigurationError(told) from error
    return hook


def push_result(context: Context, result: Mapping[str, Any]) -> None:
    """A failed task returns nothing, and what was done is wanted nevertheless."""
    if (push := getattr(context["ti"], "xcom_push", None)) is not None:
        push(key="return_value", value=dict(result))
