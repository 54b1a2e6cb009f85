"""Docstrings of this package (Sphinx's fields) as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_FIELD = re.compile(r"^:(?P<kind>param|return|raises|rtype)(?: (?P<name>\w+))?: ?", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class Documented(NamedTuple):
    """A docstring taken apart; all in Markdown."""

    text: str
    parameters: dict[str, str]
    returns: str
    raises: dict[str, str]


def documented(thing: type | Callable[..., Any]) -> Documented:
    """Take the docstring of a class or function apart."""
    pieces = _FIELD.split(inspect.getdoc(thing) or "")
    parameters, raises, returns = {}, {}, ""
    for kind, name, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        if kind == "param":
            parameters[name] = _markdown(text, one_line=True)
        elif kind == "raises":
            raises[name] = _markdown(text, one_line=True)
        elif kind == "return":
            returns = _markdown(text, one_line=True)
    return Documented(_markdown(pieces[0]), parameters, returns, raises)


def signature(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that a caller may give by name, in order."""
    given = inspect.signature(function).parameters
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name: one for name, one in given.items() if one.kind in kinds and name != "self"}


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *(tuple(map(cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _markdown(text: str, *, one_line: bool = False) -> str:
    plain = _ROLE.sub(r"`\1`", text.strip()).replace("``", "`").replace("::\n", ":\n")
    return " ".join(plain.split()) if one_line else plain
