"""The built wheel in an environment of its own, which has nothing but what the wheel asks for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary import __version__

CHECKOUT = Path(__file__).parents[2]
LOOKS = Path(__file__).with_name("installed_package.py")
#: Modules that need what the core does not, and what that is. A user of theirs has it.
NEEDS_MORE = {
    "operators.telemetry.openlineage": {"airflow.providers.openlineage"},
    "simulator.pytest_plugin": {"pytest"},
}

pytestmark = pytest.mark.timeout(300)


def run(*command: str | Path, **more: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200, **more
    )
    assert done.returncode == 0, (command, done.stdout[-2_000:], done.stderr[-5_000:])
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment; versions are those with which these tests run."""
    uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=sysconfig.get_path("scripts"))
    if uv is None:
        pytest.skip("without uv this takes minutes")
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT)
    [wheel] = folder.glob("*.whl")
    pins = folder / "pins.txt"
    ours = "airflow-provider-capillary"
    versions = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items() if name != ours))
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "environment")
    found = folder / "environment" / "bin" / "python"
    options = ["--quiet", "--python", str(found), "--constraint", str(pins)]
    install = [uv, "pip", "install", *options, str(wheel)]
    # What is installed here was installed by uv, so its store has it, and no network is needed.
    if subprocess.run([*install, "--offline"], capture_output=True, check=False, timeout=200).returncode:
        online = subprocess.run(install, capture_output=True, text=True, check=False, timeout=200)
        if online.returncode:
            pytest.skip(f"uv cannot install here: {online.stderr.splitlines()[-1:]}")
    run(uv, "pip", "check", "--quiet", "--python", found)
    return found


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "True"}


@pytest.fixture(scope="module")
def looked(python: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    # Not from the checkout, and a copy: the folder of a script is where Python looks first.
    script = shutil.copy(LOOKS, elsewhere / "looks.py")
    reported: dict[str, Any] = json.loads(run(python, script, env=env, cwd=elsewhere).splitlines()[-1])
    return reported


def test_nothing_of_the_checkout_is_seen(looked: dict[str, Any], python: Path) -> None:
    assert Path(looked["file"]).is_relative_to(python.parents[1])
    assert looked["modules"] > 80


def test_every_module_imports_with_the_wheels_requirements(looked: dict[str, Any]) -> None:
    unexpected = {
        name: lack
        for name, lack in looked["missing"].items()
        if not any(
            name.startswith(f"airflow_provider_capillary.{part}") and lack in lacks
            for part, lacks in NEEDS_MORE.items()
        )
    }
    assert unexpected == {}


def test_every_entry_point_loads(looked: dict[str, Any]) -> None:
    assert set(looked["entry_points"]) >= {"apache_airflow_provider:provider_info", "pytest11:capillary_simulator"}
    assert all(looked["entry_points"].values())


def test_airflow_finds_and_loads_all_samples(looked: dict[str, Any], python: Path) -> None:
    samples = looked["samples"]
    if samples is None:
        pytest.skip("this Airflow does not look for samples in providers")
    assert samples["import_errors"] == {}
    files = {path.name for path in (CHECKOUT / "dags").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {name for name in samples["files"] if not name.endswith(".pyc")} == files
    assert "nightly_badge_sync" in samples["dags"]
    assert len(samples["dags"]) >= len(list((CHECKOUT / "dags").glob("*.py")))


def test_airflow_knows_the_provider(python: Path, env: dict[str, str]) -> None:
    command = ("providers", "get", "airflow-provider-capillary", "--full", "--output", "json")
    reported = run(python, "-m", "airflow", *command, env=env)
    [provider] = json.loads(reported[reported.index("[") :])
    assert (provider["name"], provider["package-name"]) == ("Capillary", "airflow-provider-capillary")
    assert importlib.metadata.version("airflow-provider-capillary") == __version__
