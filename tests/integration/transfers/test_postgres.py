"""From a real PostgreSQL, by either driver: streamed through a server-side cursor, every type without a loss."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed

from .conftest import Extract, values
from .warehouses import postgres_connection, use_psycopg


@pytest.fixture
def warehouse(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server behind the Airflow connection ``warehouse``."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres_connection(postgres_uri))


@pytest.fixture(params=[3, 2], ids=["psycopg3", "psycopg2"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the drivers that the Postgres provider may choose."""
    use_psycopg(request.param, monkeypatch)


both_drivers = pytest.mark.usefixtures("warehouse", "driver")


@both_drivers
def test_every_type_keeps_its_worth(extract: Extract, tmp_path: Path) -> None:
    sql = """
        SELECT n::bigint AS customer_id, n::numeric(20, 2) / 8 AS amount, (n || '.5')::float8 AS f,
               timestamptz '2026-01-01 12:00:00.5+02' + n * interval '1 day' AS zoned,
               timestamp '2026-01-01 12:00:00' AS naive, date '2026-01-02' AS day, n = 1 AS flag,
               md5('x')::uuid AS u, '{"a": [1]}'::jsonb AS j, ARRAY[n, 2] AS list, '\\xff'::bytea AS raw,
               NULL::int AS none, 'é%s' AS text
        FROM generate_series(1, 2) AS n ORDER BY n;
    """
    result = extract(sql, tmp_path / "out")
    assert values(result, "customer_id") == [1, 2]
    assert values(result, "amount") == [Decimal("0.125"), Decimal("0.25")]
    assert values(result, "f") == [1.5, 2.5]
    first = int(datetime(2026, 1, 2, 10, tzinfo=UTC).timestamp())
    assert values(result, "zoned") == [first, first + 86_400]
    assert values(result, "naive") == [datetime(2026, 1, 1, 12)] * 2
    assert values(result, "day") == [date(2026, 1, 2)] * 2
    assert values(result, "flag") == [True, False]
    assert values(result, "u") == ["9dd4e461-268c-8034-f5c8-564e155c67a6"] * 2
    assert values(result, "j") == ['{"a":[1]}'] * 2
    assert values(result, "list") == ["[1,2]", "[2,2]"]
    assert values(result, "raw") == [b"\xff"] * 2
    assert values(result, "none") == [None, None]
    assert values(result, "text") == ["é%s"] * 2


@both_drivers
@pytest.mark.parametrize("server_side", [True, False])
def test_rows_come_in_order_with_bound_parameters(extract: Extract, tmp_path: Path, server_side: bool) -> None:
    where = "n > %(least)s AND 'O''N' < %(text)s"
    sql = f"SELECT n AS customer_id FROM generate_series(1, 2500) AS n WHERE {where} ORDER BY n"
    result = extract(
        sql, tmp_path / "out", parameters={"least": 100, "text": "P'"}, fetch_size=1_000, server_side_cursor=server_side
    )
    assert values(result, "customer_id") == list(range(101, 2_501))


@both_drivers
def test_a_connection_of_dicts_is_served(extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({**connection, "extra": {"cursor": "dictcursor"}}))
    result = extract("SELECT 2 AS b, 1 AS a", tmp_path / "out")
    assert result["columns"] == ["b", "a"]
    assert (values(result, "a"), values(result, "b")) == ([1], [2])


@both_drivers
def test_an_undeclarable_statement_runs_without_cursor(extract: Extract, tmp_path: Path, postgres_uri: str) -> None:
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS granted")
        connection.execute("CREATE TABLE granted (customer_id int)")
    statement = "INSERT INTO granted VALUES (7) RETURNING customer_id"
    result = extract(statement, tmp_path / "out", server_side_cursor=False)
    assert values(result, "customer_id") == [7]
    with pytest.raises(BadgeTaskFailed, match="not a query"):
        extract("DELETE FROM granted", tmp_path / "none", server_side_cursor=False)


@both_drivers
def test_a_statement_with_rows_but_no_select_is_refused(extract: Extract, tmp_path: Path, postgres_uri: str) -> None:
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS granted")
        connection.execute("CREATE TABLE granted AS SELECT 7 AS customer_id")
        changing = ["DELETE FROM granted RETURNING customer_id", "SHOW server_version"]
        changing.append("WITH gone AS (DELETE FROM granted RETURNING customer_id) SELECT * FROM gone")
        for sql in changing:
            with pytest.raises(BadgeTaskFailed, match="server_side_cursor=False"):
                extract(sql, tmp_path / "out")
        assert connection.execute("SELECT * FROM granted").fetchall() == [(7,)]


@both_drivers
def test_a_percent_sign_beside_parameters_is_explained(extract: Extract, tmp_path: Path) -> None:
    sql = "SELECT 1 AS customer_id, 'a{0}' AS text WHERE 'abc' LIKE 'a{0}' AND 1 = %s"
    with pytest.raises(BadgeTaskFailed, match="every other % is written %%"):
        extract(sql.format("%"), tmp_path / "out", parameters=[1])
    assert values(extract(sql.format("%%"), tmp_path / "out", parameters=[1]), "text") == ["a%"]


@pytest.mark.usefixtures("warehouse")
def test_endless_instants_are_never_a_date(extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "SELECT 'infinity'::timestamptz AS earn_expires_on"
    use_psycopg(2, monkeypatch)  # gives the last instant of Python's, which the import finds invalid
    assert values(extract(sql, tmp_path / "out"), "earn_expires_on") == [253_402_300_799]
    use_psycopg(3, monkeypatch)
    with pytest.raises(BadgeTaskFailed, match=r"'infinity'.*replace it in the SQL"):
        extract(sql, tmp_path / "out")
