"""What a user gets who installs the wheel: everything that is needed, and nothing that is not."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import trove_classifiers

import airflow_provider_capillary

CHECKOUT = Path(__file__).parents[2]
PACKAGE = "airflow_provider_capillary"
DOTFILES = {".airflow-registry.yaml", ".ci", ".dockerignore", ".env.example", ".gitignore"}


def build(folder: Path, *what: str) -> Path:
    """Build with the backend that `pip install` would call, without network; give the wheel."""
    command = [sys.executable, "-m", "build", *what, "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution, which lies beside it."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def metadata(unpacked: Path) -> Message:
    [path] = unpacked.glob("*.dist-info/METADATA")
    return Parser().parsestr(path.read_text("utf-8"))


def run_python(unpacked: Path, code: str) -> str:
    """Run ``code`` with the unpacked wheel in front of the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(unpacked), "PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(unpacked / "airflow")},
        cwd=unpacked,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_is_in_the_wheel(names: set[str]) -> None:
    sources = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / PACKAGE).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert sources <= names


def test_every_other_file_is_in_the_wheel(names: set[str]) -> None:
    """Migrations, templates, SQL, the marker of typed packages."""
    others = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / PACKAGE).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert f"{PACKAGE}/py.typed" in others
    assert others <= names


def test_samples_are_where_airflow_looks(names: set[str]) -> None:
    samples = {
        f"{PACKAGE}/example_dags/{path.relative_to(CHECKOUT / 'dags')}"
        for path in (CHECKOUT / "dags").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert f"{PACKAGE}/example_dags/nightly_badge_sync.py" in samples
    assert f"{PACKAGE}/example_dags/sql/earned_badges.sql" in samples
    assert samples == {name for name in names if name.startswith(f"{PACKAGE}/example_dags/")}


def test_nothing_but_the_package_is_in_the_wheel(names: set[str]) -> None:
    strangers = [
        name for name in names if not name.startswith((f"{PACKAGE}/", f"{PACKAGE}-", "airflow_provider_capillary-"))
    ]
    assert not strangers
    tools = re.compile(r"__pycache__|\.pyc$|/tests?/|/test_|/conftest\.py$|/benchmarks?/|/\.")
    assert not [name for name in names if tools.search(name)]


def test_both_ways_build_the_same_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    def contents(path: Path) -> dict[str, int]:
        with zipfile.ZipFile(path) as archive:
            return {each.filename: each.CRC for each in archive.infolist()}

    assert contents(build(tmp_path_factory.mktemp("direct"), "--wheel")) == contents(wheel)


def test_the_source_distribution_can_be_tested(wheel: Path) -> None:
    [path] = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt", "dags", "tests"} <= tops
    assert {top for top in tops if top.startswith(".")} <= DOTFILES


def test_metadata_says_what_interface_and_code_say(metadata: Message) -> None:
    assert metadata["Name"] == "airflow-provider-capillary"
    assert metadata["Version"] == airflow_provider_capillary.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    requirements = metadata.get_all("Requires-Dist") or []
    assert "apache-airflow<4,>=3.2" in requirements
    classifiers = metadata.get_all("Classifier") or []
    assert {"Framework :: Apache Airflow :: Provider", "Typing :: Typed"} <= set(classifiers)
    assert set(classifiers) <= trove_classifiers.classifiers


def test_every_entry_point_can_be_imported(unpacked: Path) -> None:
    [path] = unpacked.glob("*.dist-info/entry_points.txt")
    groups = configparser.ConfigParser()
    groups.read(path)
    assert {"apache_airflow_provider", "pytest11"} <= set(groups.sections())
    targets = [target for section in groups.sections() for target in groups[section].values()]
    code = f"import pkgutil; [pkgutil.resolve_name(name) for name in {targets!r}]; print('all found')"
    assert run_python(unpacked, code) == "all found"


def test_importing_the_package_loads_no_airflow(unpacked: Path) -> None:
    code = f"import {PACKAGE}, sys; print({PACKAGE}.__file__, 'airflow' in sys.modules)"
    assert run_python(unpacked, code) == f"{unpacked / PACKAGE / '__init__.py'} False"


def test_the_license_travels_with_the_wheel(unpacked: Path) -> None:
    [path] = unpacked.glob("*.dist-info/licenses/LICENSE")
    assert "Apache License" in path.read_text("utf-8")


def test_constraints_pin_every_version_and_name_no_place() -> None:
    lines = (CHECKOUT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 100
    assert not [line for line in pins if line.count("==") != 1 or set(line) & {"/", "@", " ", ":"}]
