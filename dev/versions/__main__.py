"""``python -m dev.versions``: the tests on other versions of Airflow and Python. An hour and 4 GB of disk."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Column, Table

from .environments import CHECKOUT, ENVIRONMENTS, CannotMakeError, Environment, find_uv, make

_VERSIONS = "import airflow, sys; print(airflow.__version__, '%d.%d.%d' % sys.version_info[:3])"


class Tried(NamedTuple):
    """What became of one environment."""

    environment: Environment
    outcome: str  #: passed, failed, skipped
    airflow: str = ""
    python: str = ""
    counts: tuple[int, int, int] = (0, 0, 0)  #: tests that passed, failed, were skipped
    seconds: float = 0.0
    why: str = ""


def main() -> int:
    """Make each environment, run the tests there, print one table; 1 where a test failed."""
    arguments = _parser().parse_args()
    console = Console(width=max(100, Console().width))  # without a terminal the table is cut off at 80
    tried = []
    for environment in ENVIRONMENTS:
        if arguments.only and environment.name not in arguments.only:
            continue
        console.print(f"{environment.name}: making .versions/{environment.name} and running its tests ...")
        tried.append(_try(environment, arguments.tests))
        console.print(f"{environment.name}: {tried[-1].outcome} {tried[-1].why}", markup=False)
    console.print(_table(tried))
    return 1 if any(each.outcome == "failed" for each in tried) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.versions", description=__doc__)
    names = [environment.name for environment in ENVIRONMENTS]
    parser.add_argument("--only", action="append", choices=names, help="this environment; can be given again")
    parser.add_argument("tests", nargs="*", help="instead of the tests of that environment")
    return parser


def _try(environment: Environment, tests: list[str]) -> Tried:
    try:
        python = make(environment)
    except CannotMakeError as error:
        missing_python = str(error).startswith("no ")
        return Tried(environment, "skipped" if missing_python else "failed", why=str(error))
    reported = subprocess.run(
        [python, "-c", _VERSIONS], capture_output=True, text=True, check=True, cwd=environment.folder
    )
    airflow, version = reported.stdout.split()[-2:]
    began = time.monotonic()
    passed = _run_tests(environment, python, tests or list(environment.tests))
    return Tried(
        environment=environment,
        outcome="passed" if passed else "failed",
        airflow=airflow,
        python=version,
        counts=_counts(environment.folder / "tests.xml"),
        seconds=time.monotonic() - began,
        why="" if passed else f"see .versions/{environment.name}/tests.log",
    )


def _run_tests(environment: Environment, python: Path, tests: list[str]) -> bool:
    """Whether all went well. Log and result lie in the environment's folder."""
    result = environment.folder / "tests.xml"
    result.unlink(missing_ok=True)
    options = ["-p", "no:cacheprovider", f"--junitxml={result}", "-n", "3"]
    # Its own scripts first: tests that start a program mean the one of this environment.
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = os.environ | {"PATH": path, "UV": find_uv()}
    command = [str(python), "-m", "pytest", *options, *tests]
    with (environment.folder / "tests.log").open("wb") as log:
        done = subprocess.run(command, cwd=CHECKOUT, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0


def _counts(result: Path) -> tuple[int, int, int]:
    if not result.exists():
        return 0, 0, 0
    suites = list(ElementTree.parse(result).getroot().iter("testsuite"))
    total, broken, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return total - broken - skipped, broken, skipped


def _table(tried: list[Tried]) -> Table:
    table = Table(
        Column("environment", no_wrap=True), "Airflow", "Python", "outcome", "passed", "failed", "skipped", "seconds"
    )
    for each in tried:
        counts = [f"{count:,}" for count in each.counts]
        table.add_row(each.environment.name, each.airflow, each.python, each.outcome, *counts, f"{each.seconds:,.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
