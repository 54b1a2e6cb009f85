"""What the documents say is so: examples run, tables are the code's, paths and links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_capillary
from airflow_provider_capillary.core.row_state import TRANSITIONS
from airflow_provider_capillary.datasets.formats import DATASET_FORMATS
from airflow_provider_capillary.get_provider_info import get_provider_info
from airflow_provider_capillary.hooks.connection import KNOWN_EXTRAS, ConnectionFields, connection_settings
from airflow_provider_capillary.simulator.server import RunningSimulator
from dev.docs.reference import completed
from dev.sample_data.corrections import corrections
from dev.sample_data.warehouse import FIRST_DAY, purchase_instant

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "airflow_provider_capillary"
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *PACKAGE.glob("**/*.md")])
README, ARCHITECTURE, CHANGELOG = (
    (CHECKOUT / f"{name}.md").read_text("utf-8") for name in ("README", "ARCHITECTURE", "CHANGELOG")
)
MAKEFILE = (CHECKOUT / "Makefile").read_text("utf-8")
NAMES = [str(path.relative_to(CHECKOUT)) for path in DOCUMENTS]
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def table(text: str) -> Iterator[list[str]]:
    """The cells of each row, without the table's head."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    yield from ([cell.strip() for cell in row] for row in rows[2:])


def code(cell: str) -> str:
    """The first piece of a cell that is set as code."""
    found = re.search(r"`([^`]+)`", cell)
    return found[1] if found else cell


