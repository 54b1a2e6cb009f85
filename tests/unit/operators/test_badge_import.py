"""What holds of the import operator before any API is there: its signature, its templates, its refusals."""

from __future__ import annotations

import inspect
import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, BaseHook, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_capillary.decorators.badge_import import badge_import_task
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

REQUIRED = inspect.Parameter.empty
PARAMETERS = {
    "dataset": REQUIRED,
    "capillary_conn_id": "capillary_default",
    "ledger_conn_id": None,
    "field_mapping": None,
    "timezone": None,
    "batch_size": 500,
    "max_batch_bytes": 1_000_000,
    "concurrency": 4,
    "on_unknown": "verify",
    "on_duplicate": "skip",
    "once_per_customer": False,
    "verify_after": 60,
    "max_rejected": "5%",
    "max_unknown": 0,
    "canary": True,
    "check_badges": True,
    "dry_run": False,
    "dataset_format": None,
    "csv_delimiter": None,
    "timestamp_unit": "s",
    "on_empty": "succeed",
    "allow_cut_end": False,
}
TEMPLATED = (
    "dataset",
    "capillary_conn_id",
    "ledger_conn_id",
    "field_mapping",
    "timezone",
    "batch_size",
    "on_unknown",
    "on_duplicate",
    "max_rejected",
    "max_unknown",
    "dry_run",
    "dataset_format",
    "csv_delimiter",
    "timestamp_unit",
    "on_empty",
)


def context() -> Context:
    ids = {"dag_id": "nightly", "task_id": "import", "run_id": "r", "map_index": -1, "try_number": 1, "max_tries": 0}
    return cast(Context, {"ti": SimpleNamespace(**ids)})


