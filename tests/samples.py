"""The samples of README and documentation: each code block, and how it is tried.

A block of Python or shell in ``docs/`` has a comment above it: ``<!-- sample: NAME -->`` where a test runs it by that
name, ``<!-- only parsed: WHY -->`` where it cannot run here. Python without a comment is loaded as a DAG file.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = sorted((CHECKOUT / "docs").rglob("*.md"))
_BLOCK = re.compile(
    r"(?:^ *<!-- (?:sample: (?P<name>[\w-]+)|only parsed: (?P<why>[^>]+)) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One code block. ``name``: of a sample that a test runs. ``why``: it is only parsed."""

    document: str
    language: str
    text: str
    name: str | None
    why: str | None


def blocks() -> list[Block]:
    """All code blocks below ``docs/``, in order."""
    return [
        Block(
            str(path.relative_to(CHECKOUT)),
            found["language"],
            textwrap.dedent(found["text"]),
            found["name"],
            found["why"],
        )
        for path in DOCUMENTS
        for found in _BLOCK.finditer(path.read_text("utf-8"))
    ]


def sample(name: str) -> str:
    """The text of the sample of that name."""
    [text] = [block.text for block in blocks() if block.name == name]
    return text


def write_dags(folder: Path) -> Path:
    """Write each named DAG to a file of its name; Airflow runs none that is not in a folder that it knows."""
    folder.mkdir(parents=True)
    for block in blocks():
        if block.language == "python" and block.name and "def test_" not in block.text:
            (folder / f"{block.name}.py").write_text(_without_waiting(block.text))
    return folder


def _without_waiting(text: str) -> str:
    """A test waits for no minute until a read is believed; in the tests nothing is applied late."""
    return text.replace('task_id="settle", ', 'task_id="settle", verify_after=0, ')


def commands(name: str) -> list[str]:
    """The lines of a shell sample, each a command."""
    return [line for line in sample(name).splitlines() if line.strip()]