@cache
def anchors(document: Path) -> set[str]:
    """The titles of a document, those of parts that are made from the code too."""
    text = re.sub(r"^```.*?^```$", "", completed(document.read_text("utf-8")), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return set(re.findall(r"\{ #([\w-]+) \}$", text, re.MULTILINE)) | {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """What README's Python leaves behind, all blocks read by one reader from top to bottom."""
    names: dict[str, Any] = {}
    for block in blocks(README, "python"):
        exec(compile(block, "README.md", "exec"), names)
    return names


# ---------------------------------------------------------------------------------------------------------- README


def test_the_example_imports_after_the_extract(examples: dict[str, Any]) -> None:
    dag = examples["extract"].dag
    assert dag.task_dict["extract"].downstream_task_ids == {"import_badges"}
    # Airflow refuses parameters that an operator does not have; a misspelt template field would go unnoticed
    assert "dataset" in examples["import_badges"].template_fields


def test_the_examples_report_follows_failures(examples: dict[str, Any]) -> None:
    report = examples["report"]
    assert report.trigger_rule == "all_done"
    assert report.upstream_task_ids == {"import_badges"}


def test_the_test_that_users_are_shown_passes(
    examples: dict[str, Any], capillary_simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    examples["test_a_lost_reply_grants_nothing_twice"](capillary_simulator, monkeypatch, tmp_path)
    assert capillary_simulator.simulator.summary()["faults"] == [{"kind": "drop", "happened": 1}]


def test_every_import_parameter_is_in_the_table() -> None:
    from airflow_provider_capillary.operators.airflow_installation import HAS_RETRY_POLICIES
    from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

    said = {code(row[0]): row[1] for row in table(section(README, "BadgeImportOperator"))}
    real = {
        name: parameter.default
        for name, parameter in inspect.signature(BadgeImportOperator.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert said.pop("dataset") == "required"
    assert real.pop("dataset") is inspect.Parameter.empty
    policy = repr(real.pop("retry_policy"))
    assert code(said.pop("retry_policy")) == (policy if HAS_RETRY_POLICIES else "CapillaryRetryPolicy()")
    # as text, for 0 equals False
    assert {name: repr(ast.literal_eval(code(default))) for name, default in said.items()} == {
        name: repr(default) for name, default in real.items()
    }


@pytest.mark.parametrize("document", ["README.md", "docs/datasets.md"])
def test_every_format_of_a_dataset_is_named(document: str) -> None:
    text = (CHECKOUT / document).read_text("utf-8")
    missing = [name for name in DATASET_FORMATS if not re.search(rf'["`]{name}["`]', text)]
    assert not missing, f"{document} (dataset_format) does not name {missing} of datasets/locations.py"


def test_what_examples_import_is_public_api() -> None:
    examples = [README, *(path.read_text("utf-8") for path in CHECKOUT.glob("dags/*.py"))]
    imports = {
        found for text in examples for found in re.findall(r"^from (airflow_provider_\S+) import (.+)$", text, re.M)
    }
    assert len(imports) >= 6
    for module, names in imports:
        assert set(names.split(", ")) <= set(importlib.import_module(module).__all__), module


def test_every_extra_is_in_the_table() -> None:
    rows = {code(row[0]): row[1] for row in table(section(README, "Connection")) if row[0].startswith("`")}
    assert set(rows) == set(KNOWN_EXTRAS)
    [connection_type] = get_provider_info()["connection-types"]
    for name, field in connection_type["conn-fields"].items():
        default = field["schema"].get("default")
        if default is not None:
            assert code(rows[name]) == (str(default).lower() if isinstance(default, bool) else str(default)), name
        else:
            assert "`" not in rows[name], name


def test_the_connection_of_the_example_is_one() -> None:
    [export] = [block for block in blocks(README, "shell") if block.startswith("export AIRFLOW_CONN")]
    [variable] = shlex.split(export)[1:]
    fields = json.loads(variable.partition("=")[2])
    assert fields.pop("conn_type") == "capillary"
    fields["extra"] = json.dumps(fields["extra"])
    assert connection_settings(ConnectionFields(conn_id="capillary_default", **fields)).organisation == "acme-eu"


def test_every_option_is_documented() -> None:
    for option in get_provider_info()["config"]["capillary"]["options"]:
        assert f"[capillary] {option}" in README


def test_the_demos_numbers_add_up() -> None:
    [found] = re.findall(
        r"warehouse of ([\d,]+) rows: ([\d,]+) are accepted, (\d+) is already accepted, (\d+) are rejected, (\d+) are",
        README,
    )
    read, accepted, already, rejected, invalid = (int(number.replace(",", "")) for number in found)
    assert accepted + already + rejected + invalid == read
    assert already + rejected + invalid == len(
        corrections("0" * 24, customer_id=1, earned_at=purchase_instant(FIRST_DAY))
    )


# ---------------------------------------------------------------------------------------------------- ARCHITECTURE


def test_paths_of_the_table_exist_and_cover_the_package() -> None:
    paths = {code(row[0]) for row in table(section(ARCHITECTURE, "Where things are"))}
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []
    tops = {
        f"airflow_provider_capillary/{path.name}{'/' if path.is_dir() else ''}"
        for path in PACKAGE.iterdir()
        if (path.is_dir() and path.name != "__pycache__") or (path.suffix == ".py" and path.name != "__init__.py")
    }
    assert tops - paths == set()


def test_every_place_to_change_something_exists() -> None:
    places = list(table(section(ARCHITECTURE, "To change something")))
    assert len(places) >= 4
    for what, where, tests in places:
        named = re.findall(r"`([\w/]+\.py)`", where)
        assert 0 < len(named) <= 3, what
        assert [name for name in named if not (PACKAGE / name).is_file()] == [], what
        assert [name for name in re.findall(r"`(tests/[\w/]+\.py)`", tests) if not (CHECKOUT / name).is_file()] == []


def test_the_arrows_are_those_that_are_enforced() -> None:
    contract = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    drawn = blocks(section(ARCHITECTURE, "Arrows"), "")[0].split("simulator ─▶")[0]
    layers = [re.split(r"\s{3,}", line.replace("└─▶", "").strip())[0] for line in drawn.splitlines() if line.strip()]
    assert layers == contract["layers"]


def test_the_states_drawn_are_those_of_the_table() -> None:
    [diagram] = blocks(ARCHITECTURE, "mermaid")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", diagram, re.MULTILINE))
    assert drawn == {(old.value, new.value) for old, new in TRANSITIONS}


def test_every_guard_names_tests_that_exist() -> None:
    guards = list(table(section(ARCHITECTURE, "Guards, and the tests that hold them")))
    assert len(guards) >= 8
    for guard, where, tests in guards:
        assert all((PACKAGE / name).is_file() for name in re.findall(r"`([^`]+\.py)`", where)), guard
        named = re.findall(r"`(tests/[^`:]+)::(\w+)`", tests)
        assert named, guard
        for file, name in named:
            source = CHECKOUT / file
            assert source.is_file(), f"{guard}: {file}"
            assert re.search(rf"^ *def {name}\(", source.read_text("utf-8"), re.MULTILINE), f"{guard}: {file}::{name}"


# ------------------------------------------------------------------------------------------------------- changelog


def test_the_changelog_begins_with_this_version() -> None:
    assert re.findall(r"^## \[([^\]]+)\]", CHANGELOG, re.MULTILINE)[0] == airflow_provider_capillary.__version__


# ---------------------------------------------------------------------------------------------------- all documents


@every_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_document
def test_every_python_file_that_is_named_exists(document: Path) -> None:
    for name in re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|sql|md))`", document.read_text("utf-8")):
        assert (PACKAGE / name).is_file() or (CHECKOUT / name).is_file(), name


@every_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", document.read_text("utf-8"))) <= targets
