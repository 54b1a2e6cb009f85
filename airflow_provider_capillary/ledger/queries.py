"""Reads ``queries.sql``: named statements, each for SQLite and PostgreSQL alike."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import sqlalchemy as sa

#: Parameters that stand for a list of values.
_LISTS = frozenset({"states", "ids", "batches", "job_ids", "dag_ids"})
_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def parse(text: str) -> dict[str, sa.TextClause]:
    """The statements by name; a name that stands twice is an error."""
    _, *parts = _NAME.split(text)
    statements: dict[str, sa.TextClause] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in statements:
            raise ValueError(f"queries.sql has two statements of the name {name}")
        lines = [line for line in body.splitlines() if line.strip() and not line.startswith("--")]
        statement = sa.text("\n".join(lines))
        lists: list[sa.BindParameter[Any]] = [
            sa.bindparam(one, expanding=True) for one in _LISTS if f"IN :{one}" in body
        ]
        statements[name] = statement.bindparams(*lists)
    return statements


QUERIES = parse(resources.files(__package__).joinpath("queries.sql").read_text("utf-8"))
