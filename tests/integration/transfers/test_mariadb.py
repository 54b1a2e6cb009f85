"""MariaDB, and what its driver gives: streamed where the connection asks for it, and nothing changed on the way."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed

from .conftest import Extract, values
from .warehouses import Warehouse, mariadb_of


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return mariadb_of(request, monkeypatch)


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("CAST(18446744073709551615 AS UNSIGNED)", 18446744073709551615),
        ("CAST(9223372036854775807 AS SIGNED)", 9223372036854775807),
        ("CAST(77 AS DECIMAL(19, 0))", Decimal(77)),
        ("CAST('2025-01-31 09:00:00.5' AS DATETIME(6))", datetime.datetime(2025, 1, 31, 9, 0, 0, 500_000)),
        ("CAST('2025-01-31' AS DATE)", datetime.date(2025, 1, 31)),
        ("CAST('a' AS CHAR(24))", "a"),
        ("_binary 'a'", "a"),
        ("x'ff'", b"\xff"),
        ("true", 1),
        ("NULL", None),
        ("JSON_OBJECT('a', 1)", '{"a": 1}'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_of_its_types_keeps_its_worth(extract: Extract, tmp_path: Path, sql: str, value: Any) -> None:
    assert values(extract(f"SELECT {sql} AS a", tmp_path / "out"), "a") == [value]


def test_its_dates_of_zeros_are_never_an_instant(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.run("CREATE TABLE t (a DATETIME)")
    warehouse.run("INSERT IGNORE INTO t VALUES ('0000-00-00'), ('2025-01-31')")
    with pytest.raises(
        BadgeTaskFailed, match=r"text \(first in row 1\) and datetimes without a zone .*row 2.* in the SQL"
    ):
        extract("SELECT a FROM t ORDER BY a", tmp_path / "out")
    odd, good = values(extract("SELECT CAST(a AS CHAR) AS a FROM t ORDER BY a", tmp_path / "out"), "a")
    assert (odd, good) == ("0000-00-00 00:00:00", "2025-01-31 00:00:00")


def test_a_large_result_comes_whole(
    extract: Extract, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT seq AS customer_id FROM seq_1_to_30000"
    expected = list(range(1, 30_001))
    assert values(extract(sql, tmp_path / "streamed", fetch_size=1_000), "customer_id") == expected
    fields = {"conn_type": "mysql", "host": warehouse.place, "login": "root", "schema": "warehouse"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    assert values(extract(sql, tmp_path / "held", fetch_size=1_000), "customer_id") == expected
