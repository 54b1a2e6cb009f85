"""From DuckDB, by the hook of a provider that is not ours: streamed, its own types without a loss."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed

from .conftest import Extract, values
from .warehouses import Warehouse, warehouse_of


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return warehouse_of("duckdb", tmp_path, request, monkeypatch)


NOON = datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("TIMESTAMPTZ '2026-01-01 12:00:00+02'", pa.timestamp("us", tz="UTC"), int(NOON.timestamp())),
        ("TIMESTAMP '2026-01-01 12:00:00.5'", pa.timestamp("us"), datetime(2026, 1, 1, 12, 0, 0, 500_000)),
        ("TIMESTAMP_S '2026-01-01 12:00:00'", pa.timestamp("us"), datetime(2026, 1, 1, 12)),
        ("DATE '2026-01-02'", pa.date32(), date(2026, 1, 2)),
        ("98662653::BIGINT", pa.int64(), 98_662_653),
        ("98662653::HUGEINT", pa.int64(), 98_662_653),
        (f"{2**127 - 1}::HUGEINT", pa.decimal256(76, 0), 2**127 - 1),
        ("1.50::DECIMAL(10, 3)", pa.decimal128(38, 3), Decimal("1.5")),
        ("98662653::DECIMAL(18, 0)", pa.decimal128(38, 0), 98_662_653),
        ("'654e08f2-041f-d452-b3ef-5b2e00000000'::UUID", pa.string(), "654e08f2-041f-d452-b3ef-5b2e00000000"),
        ("true", pa.bool_(), True),
        ("1.5::FLOAT", pa.float64(), 1.5),
        ("'a'::ENUM('a', 'b')", pa.string(), "a"),
        ("'\\xAA'::BLOB", pa.binary(), b"\xaa"),
        ("NULL", pa.string(), None),
        ("[1.5::DECIMAL(3, 1), NULL]", pa.string(), '["1.5",null]'),
        ("[TIMESTAMPTZ '2026-01-01 12:00:00+02']", pa.string(), '["2026-01-01T10:00:00Z"]'),
        ("{'a': 1, 'b': 'x'}", pa.string(), '{"a":1,"b":"x"}'),
        ("MAP {1: 'x'}", pa.string(), '{"1":"x"}'),
        ("TIME '12:00:00'", pa.string(), "12:00:00"),
        ("INTERVAL 3 DAYS", pa.string(), "3 days, 0:00:00"),
    ],
)
def test_each_of_its_types_keeps_its_worth(
    extract: Extract, tmp_path: Path, expression: str, kind: pa.DataType, value: Any
) -> None:
    result = extract(f"SELECT {expression} AS value", tmp_path / "out")
    assert pq.read_schema(result["parts"][0]).field("value").type == kind
    assert values(result, "value") == [value]


@pytest.mark.usefixtures("warehouse")
def test_an_endless_instant_is_refused_with_its_row(extract: Extract, tmp_path: Path) -> None:
    sql = "SELECT unnest([TIMESTAMPTZ '2026-01-01 12:00:00+02', 'infinity'::TIMESTAMPTZ]) AS value"
    # DuckDB gives a naive datetime for the endless one, which is none that a person had meant.
    with pytest.raises(
        BadgeTaskFailed, match=r"with a zone \(first in row 1\) and datetimes without .*row 2.* in the SQL"
    ):
        extract(sql, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_session_settings_before_the_query_work(extract: Extract, warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.run("CREATE TABLE earned AS SELECT range AS customer_id FROM range(25000)")
    result = extract("SET threads = 1; FROM earned ORDER BY customer_id DESC", tmp_path / "out", partitions=4)
    assert result["rows"] == 25_000
    assert sorted(values(result, "customer_id")) == list(range(25_000))
