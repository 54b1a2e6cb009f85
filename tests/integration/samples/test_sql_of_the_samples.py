"""The samples' query means the same on SQLite, PostgreSQL and DuckDB, and its values are bound by the driver."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG, BaseHook

from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator
from dev.sample_data.warehouse import BADGES, SCHEMA, load_warehouse
from tests.integration.transfers.warehouses import postgres_connection

DAGS = Path(__file__).parents[3] / "dags"
DAYS = {"date_from": "2025-03-17", "date_to": "2025-03-20"}


@pytest.fixture(scope="module")
def sqlite_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "warehouse.db"
    load_warehouse(path)
    return path


@pytest.fixture(scope="module")
def postgres_warehouse(postgres_server: Any, sqlite_warehouse: Path) -> Iterator[str]:
    """The same tables with the same rows in a database of their own."""
    name = postgres_server.create_database()
    uri: str = postgres_server.uri_of(name)
    with psycopg.connect(uri) as postgres, closing(sqlite3.connect(sqlite_warehouse)) as sqlite:
        for table, columns in SCHEMA.items():
            postgres.execute(f"CREATE TABLE {table} ({columns})".encode())
            with postgres.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in sqlite.execute(f"SELECT * FROM {table}"):
                    copy.write_row(row)
    yield uri
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def duckdb_warehouse(tmp_path_factory: pytest.TempPathFactory, sqlite_warehouse: Path) -> Path:
    """The same tables with the same rows in a file of DuckDB."""
    path = tmp_path_factory.mktemp("shop") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as duck, closing(sqlite3.connect(sqlite_warehouse)) as sqlite:
        for table in SCHEMA:
            cursor = sqlite.execute(f"SELECT * FROM {table}")
            columns = [name for name, *_ in cursor.description]
            values = zip(*cursor, strict=True)
            rows = pa.table(dict(zip(columns, map(list, values), strict=True)))
            assert duck.execute(f"CREATE TABLE {table} AS SELECT * FROM rows").fetchone() == (rows.num_rows,)
    return path


@pytest.fixture(params=["sqlite", "postgres", "duckdb"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One engine after the other behind the Airflow connection ``warehouse``."""
    where = request.getfixturevalue(f"{request.param}_warehouse")
    if request.param == "postgres":
        connection = postgres_connection(where)
    else:
        connection = json.dumps({"conn_type": request.param, "host": str(where)})
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection)
    return str(request.param)


def extracted(folder: Path, badges: str) -> list[dict[str, Any]]:
    """What the samples extract, rendered and run as a worker does."""
    with DAG("samples", schedule=None, template_searchpath=[str(DAGS)]):
        extract = SqlToBadgeDatasetOperator(
            task_id="extract",
            conn_id="warehouse",
            sql="sql/chosen_badges.sql",
            parameters=DAYS | {"badges": badges},
            dataset_path=folder.as_uri(),
        )
    extract.resolve_template_files()
    context: Any = {"conn": SimpleNamespace(warehouse=BaseHook.get_connection("warehouse"))}
    extract.render_template_fields(context)
    [part] = extract.execute({})["parts"]
    rows: list[dict[str, Any]] = pq.read_table(part.removeprefix("file://")).to_pylist()
    return rows


@pytest.mark.parametrize(
    "chosen", [[], ["big_basket"], ["century", "comeback"]], ids=lambda one: "+".join(one) or "all"
)
def test_each_engine_gives_the_plain_querys_rows(
    engine: str, chosen: list[str], sqlite_warehouse: Path, tmp_path: Path
) -> None:
    ids = [BADGES[name] for name in chosen]
    rows = extracted(tmp_path / "set", "".join(f",{badge}," for badge in ids))
    sql = (DAGS / "sql" / "earned_badges.sql").read_text()
    with closing(sqlite3.connect(sqlite_warehouse)) as plain:
        expected = [row for row in plain.execute(sql, DAYS) if not ids or row[0] in ids]
    given = [tuple(row.values()) for row in rows]
    assert sorted(given, key=repr) == sorted(expected, key=repr)
    assert len(given) > (10 if chosen else 1_000)
    # a customer's rows stand in the order in which they are granted
    of_customers = [row[1:3] for row in given if row[1]]
    assert of_customers == sorted(of_customers)


def test_a_value_is_bound_and_never_text(engine: str, tmp_path: Path) -> None:
    assert extracted(tmp_path / "set", "') or 1 = 1 --") == []
