"""Parts hold every row once, in order, one customer in one part, and types that suit the whole result."""

from __future__ import annotations

import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.exceptions import DatasetError
from airflow_provider_capillary.transfers.part_writer import PartWriter, partition_of, partitions_of


def written(folder: Path, *groups: list[tuple[Any, ...]], partitions: int = 1) -> list[pa.Table]:
    writer = PartWriter(folder, ["customer_id", "value"], partitions, "customer_id")
    for group in groups:
        writer.write(group)
    assert writer.rows == sum(map(len, groups))
    return [pq.read_table(path) for path in writer.finish()]


def column(table: pa.Table, name: str) -> list[Any]:
    return table.column(name).to_pylist()


def test_a_customers_rows_share_a_part_in_order(tmp_path: Path) -> None:
    rows = [(number % 50, number) for number in range(1_000)]
    parts = written(tmp_path, rows[:300], rows[300:], partitions=4)
    seen: dict[int, int] = {}
    for part, table in enumerate(parts):
        values = column(table, "value")
        assert values == sorted(values)
        for customer in column(table, "customer_id"):
            assert seen.setdefault(customer, part) == part
    assert sorted(value for table in parts for value in column(table, "value")) == list(range(1_000))


def test_all_parts_are_written_even_without_rows(tmp_path: Path) -> None:
    parts = written(tmp_path, [(1, 1)], partitions=5)
    assert [table.num_rows for table in parts if table.num_rows] == [1]
    assert {table.schema for table in parts} == {pa.schema([("customer_id", pa.int64()), ("value", pa.int64())])}


def test_empty_result_has_its_columns(tmp_path: Path) -> None:
    [table] = written(tmp_path)
    assert table.column_names == ["customer_id", "value"]
    assert table.num_rows == 0


@pytest.mark.parametrize(
    ("groups", "kind", "values"),
    [
        ([[None], [7], [None]], pa.int64(), [None, 7, None]),
        ([[1], [2**70]], pa.decimal128(38, 0), [Decimal(1), Decimal(2**70)]),
        ([[1], [Decimal("1.25")], [Decimal("0.5")]], pa.decimal128(38, 2), [1, Decimal("1.25"), Decimal("0.50")]),
        ([[1], [2.5], [None]], pa.float64(), [1.0, 2.5, None]),
        ([[None], ["x"]], pa.string(), [None, "x"]),
    ],
    ids=["late first value", "beyond 64 bits", "finer decimals", "late floats", "late text"],
)
@pytest.mark.parametrize("partitions", [1, 3])
def test_widening_changes_no_written_row(
    tmp_path: Path, groups: list[list[Any]], kind: pa.DataType, values: list[Any], partitions: int
) -> None:
    parts = written(tmp_path, *[[(1, value) for value in group] for group in groups], partitions=partitions)
    table = parts[partition_of(1, partitions)]
    assert table.schema.field("value").type == kind
    assert table.column("value").to_pylist() == values
    assert len({part.schema for part in parts}) == 1


def test_rewritten_layers_leave_no_files_behind(tmp_path: Path) -> None:
    written(tmp_path, [(1, None)], [(1, 1)], [(1, Decimal("1.5"))], partitions=2)
    assert sorted(path.name for path in tmp_path.rglob("*.parquet")) == [
        "part-00000-of-00002.parquet", "part-00001-of-00002.parquet",
    ]  # fmt: skip


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        writer = PartWriter(folder, ["customer_id"], 3, "customer_id")
        writer.write([(number,) for number in range(500)])
        contents.append([path.read_bytes() for path in writer.finish()])
    assert contents[0] == contents[1]


def test_many_rows_are_flushed(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, ["customer_id"], 64, "customer_id")
    for start in range(0, 200_000, 10_000):
        writer.write([(number,) for number in range(start, start + 10_000)])
    paths = writer.finish()
    assert sum(pq.read_metadata(path).num_rows for path in paths) == 200_000
    assert min(pq.read_metadata(path).num_row_groups for path in paths) >= 2


def test_unfit_values_name_the_column_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"'value' .*whole numbers \(first in row 1\) and text \(first in row 3\).*SQL"
    ):
        written(tmp_path, [(1, 7), (2, 8)], [(1, "x")])


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_number_no_float_holds_is_refused(tmp_path: Path, partitions: int) -> None:
    with pytest.raises(
        DatasetError, match=r"whole numbers \(first in row 1\) and floats \(first in row 2\).*unchanged"
    ):
        written(tmp_path, [(1, 2**60 + 1)], [(1, 0.5)], partitions=partitions)


@pytest.mark.parametrize(
    "same", [[7, "7", " 007 ", "+7", "7.0", "7.000 ", Decimal("7.0"), Decimal(7), 7.0], [0, "0", "000"]]
)
def test_a_customer_written_otherwise_is_the_same(same: list[Any]) -> None:
    assert len({partition_of(customer, 97) for customer in same}) == 1


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), Decimal("NaN"), Decimal("Infinity"), "\ud800", None, b"x"])
def test_any_customer_has_a_part(odd: Any) -> None:
    assert 0 <= partition_of(odd, 4) < 4


def test_customers_are_spread_evenly() -> None:
    for partitions in (2, 4, 7, 16):
        shares = Counter(partition_of(customer, partitions) for customer in range(500_000_000, 500_010_000))
        assert len(shares) == partitions
        assert max(shares.values()) < 1.3 * 10_000 / partitions


def test_a_customers_part_is_the_same_in_every_release() -> None:
    assert [partition_of(customer, 8) for customer in (1, 2, 98662653, "abc", None)] == [7, 5, 4, 2, 1]


def test_a_thousand_parts_need_no_open_files(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, ["customer_id", "value"], 1_024, "customer_id")
    before = len(os.listdir("/dev/fd"))
    for start in range(0, 4_000, 1_000):
        writer.write([(number, "x") for number in range(start, start + 1_000)])
        assert len(os.listdir("/dev/fd")) <= before
    paths = writer.finish()
    assert sum(pq.read_metadata(path).num_rows for path in paths) == 4_000
    assert len(paths) == 1_024


@pytest.mark.parametrize("partitions", [1, 3])
def test_wide_rows_are_written_early(tmp_path: Path, partitions: int) -> None:
    writer = PartWriter(tmp_path, ["customer_id", "value"], partitions, "customer_id")
    for number in range(40):
        writer.write([(number, chr(65 + number) * 1_000_000)])
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")) > 1_000
    parts = [pq.read_table(path) for path in writer.finish()]
    read = {row["customer_id"]: row["value"] for part in parts for row in part.to_pylist()}
    assert read == {number: chr(65 + number) * 1_000_000 for number in range(40)}


def test_rows_given_by_name_are_the_same_rows(tmp_path: Path) -> None:
    given: dict[str, list[Any]] = {
        "a": [(1, "x"), (2, None)],
        "b": [{"value": "x", "customer_id": 1}, {"customer_id": 2, "value": None}],
    }
    for name, rows in given.items():
        (tmp_path / name).mkdir()
        writer = PartWriter(tmp_path / name, ["customer_id", "value"], 2, "customer_id")
        writer.write(rows)
        writer.finish()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*.parquet"))]


def test_whole_numbers_have_a_part() -> None:
    customers = [0, 7, -7, 98662653, 2**63 - 1, 2**70, -(2**70)]
    assert partitions_of(customers, 97) == [partition_of(str(customer), 97) for customer in customers]
    assert partitions_of([*customers, None, True], 97) == [partition_of(one, 97) for one in (*customers, None, True)]
