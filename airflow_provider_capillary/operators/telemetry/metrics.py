"""Counts imports in Airflow's own metrics, which go to StatsD, Datadog or OpenTelemetry, with Airflow's prefix.

===================================  =======  ====================================================================
name                                 kind     meaning
===================================  =======  ====================================================================
``capillary.rows.<state>``           counter  rows of a job that ended so: ``accepted``, ``already_accepted``,
                                              ``rejected``, ``invalid``, ``unknown``, ``not_sent``; counted once a
                                              job, by the try after which Airflow makes no other
``capillary.requests``               counter  import requests of a try
``capillary.import.duration``        timer    a try, from the first look at the dataset to the last outcome
===================================  =======  ====================================================================

Tags, where the backend has them: those of Airflow's own task metrics (``dag_id``, ``task_id``, ``team_name``). The
state is in the name, because StatsD without tags would add the states up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_provider_capillary.core.summary import FINAL_STATES, Summary
from airflow_provider_capillary.exceptions import CapillaryError, RetryableError
from airflow_provider_capillary.hooks.errors import errors_logged


@errors_logged
def count_import(ti: Any, summary: Summary, error: CapillaryError | None, seconds: float) -> None:
    """Count the rows and requests of an import, and record its duration.

    :param ti: the task instance. If it has no tags, its DAG id and task id are the tags.
    :param error: why the try failed, or ``None``.
    :param seconds: how long the try took.
    """
    from airflow.sdk.observability.stats import Stats

    tags = _tags(ti)
    if summary.requests:
        Stats.incr("capillary.requests", summary.requests, tags=tags)
    Stats.timing("capillary.import.duration", timedelta(seconds=seconds), tags=tags)
    if comes_again(ti, error):
        return  # the rows are counted after the next try, whose summary includes them
    for state in FINAL_STATES:
        if rows := getattr(summary, state.value):
            Stats.incr(f"capillary.rows.{state.value}", rows, tags=tags)


def comes_again(ti: Any, error: CapillaryError | None) -> bool:
    """Whether Airflow will try the task again, so that the job goes on."""
    return isinstance(error, RetryableError) and ti.try_number <= ti.max_tries


def _tags(ti: Any) -> dict[str, str]:
    # Airflow 3.2 and plain contexts have no tags of their own
    tags: dict[str, str] = getattr(ti, "stats_tags", None) or {"dag_id": ti.dag_id, "task_id": ti.task_id}
    return dict(tags)
