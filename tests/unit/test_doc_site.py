"""The documentation is built strictly, without network, and answers where people look."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_capillary.core.reasons import REGISTRY
from airflow_provider_capillary.get_provider_info import get_provider_info

CHECKOUT = Path(__file__).parents[2]
QUESTIONS = 18


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build as `make docs` does; a link or an anchor that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    built = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False, timeout=100)
    said = (built.stdout + built.stderr)[-2_000:]
    assert built.returncode == 0, said
    return folder


def ids(page: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page.read_text("utf-8")))


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?([^\"\s>]+)", text)
        assert loaded
        assert [url for url in loaded if re.match(r"(?:https?:)?//", url)] == [], page
        assert 'class="mermaid"' not in text, page  # Material would fetch its script from elsewhere


def test_every_registry_name_is_an_anchor(site: Path) -> None:
    assert set(REGISTRY) <= ids(site / "reference" / "errors.html")


def test_operators_extras_and_options_are_in_the_reference(site: Path) -> None:
    info = get_provider_info()
    operators = (site / "reference" / "operators.html").read_text("utf-8")
    for module in (module for part in info["operators"] for module in part["python-modules"]):
        assert f"from {module} import" in operators
    configuration = (site / "reference" / "configuration.html").read_text("utf-8")
    [connection] = info["connection-types"]
    for name in (*connection["conn-fields"], *info["config"]["capillary"]["options"]):
        assert f"<code>{name}</code>" in configuration


def test_each_question_leads_to_a_place(site: Path) -> None:
    text = (CHECKOUT / "docs" / "questions.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, QUESTIONS + 1))
    for number, question, short, places in rows:
        links = re.findall(r"\]\(([^)]+)\)", places)
        assert links, number
        assert question.strip(), number
        assert short.strip(), number
        for link in links:
            page, _, anchor = link.partition("#")
            built = site / page.replace(".md", ".html")
            assert built.is_file(), link
            assert not anchor or anchor in ids(built), link
