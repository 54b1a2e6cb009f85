from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from dev.versions import environments
from dev.versions.environments import (
    CHECKOUT,
    ENVIRONMENTS,
    EVERYTHING,
    find_python,
    named_by_us,
    named_for_developers,
    overlaid,
    pins,
)


def test_a_layer_replaces_and_adds_lines() -> None:
    assert overlaid(["# why\na==1\nb==2\n", "B==3\nc==4"]) == "a==1\nB==3\nc==4\n"


@pytest.mark.parametrize("name", sorted({name for each in ENVIRONMENTS for name in each.instead}))
def test_a_replaced_constraint_is_another_pin(name: str) -> None:
    text = Path(environments.__file__).with_name(name).read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    instead, usual = pins(text), pins((CHECKOUT / "constraints.txt").read_text("utf-8"))
    assert len(instead) == len(lines)
    assert set(instead) <= set(usual)
    assert [line for line in lines if line in usual.values()] == []


def test_lowest_versions_are_those_we_name() -> None:
    resolved = """
apache-airflow-core==3.2.0  # via apache-airflow, apache-airflow-task-sdk
attrs==26.1.0             # via apache-airflow-core
msgspec==0.19.0           # via apache-airflow-core, airflow-provider-capillary (pyproject.toml)
starlette==0.52.1         # via fastapi
"""
    assert named_by_us(resolved) == "apache-airflow-core==3.2.0\nmsgspec==0.19.0\nstarlette==0.52.1"


def test_developers_tools_are_not_what_users_need() -> None:
    named = named_for_developers()
    assert {"import-linter", "moto", "mkdocs-material"} <= set(named)
    assert not {"requests", "rich", "apache-airflow"} & set(named)


def test_this_python_is_found() -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    assert find_python(version) == Path(sys.executable)
    assert find_python("2.6") is None


def test_each_promised_python_gets_all_tests() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = {line.rpartition(" ")[2] for line in project["classifiers"] if ":: Python :: 3." in line}
    assert promised == {each.python for each in ENVIRONMENTS if each.tests == EVERYTHING}