@pytest.fixture
def no_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Connections, the network and files are out of reach; the home of Airflow is a path where nothing is."""

    def refuse(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"touched the world: {arguments}")

    monkeypatch.setattr(BaseHook, "get_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_parameters_and_defaults_are_those_promised() -> None:
    signature = inspect.signature(BadgeImportOperator)
    given = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert {name: given[name] for name in PARAMETERS} == PARAMETERS
    assert set(given) == {*PARAMETERS, "retry_policy"}  # Airflow's own; test_retry.py has its default


def test_each_parameter_is_kept_as_given() -> None:
    values = {name: object() for name in PARAMETERS}
    operator = BadgeImportOperator(task_id="import", **cast("dict[str, Any]", values))
    assert {name: getattr(operator, name) for name in PARAMETERS} == values


def test_exactly_the_promised_parameters_are_templates() -> None:
    assert tuple(BadgeImportOperator.template_fields) == TEMPLATED


def test_a_template_is_rendered_in_each_of_them() -> None:
    given: dict[str, Any] = dict.fromkeys(TEMPLATED, "{{ value }}") | {"field_mapping": {"customerId": "{{ value }}"}}
    operator = BadgeImportOperator(task_id="import", **given)
    operator.render_template_fields(cast(Context, {"value": "rendered"}))
    rendered = {name: getattr(operator, name) for name in TEMPLATED}
    assert rendered == dict.fromkeys(TEMPLATED, "rendered") | {"field_mapping": {"customerId": "rendered"}}


@pytest.mark.parametrize("kind", ["plain", "mapped"])
def test_building_the_operator_touches_nothing(no_world: Path, kind: str) -> None:
    with DAG("nightly", schedule=None):
        if kind == "plain":
            BadgeImportOperator(task_id="import", dataset="s3://nowhere@bucket/day", capillary_conn_id="missing")
        else:
            BadgeImportOperator.partial(task_id="import", ledger_conn_id="missing").expand(dataset=["/none.parquet"])


def test_the_world_out_of_reach_is_noticed(no_world: Path) -> None:
    operator = BadgeImportOperator(task_id="import", dataset=[])
    with pytest.raises(AssertionError, match="touched the world"):
        operator.execute(context())


def test_a_dag_with_the_operator_is_stored_and_shown() -> None:
    with DAG("nightly", schedule=None) as dag:
        BadgeImportOperator(task_id="import", dataset="file:///d.parquet", field_mapping={"customerId": "{{ c }}"})
        BadgeImportOperator.partial(task_id="mapped", max_rejected="1%").expand(dataset=["/a.parquet", "/b.parquet"])
    stored = json.loads(json.dumps(DagSerialization.serialize_dag(dag)))
    restored = DagSerialization.deserialize_dag(stored)
    task: Any = restored.get_task("import")
    assert (task.dataset, task.batch_size, task.max_rejected) == ("file:///d.parquet", 500, "5%")
    assert task.field_mapping == {"customerId": "{{ c }}"}
    assert restored.get_task("mapped").is_mapped


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dataset": None}, "dataset"),
        ({"dataset": "None"}, "dataset"),
        ({"dataset": ""}, "dataset"),
        ({"dataset": 7}, "dataset"),
        ({"dataset": "{'uri': 'file:///d', 'parts': ['file:///d/0.parquet'], 'rows': 1}"}, "dataset"),
        ({"batch_size": "many"}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_batch_bytes": 10}, "max_batch_bytes"),
        ({"concurrency": 0}, "concurrency"),
        ({"on_unknown": "resent"}, "on_unknown"),
        ({"on_duplicate": "ignore"}, "on_duplicate"),
        ({"verify_after": -1}, "verify_after"),
        ({"max_rejected": "5 percent"}, "max_rejected"),
        ({"max_rejected": 0.05}, "max_rejected"),
        ({"max_unknown": "-1"}, "max_unknown"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"dataset_format": "xlsx"}, "dataset_format is 'xlsx'; it may be 'parquet', 'arrow', 'csv', 'jsonl'"),
        ({"csv_delimiter": ", "}, "csv_delimiter is ', '"),
        ({"timestamp_unit": "us"}, "timestamp_unit"),
        ({"on_empty": "ignore"}, "on_empty is 'ignore'; it may be 'succeed', 'skip' or 'fail'"),
        ({"field_mapping": "customerId=id"}, "field_mapping"),
        ({"field_mapping": {"customerID": "id"}}, "customerID"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:40],
)
def test_a_wrong_templated_value_fails_without_retry(no_world: Path, arguments: dict[str, Any], named: str) -> None:
    templates: dict[str, Any] = {"dataset": []} | dict.fromkeys(arguments, "{{ value }}")
    operator = BadgeImportOperator(task_id="import", **templates)
    for name, value in arguments.items():  # as Airflow does when it renders templates
        setattr(operator, name, value)
    with pytest.raises(AirflowFailException, match=named) as failed:
        operator.execute(context())
    assert isinstance(failed.value, AirflowException)
    assert not no_world.exists()
    assert_for_people(str(failed.value))


#: Each with what the message must name.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": "many"}, "batch_size is 'many'; it may be a whole number from 1 to 10,000"),
    ({"batch_size": True}, "batch_size is True"),
    ({"batch_size": 2.5}, "batch_size is 2.5"),
    ({"max_batch_bytes": None}, "max_batch_bytes is None"),
    ({"concurrency": "four"}, "concurrency is 'four'; it may be a whole number from 1 to 64"),
    ({"verify_after": float("nan")}, "verify_after is nan; it may be a number from 0 to 86,400"),
    ({"on_unknown": "resent"}, "on_unknown is 'resent'; it may be 'hold', 'verify' or 'resend'"),
    ({"on_unknown": "[]"}, "on_unknown is '\\[\\]'; it may be"),
    ({"on_duplicate": 1}, "on_duplicate is 1; it may be 'skip', 'fail' or 'allow'"),
    ({"timestamp_unit": "us"}, "timestamp_unit is 'us'; it may be 's' or 'ms'"),
    ({"max_rejected": "many"}, "max_rejected is 'many'; it may be a number of rows"),
    ({"max_unknown": ""}, "max_unknown is ''; it may be"),
    ({"canary": "perhaps"}, "canary is 'perhaps'; it may be True or False"),
    ({"once_per_customer": 7}, "once_per_customer is 7; it may be True or False"),
    ({"dry_run": ""}, "dry_run is ''; it may be True or False"),
    ({"dry_run": "None"}, "dry_run is 'None'; it may be True or False"),
    ({"allow_cut_end": "yes"}, "allow_cut_end is 'yes'; it may be True or False"),
    ({"dataset_format": "xlsx"}, "dataset_format is 'xlsx'; it may be"),
    ({"csv_delimiter": "ab"}, "csv_delimiter is 'ab'; it may be"),
    ({"on_empty": "ignore"}, "on_empty is 'ignore'; it may be 'succeed', 'skip' or 'fail'"),
    ({"timezone": "Mars/Olympus"}, "timezone is 'Mars/Olympus'; it may be the IANA name"),
    ({"timezone": 2}, "timezone is 2; it may be the IANA name"),
    ({"field_mapping": "customerId=id"}, "field_mapping is 'customerId=id'; it may be a dict"),
    ({"field_mapping": ""}, "field_mapping is ''; it may be a dict"),
    ({"field_mapping": "[]"}, "field_mapping is '\\[\\]'; it may be a dict"),
    ({"field_mapping": {"customerId": 5}}, "field_mapping is {'customerId': 5}; it may be a dict"),
    ({"field_mapping": {"customer": "id"}}, "unknown field"),
]  # fmt: skip
NAMES = [f"{name}={value!r}" for arguments, _ in WRONG for name, value in arguments.items()]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=NAMES)
@pytest.mark.parametrize("kind", ["operator", "mapped", "decorator"])
def test_a_wrong_known_value_fails_while_parsing(arguments: dict[str, Any], message: str, kind: str) -> None:
    def build() -> None:
        if kind == "operator":
            BadgeImportOperator(task_id="import", dataset="{{ dataset }}", **arguments)
        elif kind == "mapped":
            BadgeImportOperator.partial(task_id="import", **arguments)
        else:
            badge_import_task(**arguments)(no_rows)()

    with DAG("nightly", schedule=None), pytest.raises(AirflowFailException, match=message) as failed:
        build()
    assert_for_people(str(failed.value))


def no_rows() -> list[Any]:
    return []


def assert_for_people(message: str) -> None:
    """Nothing of a library's own language."""
    assert not re.search(r"\$|Invalid enum|Expected `|msgspec|validation", message), message


