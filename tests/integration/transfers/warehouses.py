"""Real databases of every kind that is promised, each behind the Airflow connection ``warehouse``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import airflow.sdk
import duckdb
import psycopg
import pymysql  # type: ignore[import-untyped]
import pytest

from .mariadb import MariaDbHook

#: How each driver writes a placeholder, for a list of parameters and for a dict.
BY_POSITION = {
    "sqlite": ("?", "?1"),
    "duckdb": ("?", "$1"),
    "psycopg3": ("%s",),
    "psycopg2": ("%s",),
    "mariadb": ("%s",),
}
BY_NAME = {"sqlite": ":name", "duckdb": "$name", "psycopg3": "%(name)s", "psycopg2": "%(name)s", "mariadb": "%(name)s"}
KINDS = tuple(BY_NAME)


def postgres_connection(uri: str) -> str:
    """A libpq URI as the value of ``AIRFLOW_CONN_...``."""
    parts = urlsplit(uri)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    fields = {"conn_type": "postgres", "login": parts.username, "host": host, "schema": parts.path.strip("/")}
    return json.dumps(fields | {"port": parts.port})


def use_psycopg(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the driver, as the Postgres provider does by which one is installed."""
    from airflow.providers.postgres.hooks import postgres as hook_module

    monkeypatch.setattr(hook_module, "USE_PSYCOPG3", version == 3)


_DATABASE = "warehouse"


def mariadb_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An empty database of the one server, behind a connection whose cursors stream."""
    socket = str(request.getfixturevalue("mariadb_socket"))
    with closing(pymysql.connect(unix_socket=socket, user="root")) as connection:
        connection.cursor().execute(f"CREATE OR REPLACE DATABASE {_DATABASE} CHARACTER SET utf8mb4")
    fields = {"conn_type": "mysql", "host": socket, "login": "root", "schema": _DATABASE}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields | {"extra": {"cursor": "sscursor"}}))
    monkeypatch.setattr(
        airflow.sdk.Connection,
        "get_hook",
        lambda self, *, hook_params=None: MariaDbHook(mysql_conn_id=self.conn_id, **(hook_params or {})),
    )
    return Warehouse("mariadb", socket)


class Warehouse:
    """One database, reached past Airflow, to prepare it and to look into it."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind = kind
        self.place = place

    def run(self, sql: str) -> None:
        """Run and commit one statement."""
        with closing(self._connect()) as connection:
            connection.cursor().execute(sql)
            if self.kind != "duckdb":
                connection.commit()

    def rows(self, sql: str) -> Sequence[Any]:
        """All rows of a query."""
        with closing(self._connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def _connect(self) -> Any:
        if self.kind == "mariadb":
            return pymysql.connect(unix_socket=self.place, user="root", database=_DATABASE)
        if self.kind == "sqlite":
            return sqlite3.connect(self.place)
        return duckdb.connect(self.place) if self.kind == "duckdb" else psycopg.connect(self.place)


def warehouse_of(kind: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The database of a kind, and the connection to it."""
    if kind in ("sqlite", "duckdb"):
        place = str(folder / f"warehouse.{kind}")
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": kind, "host": place}))
        return Warehouse(kind, place)
    if kind == "mariadb":
        return mariadb_of(request, monkeypatch)
    use_psycopg(int(kind[-1]), monkeypatch)
    server = request.getfixturevalue("postgres_server")
    database = server.create_database()
    request.addfinalizer(lambda: server.drop_database(database))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres_connection(server.uri_of(database)))
    return Warehouse(kind, server.uri_of(database))
