"""Which connection an import had, as the serialized DAG says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.plugins.badge_imports import dag_arguments


def serialized() -> dict[str, Any]:
    with DAG("shop", schedule=None) as dag:
        BadgeImportOperator(task_id="plain", dataset="a.csv")
        BadgeImportOperator(task_id="own", dataset="a.csv", capillary_conn_id="till_2", ledger_conn_id="ledger_2")
        BadgeImportOperator(task_id="by_form", dataset="a.csv", capillary_conn_id="{{ params.connection }}")
        BadgeImportOperator.partial(task_id="mapped", capillary_conn_id="till_3").expand(dataset=["a.csv", "b.csv"])
    found: dict[str, Any] = DagSerialization.to_dict(dag)
    return found


@pytest.mark.parametrize(
    ("task", "connection"),
    [("plain", "capillary_default"), ("own", "till_2"), ("by_form", None), ("mapped", "till_3"), ("gone", None)],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_the_connection_is_the_task_s_own(
    monkeypatch: pytest.MonkeyPatch, task: str, connection: str | None, as_text: bool
) -> None:
    data = serialized()

    class Stored:
        """What Airflow's database holds of the DAG."""

        def __init__(self) -> None:
            self.data = json.dumps(data) if as_text else data

    monkeypatch.setattr(SerializedDagModel, "get", lambda dag_id: Stored() if dag_id == "shop" else None)

    assert dag_arguments.connection_of("shop", task) == connection
    assert dag_arguments.connection_of("no such DAG", task) is None