@pytest.mark.parametrize("name", sorted(set(TEMPLATED) - {"dataset", "field_mapping"}))
@pytest.mark.parametrize("template", ["{{ params.value }}", "{% if a %}hold{% endif %}", "a{{ b }}"])
def test_a_template_is_never_refused_while_parsing(name: str, template: str) -> None:
    operator = BadgeImportOperator(task_id="import", **{"dataset": [], name: template})  # type: ignore[arg-type]
    assert getattr(operator, name) == template


def test_another_tasks_output_is_never_refused_while_parsing() -> None:
    with DAG("nightly", schedule=None):
        first = BadgeImportOperator(task_id="first", dataset=[])
        second = BadgeImportOperator(
            task_id="second",
            dataset=[],
            batch_size=first.output,  # type: ignore[arg-type] # Airflow renders it as it does templates
            field_mapping={"customerId": first.output},  # type: ignore[dict-item]
        )
    assert second.upstream_task_ids == {"first"}


@pytest.mark.parametrize("nothing", ["", "None", " ", None])
def test_an_empty_template_is_a_missing_value(nothing: Any) -> None:
    given = ("timezone", "batch_size", "on_unknown", "on_duplicate", "timestamp_unit")
    assert import_settings(**dict.fromkeys(given, nothing)) == import_settings()


def test_a_field_mapping_may_be_json_text() -> None:
    assert import_settings(field_mapping='{"customerId": "id"}').field_mapping == {"customerId": "id"}


def test_a_wrong_configured_batch_size_names_the_option(monkeypatch: pytest.MonkeyPatch, no_world: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CAPILLARY__DEFAULT_BATCH_SIZE", "many")
    with pytest.raises(AirflowFailException, match="default_batch_size"):
        BadgeImportOperator(task_id="import", dataset=[]).execute(context())


def test_a_missing_connection_is_named_without_retry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    operator = BadgeImportOperator(task_id="import", dataset=[], capillary_conn_id="nowhere")
    with pytest.raises(AirflowFailException, match=r"no connection 'nowhere'.*capillary_conn_id"):
        operator.execute(context())
    assert not (tmp_path / "home").exists()


def test_a_kill_before_the_start_is_harmless() -> None:
    BadgeImportOperator(task_id="import", dataset=[]).on_kill()


def test_later_mapped_arguments_are_left_alone() -> None:
    with DAG(dag_id="mapped", schedule=None):
        templates = {name: "{{ params.value }}" for name in ("batch_size", "on_unknown", "timezone", "dataset_format")}
        mapped: Any = BadgeImportOperator.partial(task_id="import_badges", retries=2, **templates)
        assert mapped.expand(dataset=["a.csv", "b.csv"]).partial_kwargs["on_unknown"] == "{{ params.value }}"
