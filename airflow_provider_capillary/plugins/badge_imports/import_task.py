"""What the DAG of a job says of the task that imported: which connection it sends through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow.models.serialized_dag import SerializedDagModel

from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook


def tasks_of(dag: Mapping[str, Any] | str | None) -> Iterator[Mapping[str, Any]]:
    """The tasks of a serialized DAG, each with its arguments; those of a mapped one beside the mapped ones."""
    read: Mapping[str, Any] = json.loads(dag) if isinstance(dag, str) else dag or {}
    for task in (read.get("dag") or {}).get("tasks", ()):
        values = task.get("__var", task)
        partial = values.get("partial_kwargs") or {}
        yield {**values, **partial.get("__var", partial)}


def connection_of(dag_id: str, task_id: str) -> str | None:
    """The connection through which a task imports; ``None`` where the DAG is gone, or a template names it."""
    found = SerializedDagModel.get(dag_id)
    for task in tasks_of(found.data if found else None):
        if task.get("task_id") == task_id:
            name = task.get("capillary_conn_id", CapillaryBadgeHook.default_conn_name)
            return name if isinstance(name, str) and "{{" not in name else None
    return None
