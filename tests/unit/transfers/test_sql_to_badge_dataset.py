"""Building the extract operator does nothing, so that parsing a Dag file stays cheap and templates stay templates."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

TEMPLATES: dict[str, Any] = {
    "sql": "{{ params.sql }}",
    "conn_id": "{{ params.conn_id }}",
    "dataset_path": "file:///{{ ds_nodash }}",
    "partitions": "{{ params.partitions }}",
    "parameters": {"day": "{{ ds }}"},
    "partition_by": "{{ params.column }}",
}


def test_templated_arguments_are_assigned_as_they_are() -> None:
    operator = SqlToBadgeDatasetOperator(task_id="extract", **TEMPLATES)
    assert set(operator.template_fields) == set(TEMPLATES)
    assert {name: getattr(operator, name) for name in TEMPLATES} == TEMPLATES


def test_sql_files_are_templates_and_shown_as_sql() -> None:
    assert SqlToBadgeDatasetOperator.template_ext == (".sql",)
    assert SqlToBadgeDatasetOperator.template_fields_renderers["sql"] == "sql"


@pytest.mark.parametrize("wrong", [{"partitions": 0}, {"partitions": "many"}, {"partitions": 257}, {"fetch_size": 0}])
def test_wrong_numbers_are_refused_before_any_connection_is_looked_up(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"sql": "SELECT 1", "conn_id": "there_is_none", "dataset_path": "/none", **wrong}
    operator = SqlToBadgeDatasetOperator(task_id="extract", **arguments)
    with pytest.raises(BadgeTaskFailed, match=f"{next(iter(wrong))} is .* whole number from 1 to"):
        operator.execute({})
