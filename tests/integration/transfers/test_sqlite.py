"""From a SQLite warehouse to a dataset on a local disk: complete, typed, atomic, repeatable."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed
from airflow_provider_capillary.transfers.query_result import Query, read_result

from .conftest import Extract, values

CUSTOMERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i AS customer_id, "


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("warehouse")
def test_a_result_is_read_in_every_form(extract: Extract, tmp_path: Path) -> None:
    target = tmp_path / "out" / "20260101"
    sql = CUSTOMERS.format(1_000) + "printf('%024x', i % 7) AS badge_meta_id FROM n"
    result = extract(sql, target, partitions=3, fetch_size=64)
    assert result["uri"] == str(target)
    stems = [re.fullmatch(r"(.*)-[0-9a-f]{16}\.parquet", part) for part in result["parts"]]
    assert [stem and stem[1] for stem in stems] == [f"{target}/part-0000{n}-of-00003" for n in range(3)]
    assert result["rows"] == 1_000
    assert result["columns"] == ["customer_id", "badge_meta_id"]
    assert json.loads(json.dumps(result)) == result
    for form in (result, result["uri"], result["parts"]):
        assert open_dataset(form, required_columns=[("customerId", "customer_id")]).inspect().rows == 1_000
    assert sorted(values(result, "customer_id")) == list(range(1, 1_001))
    parts = [set(values({"uri": "", "parts": [part]}, "customer_id")) for part in result["parts"]]
    assert all(parts)
    assert sum(map(len, parts)) == 1_000


@pytest.mark.usefixtures("warehouse")
def test_rows_keep_the_order_of_the_result(extract: Extract, tmp_path: Path) -> None:
    result = extract(CUSTOMERS.format(500) + "i FROM n ORDER BY i DESC", tmp_path / "out", fetch_size=7)
    assert values(result, "customer_id") == list(range(500, 0, -1))


def test_types_are_decided_over_the_whole_result(
    extract: Extract, warehouse: sqlite3.Connection, tmp_path: Path
) -> None:
    warehouse.execute("CREATE TABLE t (customer_id, late, amount, big)")
    rows = [(n, None if n < 25 else n, n if n % 2 else n / 4, 2**60 + n) for n in range(30)]
    warehouse.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    warehouse.commit()
    result = extract("SELECT * FROM t", tmp_path / "out", fetch_size=10)
    assert values(result, "late") == [row[1] for row in rows]
    assert values(result, "amount") == [row[2] for row in rows]
    assert values(result, "big") == [row[3] for row in rows]
    schema = pq.read_schema(result["parts"][0])
    assert schema.types == [pa.int64(), pa.int64(), pa.float64(), pa.int64()]


def test_values_without_a_safe_type_leave_no_dataset(
    extract: Extract, warehouse: sqlite3.Connection, tmp_path: Path
) -> None:
    warehouse.execute("CREATE TABLE t (customer_id)")
    warehouse.executemany("INSERT INTO t VALUES (?)", [(None,), (7,), ("a",)])
    warehouse.commit()
    words = (
        r"'customer_id' of the result holds whole numbers \(first in row 2\) and text \(first in row 3\).* in the SQL"
    )
    with pytest.raises(BadgeTaskFailed, match=words):
        extract("SELECT * FROM t", tmp_path / "out", fetch_size=1)
    assert extract("SELECT CAST(customer_id AS TEXT) AS customer_id FROM t", tmp_path / "cast")["rows"] == 3
    shutil.rmtree(tmp_path / "cast")
    assert files(tmp_path) == ["warehouse.db"]


@pytest.mark.usefixtures("warehouse")
def test_a_second_run_replaces_the_first(extract: Extract, tmp_path: Path) -> None:
    target = tmp_path / "out"
    extract(CUSTOMERS.format(100) + "1 FROM n", target, partitions=5)
    result = extract(CUSTOMERS.format(10) + "1 FROM n", target, partitions=2)
    parts = [part.removeprefix(f"{tmp_path}/") for part in result["parts"]]
    assert files(tmp_path) == ["out/_manifest.json", *parts, "warehouse.db"]
    assert open_dataset(str(target)).inspect().rows == result["rows"] == 10


@pytest.mark.usefixtures("warehouse")
def test_the_same_run_returns_and_writes_the_same(extract: Extract, tmp_path: Path) -> None:
    sql = CUSTOMERS.format(1_000) + "i * 2 AS value FROM n ORDER BY i"
    first = extract(sql, tmp_path / "out", partitions=3)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert extract(sql, tmp_path / "out", partitions=3) == first
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("name", ["notes.txt", "part-1.parquet"])
def test_a_folder_with_foreign_files_is_refused(extract: Extract, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("precious")
    with pytest.raises(BadgeTaskFailed, match=f"holds '{name}', which no extract has written"):
        extract("SELECT 1 AS customer_id", tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "precious"


@pytest.mark.usefixtures("warehouse")
def test_target_that_is_a_file_is_refused(extract: Extract, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(BadgeTaskFailed, match="is a file"):
        extract("SELECT 1 AS customer_id", tmp_path / "out")


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("sql", "arguments", "reason"),
    [
        ("SELECT 1 AS id, 2 AS name", {"partitions": 2}, "No column 'customerId' or 'customer_id' .* 'id', 'name'"),
        ("SELECT 1 AS id", {"partitions": 2, "partition_by": "member"}, "No column 'member'"),
        ("SELECT 1 AS customerId, 1 AS CUSTOMER_ID", {"partitions": 2}, "2 columns of the customer, 'customerId', "),
    ],
)
def test_query_that_cannot_be_a_dataset_is_explained(
    extract: Extract, tmp_path: Path, sql: str, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadgeTaskFailed, match=reason):
        extract(sql, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("name", ["member", "MEMBER", '"Member "'])
def test_rows_can_be_divided_by_any_named_column(extract: Extract, tmp_path: Path, name: str) -> None:
    sql = CUSTOMERS.format(100) + f"i % 5 AS {name} FROM n"
    result = extract(sql, tmp_path / "out", partitions="3", partition_by="member")
    parts = [set(values({"uri": "", "parts": [part]}, name.strip('"'))) for part in result["parts"]]
    assert sorted(member for part in parts for member in part) == [0, 1, 2, 3, 4]


def test_connection_that_is_no_database_is_refused(
    extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FILES", json.dumps({"conn_type": "fs"}))
    with pytest.raises(
        BadgeTaskFailed, match="'files' is of type 'fs', which is for no SQL database: its hook FSHook is no DbApiHook"
    ):
        extract("SELECT 1", tmp_path / "out", conn_id="files")


@pytest.mark.usefixtures("warehouse")
def test_a_part_that_lost_rows_is_noticed(extract: Extract, tmp_path: Path) -> None:
    [part] = extract(CUSTOMERS.format(10) + "1 FROM n", tmp_path / "out")["parts"]
    pq.write_table(pq.read_table(part).slice(0, 9), part)
    with pytest.raises(DatasetError, match="reported 10 rows, but its files hold 9"):
        open_dataset(str(tmp_path / "out")).inspect()


class SplittingHook(SqliteHook):
    """Splits unless it is asked not to, as hooks for some warehouses do."""

    def run(self, sql: Any, split_statements: bool = True, **named: Any) -> Any:  # type: ignore[override]
        return super().run(sql, split_statements=split_statements, **named)


class StubbornHook(SqliteHook):
    """Splits whatever it is asked."""

    def run(self, sql: Any, **named: Any) -> Any:  # type: ignore[override]
        return super().run(sql, **{**named, "split_statements": True})


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("hook", [SplittingHook, StubbornHook])
def test_two_statements_results_are_never_mixed_up(hook: type[SqliteHook]) -> None:
    taken: list[Any] = []
    query = Query("SELECT 1 AS a; SELECT 2 AS a", None, 10)
    with pytest.raises(ConfigurationError, match="more than one statement"):
        read_result(hook(sqlite_conn_id="warehouse"), query, lambda columns, shares: taken.extend(shares))
    assert taken in ([], [[(1,)], []])
