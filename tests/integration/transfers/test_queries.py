"""What people give as a query, against every kind of database: taken as it is meant, or explained."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed

from .conftest import Extract, values
from .warehouses import BY_NAME, BY_POSITION, KINDS, Warehouse, warehouse_of

INJECTION = "'; DROP TABLE granted; -- %s \" ? :name $1 \\"


@pytest.fixture(params=KINDS)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    made = warehouse_of(request.param, tmp_path, request, monkeypatch)
    made.run("CREATE TABLE granted (customer_id INTEGER, badge VARCHAR(40))")
    made.run("INSERT INTO granted VALUES (1, 'a'), (2, 'b'), (3, NULL)")
    return made


GRANTED = [(1, "a"), (2, "b"), (3, None)]


def untouched(warehouse: Warehouse) -> bool:
    return warehouse.rows("SELECT * FROM granted ORDER BY 1") == GRANTED


def test_a_positional_parameter_stays_data(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, mark in enumerate(BY_POSITION[warehouse.kind]):
        sql = f"SELECT customer_id, CAST({mark} AS VARCHAR(80)) AS reported FROM granted ORDER BY 1"
        with caplog.at_level(logging.INFO):
            result = extract(sql, tmp_path / str(number), parameters=[INJECTION])
        assert values(result, "reported") == [INJECTION] * 3
    assert untouched(warehouse)
    assert "DROP TABLE" not in caplog.text


def test_a_named_parameter_stays_data(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = BY_NAME[warehouse.kind]
    sql = f"SELECT customer_id, CAST({mark} AS VARCHAR(80)) AS reported FROM granted WHERE badge <> {mark} ORDER BY 1"
    with caplog.at_level(logging.INFO):
        result = extract(sql, tmp_path / "out", parameters={"name": INJECTION})
    assert values(result, "reported") == [INJECTION] * 2
    assert untouched(warehouse)
    assert "DROP TABLE" not in caplog.text


def test_wrong_parameters_are_explained(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    by_position, by_name = BY_POSITION[warehouse.kind][0], BY_NAME[warehouse.kind]
    wrong: list[tuple[str, Any]] = [
        (f"SELECT {by_position} AS a, {by_position} AS b", [1]),
        (f"SELECT {by_name} AS a", {"other": 1}),
    ]
    for sql, parameters in wrong:
        with pytest.raises(BadgeTaskFailed, match="do not fit the placeholders") as failed:
            extract(sql, tmp_path / "out", parameters=parameters)
        assert by_name in str(failed.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM granted ORDER BY 1;",
        "SELECT * FROM granted ORDER BY 1 ;\n\n",
        "-- who has which\nSELECT * FROM granted ORDER BY 1; -- the end",
        "/* ; */ SELECT * FROM granted /* all; of them */ ORDER BY 1",
        "WITH g AS (SELECT * FROM granted) SELECT * FROM g ORDER BY 1",
        "SELECT * FROM granted WHERE badge IS NULL OR badge <> '%;%' ORDER BY 1",
    ],
)
def test_semicolons_comments_and_percent_signs_do_no_harm(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, sql: str
) -> None:
    result = extract(sql, tmp_path / "out")
    assert list(zip(values(result, "customer_id"), values(result, "badge"), strict=True)) == GRANTED


# DuckDB runs all of them and answers with the last one's result: see test_duckdb.py.
@pytest.mark.parametrize("warehouse", ["sqlite", "psycopg3", "psycopg2"], indirect=True)
@pytest.mark.parametrize("second", ["SELECT 2 AS customer_id", "DELETE FROM granted", "DROP TABLE granted"])
def test_of_two_statements_none_is_run_for_good(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, second: str
) -> None:
    with pytest.raises(BadgeTaskFailed, match="more than one statement"):
        extract(f"SELECT 1 AS customer_id; {second}", tmp_path / "out")
    assert untouched(warehouse)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "sql", ["UPDATE granted SET badge = 'z'", "DELETE FROM granted", "CREATE TABLE other (a INTEGER)"]
)
def test_a_statement_that_is_no_query_is_undone(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, sql: str
) -> None:
    with pytest.raises(BadgeTaskFailed, match=r"must be one SELECT|not a query"):
        extract(sql, tmp_path / "out")
    assert warehouse.kind == "duckdb" or untouched(warehouse)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sql", ["-- nothing but a comment", "SELEC 1", "SELECT FROM granted WHERE"])
def test_what_no_database_understands_fails(extract: Extract, warehouse: Warehouse, tmp_path: Path, sql: str) -> None:
    with pytest.raises(Exception, match=r"(?i)syntax|query|SELECT"):
        extract(sql, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_equal_column_names_are_refused(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    joined = "SELECT * FROM granted g JOIN granted h ON g.customer_id = h.customer_id"
    if warehouse.kind == "duckdb":  # names the second one customer_id_1 in a SELECT *
        joined = "SELECT g.customer_id, h.customer_id FROM granted g, granted h"
    with pytest.raises(BadgeTaskFailed, match=r"column '(badge|customer_id)' twice"):
        extract(joined, tmp_path / "out")
    result = extract("SELECT g.*, 1.5 AS more, 'x' AS other FROM granted g ORDER BY 1", tmp_path / "out")
    assert result["columns"] == ["customer_id", "badge", "more", "other"]
    assert values(result, "customer_id") == [1, 2, 3]


def test_an_empty_result_is_a_dataset_without_rows(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    result = extract("SELECT * FROM granted WHERE 1 = 0", tmp_path / "out", partitions=3)
    assert (result["rows"], result["columns"], len(result["parts"])) == (0, ["customer_id", "badge"], 3)
    for form in (result, result["uri"], result["parts"]):
        facts = open_dataset(form, required_columns=[("customer_id",)]).inspect()
        assert (facts.rows, facts.columns) == (0, ("customer_id", "badge"))


def test_a_failure_within_the_result_keeps_the_dataset(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    earlier = extract("SELECT * FROM granted ORDER BY 1", tmp_path / "out")
    before = sorted((tmp_path / "out").iterdir())
    failing = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
        "SELECT i AS customer_id, abs(-9223372036854775808 + (i <> 90)) AS badge FROM n",
        "duckdb": "SELECT i AS customer_id, CASE WHEN i = 90 THEN error('overflow') END AS badge FROM range(100) n(i)",
        # A subquery of several rows fails only at the row that asks for it.
        "mariadb": "SELECT seq AS customer_id, IF(seq = 90, (SELECT 1 UNION SELECT 2), 1) AS badge FROM seq_1_to_100",
    }
    sql = "SELECT i AS customer_id, 1 / (i - 90) AS badge FROM generate_series(1, 100) AS i"
    with pytest.raises(Exception, match=r"overflow|division by zero|more than 1 row"):
        extract(failing.get(warehouse.kind, sql), tmp_path / "out", fetch_size=10)
    assert values({"uri": "", "parts": earlier["parts"]}, "customer_id") == [1, 2, 3]
    assert values(str(tmp_path / "out"), "customer_id") == [1, 2, 3]
    assert sorted((tmp_path / "out").iterdir()) == before


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("warehouse", ["duckdb", "psycopg3", "psycopg2"], indirect=True)  # SQLite has no such types
def test_naive_and_zoned_instants_stay_what_they_are(extract: Extract, tmp_path: Path) -> None:
    sql = "SELECT TIMESTAMP '2026-01-31 09:00:00' AS naive, TIMESTAMPTZ '2026-01-31 09:00:00+02' AS zoned"
    result = extract(sql, tmp_path / "out")
    assert values(result, "naive") == [datetime.datetime(2026, 1, 31, 9)]
    assert values(result, "zoned") == [1_769_842_800]


@pytest.mark.parametrize("partitions", [2, 1_024])
def test_parts_hold_each_row_and_customer_once(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, partitions: int
) -> None:
    skewed = " UNION ALL ".join(f"SELECT {customer} AS customer_id FROM granted" for customer in ("1", "1", "NULL"))
    sql = f"SELECT customer_id FROM granted UNION ALL SELECT customer_id FROM ({skewed}) AS s"
    result = extract(sql, tmp_path / "out", partitions=partitions)
    parts = [values({"uri": "", "parts": [uri]}, "customer_id") for uri in result["parts"]]
    assert len(parts) == partitions
    for customer, times in ((1, 7), (2, 1), (3, 1), (None, 3)):
        assert [part.count(customer) for part in parts if customer in part] == [times]
