"""Sorts arguments of a DAG file: not given, or not known before the task runs (templates, other tasks' output)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: What Jinja makes of a template without a value.
_NOTHING = frozenset({"", "None"})
_TEMPLATE_MARKS = ("{{", "{%", "{#")


def is_nothing(value: Any) -> bool:
    """Whether an argument was not given, or is a template that rendered to nothing."""
    return value is None or (isinstance(value, str) and value.strip() in _NOTHING)


def is_known(value: Any) -> bool:
    """Whether an argument has its final value now: it holds no template, and no other task's output."""
    if isinstance(value, str):
        return not any(mark in value for mark in _TEMPLATE_MARKS)
    if isinstance(value, Mapping):
        return all(is_known(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple)):
        return all(map(is_known, value))
    return value is None or isinstance(value, (bool, int, float))


def one_of(choices: Iterable[str]) -> str:
    """Text choices for a message: ``'a', 'b' or 'c'``."""
    *first, last = map(repr, map(str, choices))
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: Any) -> str:
    """A value for a message, at most 100 characters of it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
