"""Empty ledgers: a SQLite file, or a database of a PostgreSQL server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa


@contextlib.contextmanager
def empty_ledger(folder: Path, postgres: str | None, name: str) -> Iterator[str]:
    """The URL of an empty ledger: in the folder, or in the server if there is one."""
    if postgres is None:
        yield f"sqlite:///{folder / 'ledger.db'}"
        return
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
