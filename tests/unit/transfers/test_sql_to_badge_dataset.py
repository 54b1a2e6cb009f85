"""Building the extract operator does nothing, so that parsing a Dag file stays cheap and templates stay templates."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.transfers.extract_output import ExtractedValueOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator, _Progress

TEMPLATES: dict[str, Any] = {
    "sql": "{{ params.sql }}",
    "conn_id": "{{ params.conn_id }}",
    "dataset_path": "file:///{{ ds_nodash }}",
    "partitions": "{{ params.partitions }}",
    "parameters": {"day": "{{ ds }}"},
    "partition_by": "{{ params.column }}",
    "hook_params": {"location": "{{ params.location }}"},
}


def test_templated_arguments_are_assigned_as_they_are() -> None:
    operator = SqlToBadgeDatasetOperator(task_id="extract", **TEMPLATES)
    assert set(operator.template_fields) == set(TEMPLATES)
    assert {name: getattr(operator, name) for name in TEMPLATES} == TEMPLATES


def test_sql_files_are_templates_and_shown_as_sql() -> None:
    assert SqlToBadgeDatasetOperator.template_ext == (".sql",)
    assert SqlToBadgeDatasetOperator.template_fields_renderers == {
        "sql": "sql",
        "parameters": "json",
        "hook_params": "json",
    }


def test_a_sql_file_is_rendered_with_parameters_bound(tmp_path: Path) -> None:
    (tmp_path / "earned.sql").write_text("SELECT * FROM earned_{{ ds_nodash }} WHERE day = %(day)s AND name = %(name)s")
    with DAG("nightly", schedule=None, template_searchpath=[str(tmp_path)]) as dag:
        operator = extract(sql="earned.sql", parameters={"day": "{{ ds }}", "name": "{{ name }}"}, partitions="{{ n }}")
    operator.resolve_template_files()
    context: Any = {"ds": "2026-01-31", "ds_nodash": "20260131", "name": "O'Neil'; DROP TABLE x", "n": 4}
    operator.render_template_fields(context, dag.get_template_env())
    assert operator.sql == "SELECT * FROM earned_20260131 WHERE day = %(day)s AND name = %(name)s"
    assert operator.parameters == {"day": "2026-01-31", "name": "O'Neil'; DROP TABLE x"}
    assert str(operator.partitions) == "4"


WRONG_WHEN_PARSED: list[tuple[str, Any, str]] = [
    ("sql", "", "sql is empty"),
    ("sql", " \n", "sql is empty"),
    ("sql", ["SELECT 1", "SELECT 2"], "sql is empty, or no text"),
    ("conn_id", None, "conn_id"),
    ("dataset_path", "badges/today", "dataset_path"),
    ("partitions", 0, "partitions is .* whole number from 1 to 1024"),
    ("partitions", "four", "partitions is 'four'; it must be a whole number"),
    ("partitions", 1_025, "partitions"),
    ("parameters", "{'day': 1}", "parameters is a text"),
    ("partition_by", ["customer_id"], "partition_by"),
    ("fetch_size", 0, "fetch_size is .* whole number from 1 to"),
    ("server_side_cursor", "no", "server_side_cursor"),
    ("hook_params", "location=EU", "hook_params"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG_WHEN_PARSED)
def test_a_wrong_extract_argument_fails_while_parsing(name: str, value: Any, words: str) -> None:
    with pytest.raises(BadgeTaskFailed, match=words):
        extract(**{name: value})
    with pytest.raises(BadgeTaskFailed, match=words):
        SqlToBadgeDatasetOperator.partial(task_id="extract", **{name: value})


@pytest.mark.parametrize("place", ["s3://lake@bucket", "file:///", "/", "", None, 7, "file://badges/today"])
def test_an_impossible_place_is_refused_while_parsing(place: Any) -> None:
    with pytest.raises(BadgeTaskFailed, match=r"dataset_path|top folder|three slashes"):
        extract(dataset_path=place)


def test_later_mapped_extract_arguments_are_left_alone() -> None:
    with DAG("nightly", schedule=None):
        given = {name: value for name, value in TEMPLATES.items() if name != "sql"}
        mapped: Any = SqlToBadgeDatasetOperator.partial(task_id="extract", retries=2, **given)
        assert mapped.expand(sql=["SELECT 1", "SELECT 2"]).partial_kwargs["partitions"] == TEMPLATES["partitions"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("conn_id", "None"), ("dataset_path", "None"), ("partitions", "None"), ("partitions", "many"), ("sql", "")],
)
def test_a_wrong_template_is_named_early(name: str, value: str) -> None:
    operator = extract(conn_id="there_is_none")
    setattr(operator, name, value)  # as Airflow renders it
    with pytest.raises(BadgeTaskFailed, match=name):
        operator.execute({})


def test_a_path_object_is_a_place(tmp_path: Path) -> None:
    assert extract(dataset_path=tmp_path / "out").dataset_path == str(tmp_path / "out")


def test_progress_is_logged_calmly() -> None:
    seconds, reported = iter([0.0, 1.0, 9.9, 10.0, 11.0, 19.0, 20.5]), []
    log = SimpleNamespace(info=lambda text, *values: reported.append(text % values))
    progress = _Progress(log, lambda: next(seconds))
    for rows in range(1_000_000, 7_000_000, 1_000_000):
        progress.log(rows)
    assert reported == ["3,000,000 rows so far, 300,000 rows/s", "6,000,000 rows so far, 292,683 rows/s"]


def extract(**arguments: Any) -> SqlToBadgeDatasetOperator:
    given: dict[str, Any] = {"sql": "SELECT 1", "conn_id": "c", "dataset_path": "/d"}
    return SqlToBadgeDatasetOperator(task_id="extract", **given | arguments)


def test_parts_are_mapped_by_a_small_task() -> None:
    with DAG("nightly", schedule=None) as dag:
        extracted = extract(partitions=2)
        for name in ("import", "import_again"):
            BadgeImportOperator.partial(task_id=name).expand(dataset=extracted.output["parts"])
    assert set(dag.task_ids) == {"extract", "extract_parts", "import", "import_again"}
    assert dag.get_task("extract_parts").upstream_task_ids == {"extract"}
    assert dag.get_task("import").upstream_task_ids == {"extract_parts"}
    restored = DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))
    assert restored.get_task("import").is_mapped


def test_the_small_task_stands_beside_its_extract() -> None:
    with DAG("nightly", schedule=None) as dag, TaskGroup("group"):
        extracted = extract()
    assert extracted.output["uri"] is not None
    assert set(dag.task_ids) == {"group.extract", "group.extract_uri"}
    assert dag.get_task("group.extract_uri").task_group is extracted.task_group


def test_the_output_is_as_airflow_has_it() -> None:
    with DAG("nightly", schedule=None) as dag:
        extracted = extract()
        BadgeImportOperator(task_id="import", dataset=extracted.output)
    assert str(extracted.output["another_key"]).count("key='another_key'") == 1
    assert dag.get_task("import").upstream_task_ids == {"extract"}
    assert set(dag.task_ids) == {"extract", "import"}


@pytest.mark.parametrize("value", ["uri", "parts", "rows", "columns"])
def test_the_small_task_returns_only_the_value(value: str) -> None:
    returned = {"uri": "file:///d", "parts": ["file:///d/0"], "rows": 7, "columns": ["a"]}
    assert ExtractedValueOperator(task_id="x", extracted=returned, value=value).execute({}) == returned[value]


@pytest.mark.parametrize("returned", [None, {"uri": "file:///d"}, "None"])
def test_the_small_task_refuses_other_values(returned: Any) -> None:
    with pytest.raises(BadgeTaskFailed, match="'parts'"):
        ExtractedValueOperator(task_id="x", extracted=returned, value="parts").execute({})
