"""The installed package as Airflow discovers it: provider, connection form, configuration, samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.get_provider_info import get_provider_info
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from dev import airflow_home

DISCOVER = """
import json, sys, warnings
from airflow.providers_manager import ProvidersManager
from airflow.configuration import conf
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

warnings.filterwarnings("error", module="airflow_provider_capillary")
OPTIONS = ("ledger_conn_id", "report_path", "default_batch_size")
manager = ProvidersManager()
provider = manager.providers["airflow-provider-capillary"]
manager.initialize_providers_configuration()
hook = manager.hooks["capillary"]
[form] = [one.model_dump(mode="json") for one in HookMetaService.hook_meta_data() if one.connection_type == "capillary"]
print(json.dumps({
    "name": provider.data["name"],
    "version": provider.version,
    "hook": [hook.hook_class_name, hook.hook_name, hook.connection_testable],
    "form": form,
    "options": {name: conf.get("capillary", name, fallback=None) for name in OPTIONS},
    "imported": sorted(name for name in sys.modules if name.startswith("airflow_provider_capillary.operators")),
}))
"""


@pytest.fixture(scope="module")
def discovered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an Airflow without a database finds, in a process of its own; a warning of ours would be an error."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-c", DISCOVER],
        env=airflow_home.environment(home, home / "none.db", "http://127.0.0.1:9", home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5_000:]
    assert "airflow_provider_capillary" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_airflow_lists_the_provider_with_its_version(discovered: dict[str, Any]) -> None:
    from airflow_provider_capillary import __version__

    assert (discovered["name"], discovered["version"]) == ("Capillary", __version__)


def test_the_connection_form_is_made_of_metadata_alone(discovered: dict[str, Any]) -> None:
    """Labels, defaults and the rest, as the API server serves them, are in test_connection_form.py."""
    [declared] = get_provider_info()["connection-types"]
    assert discovered["form"]["hook_name"] == "Capillary"
    assert list(discovered["form"]["extra_fields"]) == list(declared["conn-fields"])
    for method in ("get_connection_form_widgets", "get_ui_field_behaviour"):
        assert method not in CapillaryBadgeHook.__dict__


def test_airflow_finds_the_hook_and_tests_connections(discovered: dict[str, Any]) -> None:
    assert discovered["hook"] == ["airflow_provider_capillary.hooks.capillary.CapillaryBadgeHook", "Capillary", True]


def test_the_configuration_section_has_options_and_defaults(discovered: dict[str, Any]) -> None:
    options = discovered["options"]
    assert options["default_batch_size"] == "500"
    assert not options["ledger_conn_id"]
    assert options["report_path"].startswith("file://")  # given by the environment


def test_discovery_does_not_load_the_operators(discovered: dict[str, Any]) -> None:
    assert discovered["imported"] == []


def test_a_connection_of_the_type_gives_our_hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = (
        "from airflow.sdk import BaseHook;print(type(BaseHook.get_connection('capillary_default').get_hook()).__name__)"
    )
    env = airflow_home.environment(tmp_path, tmp_path / "none.db", "http://127.0.0.1:9", tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["CapillaryBadgeHook"], done.stderr[-3_000:]
