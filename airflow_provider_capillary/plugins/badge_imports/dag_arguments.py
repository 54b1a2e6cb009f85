"""Reads the arguments of tasks from serialized DAGs, to know which connection an import used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow.models.serialized_dag import SerializedDagModel

from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook


def tasks_of(dag: Mapping[str, Any] | str | None) -> Iterator[Mapping[str, Any]]:
    """The tasks of a serialized DAG, each with its arguments; a mapped task's partial arguments are merged in."""
    read: Mapping[str, Any] = json.loads(dag) if isinstance(dag, str) else dag or {}
    for task in (read.get("dag") or {}).get("tasks", ()):
        values = task.get("__var", task)
        partial = values.get("partial_kwargs") or {}
        yield {**values, **partial.get("__var", partial)}


def connection_of(dag_id: str, task_id: str) -> str | None:
    """The connection that a task imports with; ``None`` if the DAG is gone, or a template gives the connection."""
    found = SerializedDagModel.get(dag_id)
    for task in tasks_of(found.data if found else None):
        if task.get("task_id") == task_id:
            name = task.get("capillary_conn_id", CapillaryBadgeHook.default_conn_name)
            return name if isinstance(name, str) and "{{" not in name else None
    return None
