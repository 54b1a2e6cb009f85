"""What holds of the decorator before anything is imported: its parameters, its templates, its refusals."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast, get_overloads

import pytest
from airflow.sdk import DAG, Context, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_capillary.decorators.badge_import import BadgeImportDecoratedOperator, badge_import_task
from airflow_provider_capillary.operators.airflow_installation import HAS_RETRY_POLICIES
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator


def keywords(function: Any) -> dict[str, Any]:
    """The types of its keyword arguments, by their names in order."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.annotation for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def a_list_of_rows() -> list[dict[str, Any]]:
    return []


def operator_of(function: Callable[..., Any], **arguments: Any) -> Any:
    with DAG("nightly", schedule=None):
        output: Any = badge_import_task(**arguments)(function)()
    return output.operator


def try_once(operator: Any) -> Any:
    ids = {"dag_id": "nightly", "task_id": "import", "run_id": "r", "map_index": -1, "try_number": 1, "max_tries": 0}
    return operator.execute(cast(Context, {"ti": SimpleNamespace(**ids)}))


def test_airflow_finds_it_under_its_name() -> None:
    assert task.capillary_badge_import is badge_import_task


def test_editors_see_the_operators_parameters() -> None:
    _, with_arguments = get_overloads(badge_import_task)
    wanted = keywords(BadgeImportOperator.__init__)
    del wanted["dataset"]
    assert list(keywords(with_arguments).items()) == list(wanted.items())


def test_every_parameter_reaches_the_operator() -> None:
    # What 3.2 has no use for is taken and left out; see airflow_installation.py.
    names = keywords(BadgeImportOperator.__init__).keys() - {"dataset"}
    names -= set() if HAS_RETRY_POLICIES else {"retry_policy"}
    given = {name: object() for name in names}
    operator = operator_of(a_list_of_rows, **given)
    assert {name: getattr(operator, name) for name in names} == given
    with DAG("nightly", schedule=None, default_args={"max_rejected": "1%", "retries": 7}):
        output: Any = badge_import_task(retries=2)(a_list_of_rows)()
    operator = output.operator
    assert (operator.max_rejected, operator.retries, operator.on_unknown) == ("1%", 2, "verify")


def test_templates_cover_arguments_but_no_result() -> None:
    expected = ["op_args", "op_kwargs", *BadgeImportOperator.template_fields]
    expected.remove("dataset")
    assert list(BadgeImportDecoratedOperator.template_fields) == expected
    operator = operator_of(a_list_of_rows, capillary_conn_id="{{ value }}", field_mapping={"customerId": "{{ value }}"})
    operator.render_template_fields(cast(Context, {"value": "rendered"}))
    assert (operator.capillary_conn_id, operator.field_mapping) == ("rendered", {"customerId": "rendered"})


@pytest.mark.parametrize("bare", [True, False])
def test_a_task_is_named_by_its_function(bare: bool) -> None:
    def import_badges() -> dict[str, Any]:
        """Yesterday's badges."""
        return {}

    with DAG("nightly", schedule=None):
        decorated = badge_import_task(import_badges) if bare else badge_import_task()(import_badges)
        output: Any = decorated()
    operator = output.operator
    assert (operator.task_id, operator.doc_md) == ("import_badges", "Yesterday's badges.")
    assert operator.multiple_outputs is False


def test_it_can_be_overridden_mapped_and_stored() -> None:
    def import_badges(uri: str, day: str) -> str:
        return uri + day

    with DAG("nightly", schedule=None) as dag:
        decorated = badge_import_task(max_rejected="1%")(import_badges)
        decorated.override(task_id="strict", max_rejected=0)("s3://lake/", "{{ ds }}")
        decorated.partial(day="{{ ds }}").expand(uri=["s3://a/", "s3://b/"])
        decorated.override(task_id="pairs", map_index_template="{{ uri }}").expand_kwargs([{"uri": "a", "day": "b"}])
    stored = DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))
    strict: Any = stored.get_task("strict")
    assert (strict.max_rejected, strict.batch_size) == (0, 500)
    assert stored.get_task("import_badges").is_mapped
    assert stored.get_task("pairs").is_mapped


@pytest.mark.parametrize("arguments", [{"dataset": []}, {"multiple_outputs": True}], ids=lambda one: next(iter(one)))
def test_an_ignored_argument_is_refused_while_parsing(arguments: dict[str, Any]) -> None:
    [name] = arguments
    with pytest.raises(TypeError, match=f"takes no {name}"):
        badge_import_task(**arguments)
    if name == "dataset":
        with DAG("nightly", schedule=None), pytest.raises(TypeError, match="takes no dataset"):
            badge_import_task(a_list_of_rows).override(**arguments)()


def test_an_async_function_is_refused_while_parsing() -> None:
    async def later() -> list[Any]:
        return []

    async def one_by_one() -> AsyncIterator[Any]:
        yield {}

    for function in (later, one_by_one):
        with DAG("nightly", schedule=None), pytest.raises(TypeError, match="async"):
            badge_import_task(retries=1)(function)()
        with pytest.raises(TypeError, match="async"):
            badge_import_task(function)


def generated() -> Iterator[dict[str, Any]]:
    yield {}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: None, "returned nothing.*empty list"),
        (generated, r"generated\(\) returned a generator.*list of dicts"),
        (lambda: map(dict, []), "returned a map, which can be read only once"),
        (lambda: "s3://lake/{{ ds }}.parquet", "not rendered as a template"),
        (lambda: {1, 2}, "cannot be a set"),
        (lambda: {"badge_meta_id": "one row, not in a list"}, "needs its 'parts'"),
        (lambda: "", "dataset"),
        (lambda: [{"badge_meta_id": 1}] * 10_001, "10001 rows; at most 10000.*give its URI"),
    ],
    ids=["None", "generator", "iterator", "template", "set", "one row", "no text", "too many rows"],
)
def test_what_is_no_dataset_says_what_to_return(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, function: Callable[[], Any], said: str
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    with pytest.raises(AirflowFailException, match=said):
        try_once(operator_of(function, task_id="import"))
    assert not (tmp_path / "home").exists()


def test_the_functions_own_error_is_retried() -> None:
    def unreachable() -> list[Any]:
        raise ConnectionError("the warehouse is down")

    with pytest.raises(ConnectionError, match="warehouse"):
        try_once(operator_of(unreachable))
