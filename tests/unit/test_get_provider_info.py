from __future__ import annotations

import importlib.util
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not worth a dependency
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not worth a dependency

from airflow_provider_capillary.client.client_settings import ATTRIBUTION_TYPES, AuthType, ImportMethod, TimestampFormat
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.get_provider_info import get_provider_info
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.hooks.connection import (
    KNOWN_EXTRAS,
    ConnectionFields,
    ConnectionSettings,
    connection_settings,
)

CHECKOUT = Path(__file__).parents[2]
INFO = get_provider_info()
[CONNECTION_TYPE] = INFO["connection-types"]
FIELDS: dict[str, Any] = CONNECTION_TYPE["conn-fields"]


def schema(name: str) -> dict[str, Any]:
    found = importlib.util.find_spec("airflow")
    assert found is not None
    # Several distributions share the folder, so the package may be found in more than one place.
    [path] = [path for place in found.submodule_search_locations or [] if (path := Path(place) / name).exists()]
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def test_airflow_accepts_it() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


@pytest.mark.parametrize("part", sorted(set(INFO) - {"package-name", "name", "description"}))
def test_every_part_satisfies_the_stricter_schema(part: str) -> None:
    strict = schema("provider.yaml.schema.json")
    jsonschema.validate(INFO[part], {**strict["properties"][part], "definitions": strict.get("definitions", {})})


def test_the_stricter_schema_would_notice_a_wrong_field() -> None:
    strict = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    wrong = [{**CONNECTION_TYPE, "conn-fields": {"timeout": {"title": "Timeout"}}}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, strict)


def test_it_is_plain_data() -> None:
    assert json.loads(json.dumps(INFO)) == INFO


def test_asking_imports_neither_airflow_nor_hook() -> None:
    code = (
        "import sys; from airflow_provider_capillary.get_provider_info import get_provider_info; get_provider_info();"
        "sys.exit(any(name.split('.')[0] in ('airflow', 'requests', 'msgspec') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_hook_named_is_the_hook() -> None:
    assert CONNECTION_TYPE["hook-class-name"] == f"{CapillaryBadgeHook.__module__}.{CapillaryBadgeHook.__qualname__}"
    assert CONNECTION_TYPE["connection-type"] == CapillaryBadgeHook.conn_type
    assert CONNECTION_TYPE["hook-name"] == CapillaryBadgeHook.hook_name


def modules() -> Iterator[str]:
    for part in ("hooks", "operators"):
        for each in INFO[part]:
            yield from each["python-modules"]
    yield from (each["python-module"] for each in INFO["transfers"])


@pytest.mark.parametrize("module", list(modules()))
def test_every_module_named_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_every_object_named_is_there() -> None:
    named = [each["class-name"] for each in INFO.get("task-decorators", [])] + INFO.get("cli", [])
    assert all(callable(pkgutil.resolve_name(name)) for name in named)


def test_the_form_has_the_hooks_extras() -> None:
    assert sorted(FIELDS) == sorted(KNOWN_EXTRAS)


@pytest.mark.parametrize(
    ("field", "known"),
    [
        ("auth_type", AuthType),
        ("import_method", ImportMethod),
        ("timestamp_format", TimestampFormat),
        ("attribution_entity_type", ATTRIBUTION_TYPES),
    ],
)
def test_the_form_offers_what_the_hook_takes(field: str, known: Any) -> None:
    assert FIELDS[field]["schema"]["enum"] == [str(each) for each in known]


def test_the_form_begins_with_the_organisation() -> None:
    sections = [field["schema"]["section"] for field in FIELDS.values()]
    assert next(iter(FIELDS)) == "organisation"
    assert sections.count(sections[0]) == 1


def test_fields_of_one_section_stand_together() -> None:
    sections = [field["schema"].get("section") for field in FIELDS.values()]
    assert sections == sorted(sections, key=sections.index)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_named_and_explained(name: str) -> None:
    field = FIELDS[name]
    assert field["label"] != name
    assert field["description"].endswith(".")
    # The form adds the title from the label, and takes no key of the schema that it does not know.
    known = {"type", "enum", "values_display", "examples", "default", "minimum", "maximum", "maxLength", "section"}
    assert set(field["schema"]) <= known
    assert set(field["schema"].get("values_display", ())) <= set(field["schema"].get("enum", ()))


@pytest.mark.parametrize("name", FIELDS)
def test_the_form_can_be_saved_as_it_opens(name: str) -> None:
    """Airflow's form asks for a value where the type does not allow null."""
    schema = FIELDS[name]["schema"]
    assert ("null" in schema["type"]) == (schema.get("default") is None)


def saved(extra: dict[str, Any]) -> ConnectionSettings:
    place: Any = {"conn_id": "c", "host": "h.example", "login": "till", "password": "pw" * 16}
    return connection_settings(ConnectionFields(**place, extra=json.dumps(extra)))


UNTOUCHED: dict[str, Any] = {name: field["schema"].get("default") for name, field in FIELDS.items()}


def test_a_form_saved_unchanged_means_defaults() -> None:
    assert saved(UNTOUCHED) == saved({})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, field in FIELDS.items() for value in field["schema"].get("enum", ())]
)
def test_every_choice_of_the_form_is_taken(name: str, value: str) -> None:
    needed = {"auth_type": "oauth", "attribution_entity_code": "s1"} if name == "attribution_entity_type" else {}
    assert getattr(saved(UNTOUCHED | needed | {name: value}).client, name) == value


@pytest.mark.parametrize("name", ["timeout", "requests_per_minute"])
@pytest.mark.parametrize("limit", ["minimum", "maximum"])
def test_the_forms_limits_are_the_hooks(name: str, limit: str) -> None:
    value = FIELDS[name]["schema"][limit]
    found = saved(UNTOUCHED | {name: value})
    assert (found.client.timeout if name == "timeout" else found.requests_per_minute) == value


@pytest.mark.parametrize("name", ["timeout", "requests_per_minute"])
def test_the_hook_takes_only_what_the_form_offers(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        saved(UNTOUCHED | {name: FIELDS[name]["schema"]["maximum"] + 1})


def test_every_config_option_can_be_left_out() -> None:
    for option in INFO["config"]["capillary"]["options"].values():
        assert set(option) == {"description", "version_added", "type", "example", "default"}


def test_the_registry_s_file_names_what_there_is() -> None:
    listed = yaml.safe_load((CHECKOUT / ".airflow-registry.yaml").read_text("utf-8"))
    assert (listed["package-name"], listed["display-name"]) == (INFO["package-name"], INFO["name"])
    named = [each["module"] for part in ("operators", "other") for each in listed[part]]
    assert all(isinstance(pkgutil.resolve_name(name), type) for name in named)
    assert {name.rpartition(".")[0] for name in named} == set(modules())
    assert all(each["description"] for part in ("operators", "other") for each in listed[part])
