"""From DuckDB by Arrow: the parts are those, byte by byte, that the same rows give one by one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed
from airflow_provider_capillary.transfers import duckdb_arrow
from airflow_provider_capillary.transfers.part_writer import PartWriter

from .conftest import Extract
from .warehouses import Warehouse, warehouse_of


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return warehouse_of("duckdb", tmp_path, request, monkeypatch)


@contextmanager
def shares_seen() -> Iterator[list[type]]:
    """The classes in which rows reach the writer, while the block runs."""
    seen: list[type] = []
    write = PartWriter.write

    def noted(self: PartWriter, rows: Any) -> None:
        if len(rows):
            seen.append(type(rows))
        write(self, rows)

    with patch.object(PartWriter, "write", noted):
        yield seen


def both_ways(extract: Extract, sql: str, **arguments: Any) -> set[type]:
    """Extract by Arrow and row by row; the names of parts show their content. Gives the classes of the first way."""
    with tempfile.TemporaryDirectory() as folder:
        with shares_seen() as seen:
            by_arrow = extract(sql, f"{folder}/out", **arguments)
        with patch.object(duckdb_arrow, "_relation", lambda *_: None), shares_seen() as of_rows:
            by_rows = extract(sql, f"{folder}/out", **arguments)
    assert set(of_rows) <= {list}
    assert by_arrow == by_rows
    return set(seen)


#: Expressions over ``n`` whose values come by Arrow.
SAME = {
    "bool": "n % 2 = 0",
    "tinyint": "(n % 100)::TINYINT",
    "ubigint in 64 bits": "n::UBIGINT",
    "ubigint beyond": "18446744073709551615::UBIGINT - n::UBIGINT",
    "bigint": "n - 9223372036854775807",
    "decimal of whole numbers": "n::DECIMAL(18, 0)",
    "decimal": "(n / 7)::DECIMAL(38, 9)",
    "float": "(n / 7)::FLOAT",
    "double": "CASE n % 4 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-inf'::DOUBLE ELSE n / 7 END",
    "text": "repeat('ä\U0001f600,\"', n % 5)",
    "blob": "('x' || n)::BLOB",
    "enum": "(['gold', 'blue', 'ümlaut'])[n % 3 + 1]::ENUM('gold', 'blue', 'ümlaut')",
    "uuid": "('654e08f2-041f-d452-b3ef-' || lpad(n::VARCHAR, 12, '0'))::UUID",
    "date": "DATE '1969-12-30' + n::INTEGER",
    "naive": "TIMESTAMP '1969-12-31 23:59:59.5' + n * INTERVAL '333333 microseconds'",
    "naive in seconds": "(TIMESTAMP '1969-12-31 23:59:50' + n * INTERVAL '1 second')::TIMESTAMP_S",
    "naive in milliseconds": "(TIMESTAMP '1969-12-31 23:59:59' + n * INTERVAL '7 milliseconds')::TIMESTAMP_MS",
    "instant": "TIMESTAMPTZ '2026-03-29 00:59:59+00' + n * INTERVAL '1 second'",
    "only missing": "NULL::INTEGER",
    "late missing": "CASE WHEN n < 9 THEN n END",
    "late present": "CASE WHEN n > 9 THEN TIMESTAMP '2026-01-01' END",
}
#: Whose Arrow values would be others than the driver gives row by row.
OTHERS = {
    "hugeint": "n::HUGEINT * 1000000000000000000000000000000",
    "nanoseconds": "make_timestamp_ns(1767225600123456789 + n)",
    "time": "TIME '12:00:00' + n * INTERVAL '1 second'",
    "interval": "n * INTERVAL '1 day'",
    "list": "[n, NULL]",
    "list of enums": "[(['a', 'b'])[n % 2 + 1]::ENUM('a', 'b')]",
    "list of decimals": "[n::DECIMAL(5, 2)]",
    "struct": "{'customer': n, 'at': TIMESTAMP '2026-01-01'}",
    "map": "MAP {n: 'x'}",
}
#: Days beyond Python's calendar, among others within it, which the driver gives as the last and the first day of it.
ODD = {
    "endless date": "CASE n WHEN 5 THEN DATE 'infinity' WHEN 6 THEN DATE '-infinity' ELSE DATE '2026-01-01' END",
    "endless naive": "CASE n WHEN 5 THEN TIMESTAMP 'infinity' ELSE TIMESTAMP '2026-01-01' END",
}
#: Those which it gives as text, or without their zone.
UNHELD = {
    "endless instant": "CASE n WHEN 25 THEN TIMESTAMPTZ '-infinity' ELSE TIMESTAMPTZ '2026-01-01 00:00:00+00' END",
    "year 20250": "CASE n WHEN 5 THEN DATE '20250-01-01' ELSE DATE '2026-01-01' END",
    "naive in year 20250": "CASE n WHEN 29 THEN TIMESTAMP '20250-01-01' ELSE TIMESTAMP '2026-01-01' END",
    "before Christ": "CASE n WHEN 5 THEN TIMESTAMP '0044-03-15 (BC) 12:00:00' ELSE TIMESTAMP '2026-01-01' END",
    "seconds in year 20250": "CASE n WHEN 5 THEN TIMESTAMP_S '20250-01-01 00:00:00' ELSE TIMESTAMP_S '2026-01-01' END",
}
SELECT = 'SELECT n AS "CUSTOMER_ID", {} AS "Odd Name" FROM range(30) AS r(n)'


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("name", SAME)
def test_types_by_arrow_give_the_same_parts(extract: Extract, name: str) -> None:
    for arguments in ({}, {"fetch_size": 7, "partitions": 3}):
        assert both_ways(extract, SELECT.format(SAME[name]), **arguments) == {pa.RecordBatch}


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("name", OTHERS)
def test_types_arrow_would_change_come_by_row(extract: Extract, name: str) -> None:
    assert both_ways(extract, SELECT.format(OTHERS[name]), fetch_size=7) == {list}


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("name", ODD)
def test_only_impossible_days_come_by_row(extract: Extract, name: str) -> None:
    assert both_ways(extract, SELECT.format(ODD[name]), fetch_size=7) == {pa.RecordBatch, list}


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("name", UNHELD)
def test_impossible_days_are_refused(extract: Extract, tmp_path: Path, name: str) -> None:
    messages = set()
    for relation in (duckdb_arrow._relation, lambda *_: None):
        with patch.object(duckdb_arrow, "_relation", relation), pytest.raises(BadgeTaskFailed) as error:
            extract(SELECT.format(UNHELD[name]), tmp_path / "out", fetch_size=7)
        messages.add(str(error.value))
    [message] = messages
    assert re.search(r"^Column 'Odd Name' .*first in row 1\) and .*first in row (6|26|30)\).* in the SQL", message)


@pytest.mark.usefixtures("warehouse")
def test_rows_are_divided_by_any_column_alike(extract: Extract) -> None:
    for expression in SAME.values():
        both_ways(extract, SELECT.format(expression), fetch_size=7, partitions=3, partition_by="Odd Name")


@pytest.mark.usefixtures("warehouse")
def test_parameters_reach_a_result_that_comes_by_arrow(extract: Extract) -> None:
    sql = "SELECT n AS customer_id FROM range(30) AS r(n) WHERE n > {}"
    for placeholder, parameters in (("$least", {"least": 5}), ("?", [5]), ("$1", (5,))):
        assert both_ways(extract, sql.format(placeholder), parameters=parameters) == {pa.RecordBatch}


def test_nothing_runs_twice_or_half(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.run("CREATE SEQUENCE numbers")
    warehouse.run("CREATE TABLE earned AS SELECT 1 AS customer_id")
    extract("SELECT nextval('numbers') AS customer_id FROM range(3)", tmp_path / "out")
    extract("INSERT INTO earned VALUES (2) RETURNING customer_id", tmp_path / "out")
    extract("INSERT INTO earned VALUES (3); SELECT [customer_id] AS a FROM earned", tmp_path / "out")
    extract("INSERT INTO earned VALUES (4); FROM earned", tmp_path / "out")
    assert warehouse.rows("SELECT nextval('numbers')") == [(4,)]
    assert warehouse.rows("FROM earned ORDER BY ALL") == [(1,), (2,), (3,), (4,)]


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("sql", "arguments", "words"),
    [
        ("SELECT 1 AS a, 2 AS a", {}, "column 'a' twice"),
        ("SELECT 1 AS a WHERE 1 = ?", {}, "parameter"),
        ("SELECT 1 AS a WHERE 1 = ?", {"parameters": [1, 2]}, "parameters do not fit"),
        ("SELECT * FROM there_is_none", {}, "there_is_none"),
        ("SELECT n AS a FROM range(3) AS r(n)", {"partitions": 2}, "No column 'customerId'"),
        ("SELECT ('1' || repeat('x', n::INT))::INT AS a FROM range(30000) AS r(n)", {}, "1x"),
    ],
)
def test_errors_are_the_same_as_by_row(
    extract: Extract, tmp_path: Path, sql: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises((BadgeTaskFailed, duckdb.Error), match=words) as by_arrow:
        extract(sql, tmp_path / "out", **arguments)
    with (
        patch.object(duckdb_arrow, "_relation", lambda *_: None),
        pytest.raises((BadgeTaskFailed, duckdb.Error)) as by_rows,
    ):
        extract(sql, tmp_path / "out", **arguments)
    assert by_arrow.type is by_rows.type
    assert str(by_arrow.value) == str(by_rows.value)


ARRAYS: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]] = st.sampled_from(
    [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float32(), st.floats(width=32)),
        (pa.string(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)),
        (pa.date32(), st.dates()),
        (pa.timestamp("us"), st.datetimes()),
        (pa.timestamp("us", "UTC"), st.datetimes()),
        (pa.decimal128(18, 3), st.decimals(-(10**12), 10**12, places=3)),
        (pa.bool_(), st.booleans()),
    ]
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_values_are_the_same_parts(extract: Extract, warehouse: Warehouse, data: st.DataObject) -> None:
    columns: dict[str, Any] = {}
    for number in range(3):
        kind, values = data.draw(ARRAYS)
        given_values = data.draw(st.lists(st.none() | values, min_size=12, max_size=12))
        columns[f"c{number}"] = pa.array(given_values, kind)
    with closing(duckdb.connect(warehouse.place)) as connection:
        connection.register("given_rows", pa.table(columns))
        connection.execute("CREATE OR REPLACE TABLE earned AS FROM given_rows")
    both_ways(extract, "FROM earned", fetch_size=5, partitions=2, partition_by="c0")
