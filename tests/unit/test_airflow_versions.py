"""Airflow 3.2 and 3.3 differ, and ``operators/airflow_installation.py`` alone asks which of them this is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
THE_ONE = CHECKOUT / "airflow_provider_capillary" / "operators" / "airflow_installation.py"
FILES = [
    path for folder in ("airflow_provider_capillary", "dags") for path in sorted((CHECKOUT / folder).rglob("*.py"))
]
#: What only one of the versions has, under the names by which it would be asked for.
ONLY_IN_ONE = {"task_state_store", "asset_state_store"}


def questions(source: str) -> list[int]:
    """Lines that ask for Airflow's version, in one of the ways that there are."""
    return sorted({getattr(node, "lineno", 0) for node in ast.walk(ast.parse(source)) if _asks(node)})


def _asks(node: ast.AST) -> bool:
    match node:
        case ast.Try():
            return _may_lack_something(node)
        case ast.Import(names=names):
            return any(each.name in ("airflow.version", "packaging.version") for each in names)
        case ast.ImportFrom(module="airflow" | "airflow.sdk", names=names):
            return any(each.name in ("__version__", "version") for each in names)
        case ast.ImportFrom(module=module):
            return module in ("airflow.version", "packaging.version") or "version_compat" in str(module)
        case ast.Attribute(value=ast.Name("airflow"), attr="__version__" | "version"):
            return True
        case ast.Compare() | ast.If() | ast.IfExp():
            return any(
                _gives_a_version(each) for each in ast.walk(node if isinstance(node, ast.Compare) else node.test)
            )
        case ast.Constant(value=str(text)):
            return text in ONLY_IN_ONE
    return False


def _may_lack_something(node: ast.Try) -> bool:
    """``try: from airflow... import`` with an ``except`` for its absence. Airflow's providers may well be absent."""
    caught = {
        name.id for handler in node.handlers for name in ast.walk(handler.type or node) if isinstance(name, ast.Name)
    }
    return bool(caught & {"ImportError", "ModuleNotFoundError", "AttributeError"}) and any(_imported(node))


def _imported(node: ast.Try) -> Iterator[str]:
    for each in (inner for statement in node.body for inner in ast.walk(statement)):
        names = [each.module or ""] if isinstance(each, ast.ImportFrom) else []
        names += [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
        yield from (
            name for name in names if name.split(".")[0] == "airflow" and not name.startswith("airflow.providers")
        )


def _gives_a_version(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name("version") | ast.Attribute(attr="version"), args=[ast.Constant(value=str(name))]):
            return name.startswith("apache-airflow")
        case ast.Name(id=name):
            return name.startswith("AIRFLOW_V_")
        case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[ast.Name("airflow" | "sdk"), *_]):
            return True
    return False


def test_one_module_asks_which_airflow_this_is() -> None:
    asking = {path for path in FILES if questions(path.read_text("utf-8"))}
    assert {str(path.relative_to(CHECKOUT)) for path in asking} == {str(THE_ONE.relative_to(CHECKOUT))}


@pytest.mark.parametrize(
    "question",
    [
        "import airflow\nif airflow.__version__ >= '3.3': pass",
        "from airflow import __version__",
        "from airflow.version import version",
        "from packaging.version import Version",
        "from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS",
        "new = 1 if AIRFLOW_V_3_3_PLUS else 0",
        "from importlib.metadata import version\nif version('apache-airflow-core').startswith('3.2'): pass",
        "import importlib.metadata\nnew = importlib.metadata.version('apache-airflow') > '3.3'",
        "try:\n    from airflow.sdk import RetryPolicy\nexcept ImportError:\n    RetryPolicy = None",
        "try:\n    import airflow.sdk.execution_time.x\nexcept (ValueError, ModuleNotFoundError):\n    pass",
        "if hasattr(sdk, 'RetryPolicy'): pass",
        "context.get('task_state_store')",
    ],
)
def test_a_question_would_be_found(question: str) -> None:
    assert questions(question)


@pytest.mark.parametrize(
    "harmless",
    [
        "from airflow.sdk import DAG",
        "try:\n    import s3fs\nexcept ImportError:\n    pass",
        "try:\n    from airflow.providers.openlineage import x\nexcept ImportError:\n    pass",
        "try:\n    from airflow.sdk import conf\nexcept ValueError:\n    pass",
        "shown = {'airflow': version('apache-airflow-core')}",
    ],
)
def test_what_is_no_question_is_left_alone(harmless: str) -> None:
    assert not questions(harmless)
