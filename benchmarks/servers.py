"""A PostgreSQL server of this benchmark's own: with its defaults, so every commit reaches the disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from dev.postgres import postgres_server


@contextmanager
def running_postgres() -> Iterator[Path]:
    """Start one; give the folder of its socket."""
    with postgres_server(durable=True) as server:
        yield server.socket_folder


def connect(postgres: Path) -> psycopg.Connection:
    """As its owner, every statement committed."""
    return psycopg.connect(host=str(postgres), user="postgres", dbname="postgres", autocommit=True)


def processor_seconds(postgres: Path) -> float:
    """CPU that the server has used so far, with the processes that it started; of those that ended too."""
    server = (postgres / "postmaster.pid").read_text().split()[0]
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if folder.name == server:
            ticks += sum(map(int, fields[11:15]))
        elif fields[1] == server:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def connection_of(postgres: Path) -> str:
    """The same for Airflow, as the JSON of a connection."""
    return json.dumps({"conn_type": "postgres", "host": str(postgres), "login": "postgres", "schema": "postgres"})


def fresh_state(folder: Path, postgres: Path) -> Path:
    """An empty folder for what a contestant keeps, and an empty database."""
    state = folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    with connect(postgres) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return state
