"""Makes environments with another Airflow or Python, with pinned versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]
HOME = CHECKOUT / ".versions"
EVERYTHING = ("tests/unit", "tests/integration", "tests/airflow", "tests/end_to_end", "tests/browser")
_PROJECT = "pyproject.toml"
# Of Airflow, FastAPI and psycopg: each fits one version of its part, or a few.
_PARTS_OF_THOSE = ("apache-airflow-core==", "apache-airflow-task-sdk==", "starlette==", "psycopg-binary==")
_PIN = re.compile(r"(?P<name>[\w.-]+)==\S+")


class Environment(NamedTuple):
    """An Airflow on a Python, and the tests that are run there."""

    name: str
    python: str
    instead: tuple[str, ...] = ()  #: files of pins that take the place of lines in constraints.txt
    lowest: bool = False  #: with the lowest versions of what pyproject.toml names for users
    tests: tuple[str, ...] = EVERYTHING

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return HOME / self.name


ENVIRONMENTS = (
    Environment("airflow-3.2", "3.11", ("airflow-3.2.txt",)),
    Environment("airflow-3.3-py3.12", "3.12"),
    Environment("airflow-3.3-py3.13", "3.13"),
    Environment("lowest", "3.11", ("airflow-3.2.txt",), lowest=True, tests=("tests/unit",)),
)


class CannotMakeError(Exception):
    """The environment cannot be made here; the message says why."""


def pins(text: str) -> dict[str, str]:
    """The lines that pin, by package."""
    return {found["name"].lower(): line for line in text.splitlines() if (found := _PIN.fullmatch(line.strip()))}


def overlaid(layers: Iterable[str]) -> str:
    """Constraints of which each layer takes the place of lines in those before it."""
    merged: dict[str, str] = {}
    for layer in layers:
        merged |= pins(layer)
    return "".join(f"{line}\n" for _, line in sorted(merged.items()))


def find_python(version: str) -> Path | None:
    """A Python of this version: this one, one on PATH, or one of pyenv's. (pyenv's shims on PATH may lead nowhere.)"""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    on_path = shutil.which(f"python{version}")
    candidates = [Path(sys.executable), *([Path(on_path)] if on_path else [])]
    candidates += sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)
    return next((each for each in candidates if _version_of(each) == version), None)


def find_uv() -> str:
    """The uv of the environment in which this runs, else the one on PATH."""
    found = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    if found is None:
        raise CannotMakeError("no uv here; `make` installs it")
    return found


def _version_of(python: Path) -> str | None:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def make(environment: Environment) -> Path:
    """Make the environment or bring it up to date, and give its Python."""
    base = find_python(environment.python)
    if base is None:
        raise CannotMakeError(f"no Python {environment.python} here")
    uv = find_uv()
    python = environment.folder / "bin" / "python"
    if _version_of_existing(python) != environment.python:
        _run([uv, "venv", "--quiet", "--clear", "--seed", "--python", str(base), str(environment.folder)])
    constraints = environment.folder / "constraints.txt"
    constraints.write_text(overlaid(_layers(environment, uv, python)), "utf-8")
    options = ["--constraint", str(constraints), "--editable", f"{CHECKOUT}[dev]"]
    try:
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *options])
    except CannotMakeError:
        # uv does not read pip.conf: where only pip knows the way to an index, pip does it.
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options])
    return python


def _version_of_existing(python: Path) -> str | None:
    return _version_of(python) if python.exists() else None


def _layers(environment: Environment, uv: str, python: Path) -> Iterator[str]:
    tried_together = (CHECKOUT / "constraints.txt").read_text("utf-8")
    if environment.lowest:
        # What only developers have asks for newer libraries in its newest version.
        families = ("apache-airflow-providers-.*", "google-.*", "openlineage-.*")
        loose = "|".join((*families, *map(re.escape, named_for_developers())))
        tried_together = re.sub(rf"^({loose})==.*$", "", tried_together, flags=re.MULTILINE)
    yield tried_together
    for name in environment.instead:
        yield Path(__file__).with_name(name).read_text("utf-8")
    if environment.lowest:
        options = ["--resolution", "lowest-direct", "--extra", "postgres", "--extra", "sqlite"]
        style = ["--no-header", "--annotation-style", "line"]
        yield named_by_us(_run([uv, "pip", "compile", "--quiet", "--python", str(python), *style, *options, _PROJECT]))


def named_for_developers() -> list[str]:
    """The packages that pyproject.toml names for those who work on this one."""
    extras = tomllib.loads((CHECKOUT / _PROJECT).read_text("utf-8"))["project"]["optional-dependencies"]
    return [re.split(r"[^\w.-]", need, maxsplit=1)[0] for name in ("dev", "docs") for need in extras[name]]


def named_by_us(resolved: str) -> str:
    """Of all that was resolved, what pyproject.toml names, and the parts of those."""
    lines = (line.partition("#") for line in resolved.splitlines())
    return "\n".join(
        pin.strip() for pin, _, why in lines if "(pyproject.toml)" in why or pin.startswith(_PARTS_OF_THOSE)
    )


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMakeError(f"{' '.join(command[:3])} failed:\n{(done.stderr or done.stdout)[-2_000:]}")
    return done.stdout
