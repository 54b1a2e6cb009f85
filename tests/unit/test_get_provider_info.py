from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not worth a dependency
import pytest

from airflow_provider_capillary.client.settings import ATTRIBUTION_TYPES, AuthType, ImportMethod, TimestampFormat
from airflow_provider_capillary.get_provider_info import get_provider_info
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.hooks.connection import KNOWN_EXTRAS, ConnectionFields, connection_settings

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


@pytest.mark.parametrize("part", ["connection-types", "integrations", "hooks", "operators", "transfers", "config"])
def test_every_part_satisfies_the_stricter_schema_that_airflow_does_not_enforce(part: str) -> None:
    strict = schema("provider.yaml.schema.json")
    jsonschema.validate(INFO[part], {**strict["properties"][part], "definitions": strict.get("definitions", {})})


def test_the_stricter_schema_would_notice_a_wrong_field() -> None:
    strict = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    wrong = [{**CONNECTION_TYPE, "conn-fields": {"timeout": {"title": "Timeout"}}}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, strict)


def test_it_is_plain_data() -> None:
    assert json.loads(json.dumps(INFO)) == INFO


def test_asking_for_it_imports_neither_airflow_nor_the_hook() -> None:
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


def test_the_form_has_exactly_the_extras_that_the_hook_knows() -> None:
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


def test_a_form_saved_as_it_opens_means_the_defaults() -> None:
    untouched = {name: field["schema"].get("default") for name, field in FIELDS.items()}
    place = {"conn_id": "c", "host": "h.example", "login": "till", "password": "pw"}
    saved = connection_settings(ConnectionFields(**place, extra=json.dumps(untouched)))  # type: ignore[arg-type]
    assert saved == connection_settings(ConnectionFields(**place))  # type: ignore[arg-type]


def test_every_config_option_can_be_left_out() -> None:
    for option in INFO["config"]["capillary"]["options"].values():
        assert set(option) == {"description", "version_added", "type", "example", "default"}
