"""Reads ``queries.sql``: named statements, each for SQLite and PostgreSQL alike."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import sqlalchemy as sa

#: Parameters that stand for a list of values.
_LISTS = frozenset({"states", "ids", "batches", "job_ids", "dag_ids", "badges"})
_TOGETHER = 100  # rows in one statement of SQLite
_VALUES = re.compile(r"(?<=VALUES )\(([^()]*)\)")
_PARAMETER = re.compile(r":(\w+)")
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


def insert_many(connection: sa.Connection, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute an INSERT that ends its VALUES with one row of parameters, for many rows.

    On SQLite a hundred rows go in one statement: ``executemany`` would let go of Python's lock, and wait for it, once
    for every row.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(QUERIES[name], rows)
        return
    names, head, tail = _parts_of_insert(name)
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        one = f"({', '.join('?' * len(names))})"
        statement = f"{head}{', '.join([one] * len(some))}{tail}"
        connection.exec_driver_sql(statement, tuple(row[column] for row in some for column in names))


@functools.cache
def _parts_of_insert(name: str) -> tuple[list[str], str, str]:
    """The parameters of the row, and what stands before and behind it."""
    head, row, tail = _VALUES.split(str(QUERIES[name]), maxsplit=1)
    return _PARAMETER.findall(row), head, tail


QUERIES = parse(resources.files(__package__).joinpath("queries.sql").read_text("utf-8"))
