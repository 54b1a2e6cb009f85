"""What is read is what was written, in order, row for row, whatever the format and the layout of files."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.formats import FORMATS, FileFormat
from airflow_provider_capillary.datasets.open_dataset import open_dataset


def column(dataset: Dataset, name: str, rows: int = 100) -> list[Any]:
    return [value for window in dataset.windows(rows) for value in window.column(name)]


def originals(dataset: Dataset, rows: int = 100) -> list[dict[str, Any]]:
    return [window.original(index) for window in dataset.windows(rows) for index in range(len(window))]


def parquet(path: Path, **columns: Any) -> Dataset:
    pq.write_table(pa.table(columns), path)
    return open_dataset(str(path))


def numbered(folder: Path, suffix: str, first: int, last: int) -> str:
    """A file with the column ``n`` that counts from ``first`` to ``last``."""
    path = folder / f"{first:03d}{suffix}"
    numbers = list(range(first, last + 1))
    table = pa.table({"n": pa.array(numbers, pa.int64())})
    if suffix == ".parquet":
        pq.write_table(table, path, row_group_size=4)
    elif suffix in (".arrow", ".feather"):
        options = pa.ipc.IpcWriteOptions(compression="lz4" if suffix == ".feather" else None)
        with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=4)
    else:
        lines = ["n", *numbers] if suffix.startswith(".csv") else [json.dumps({"n": number}) for number in numbers]
        content = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(content, mtime=0) if suffix.endswith(".gz") else content)
    return str(path)


SUFFIXES = [".parquet", ".arrow", ".feather", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"]


def test_the_tests_below_read_every_format() -> None:
    missing = set(FileFormat) - {FORMATS["." + suffix.split(".")[1]] for suffix in SUFFIXES}
    assert not missing, f"give SUFFIXES a name of {missing}, and let numbered() write one"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [1, 3, 7, 1_000])
def test_windows_number_rows_and_cross_no_file(tmp_path: Path, suffix: str, rows: int) -> None:
    first, second = numbered(tmp_path, suffix, 1, 10), numbered(tmp_path, suffix, 11, 17)
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "_SUCCESS").write_bytes(b"x")
    dataset = open_dataset(str(tmp_path), required_columns=[("n",)])
    facts = dataset.inspect()
    assert (facts.rows, facts.columns, facts.sources) == (17, ("n",), (first, second))
    seen = []
    for window in dataset.windows(rows):
        assert 1 <= len(window) <= rows
        for index, value in enumerate(window.column("n")):
            seen.append(int(value))
            assert window.first_row_number + index == int(value)
            assert window.source == (first if int(value) <= 10 else second)
            row = int(value) if int(value) <= 10 else int(value) - 10
            assert window.line(index) == row + suffix.startswith(".csv")  # an editor counts the header
    assert seen == list(range(1, 18))


def test_every_form_reads_the_same_rows(tmp_path: Path) -> None:
    first, second = numbered(tmp_path, ".csv", 1, 2), numbered(tmp_path, ".csv", 3, 4)
    extract = {"uri": str(tmp_path), "parts": [first, second], "rows": 4, "columns": ["n"]}
    forms: list[Any] = [
        str(tmp_path), tmp_path, f"file://{tmp_path}", f"file://{tmp_path}/", [first, second], extract, [extract],
    ]  # fmt: skip
    assert [column(open_dataset(form), "n") for form in forms] == [["1", "2", "3", "4"]] * len(forms)


def test_list_is_read_in_its_own_order(tmp_path: Path) -> None:
    first, second = numbered(tmp_path, ".csv", 1, 2), numbered(tmp_path, ".csv", 3, 4)
    assert column(open_dataset([second, first]), "n") == ["3", "4", "1", "2"]


def test_dataset_can_be_read_as_often_as_needed(tmp_path: Path) -> None:
    dataset = open_dataset(numbered(tmp_path, ".jsonl", 1, 5))
    assert column(dataset, "n", 2) == column(dataset, "n", 3) == [1, 2, 3, 4, 5]
    assert dataset.inspect() is dataset.inspect()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_fingerprint_is_of_the_content(tmp_path: Path, suffix: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    fingerprint = open_dataset(numbered(here, suffix, 1, 5)).inspect().fingerprint
    assert open_dataset(numbered(there, suffix, 1, 5)).inspect().fingerprint == fingerprint
    assert open_dataset(numbered(there, suffix, 1, 6)).inspect().fingerprint != fingerprint


def test_fingerprint_depends_on_the_order_of_the_files(tmp_path: Path) -> None:
    files = [numbered(tmp_path, ".csv", 1, 2), numbered(tmp_path, ".csv", 3, 4)]
    assert open_dataset(files).inspect().fingerprint != open_dataset(files[::-1]).inspect().fingerprint


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b"a,b\n"), ("a.jsonl", b""), ("a.jsonl", b"\n")], ids=["csv", "empty", "blank"]
)
def test_dataset_without_rows_is_valid(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    dataset = open_dataset(str(tmp_path / name), required_columns=[("a",)])
    assert dataset.inspect().rows == 0
    assert list(dataset.windows(10)) == []


def test_parquet_without_rows_has_columns(tmp_path: Path) -> None:
    dataset = parquet(tmp_path / "a.parquet", a=pa.array([], pa.int64()))
    assert dataset.inspect().columns == ("a",)
    assert list(dataset.windows(10)) == []


# -------------------------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_csv_values_come_back_exactly(tmp_path: Path, start: bytes, end: bytes) -> None:
    rows = [b"name,value", b'"a ""quoted"" b", 007 ', b'"x,\r\ny",', b"\xc3\xa9\xf0\x9f\x8f\x85,1e5", b""]
    (tmp_path / "a.csv").write_bytes(start + end.join(rows))
    dataset = open_dataset(str(tmp_path / "a.csv"))
    assert dataset.inspect().columns == ("name", "value")
    assert originals(dataset) == [
        {"name": 'a "quoted" b', "value": " 007 "},
        {"name": "x,\r\ny", "value": ""},
        {"name": "é🏅", "value": "1e5"},
    ]


def test_csv_parts_are_read_by_column_name(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes(b"b,a\n4,3\n")
    dataset = open_dataset(str(tmp_path))
    assert column(dataset, "a") == ["1", "3"]
    assert [list(row.items()) for row in originals(dataset)] == [[("a", "1"), ("b", "2")], [("a", "3"), ("b", "4")]]


# ------------------------------------------------------------------------------------------------------- JSON Lines


def test_json_numbers_of_any_size_and_floats_survive(tmp_path: Path) -> None:
    big = 2**70 + 1
    (tmp_path / "a.jsonl").write_text(f'\ufeff{{"n": {big}, "f": 0.1}}\n{{"n": -9223372036854775809, "f": 1e300}}')
    dataset = open_dataset(str(tmp_path / "a.jsonl"))
    assert column(dataset, "n") == [big, -9223372036854775809]
    assert column(dataset, "f") == [0.1, 1e300]
    assert originals(dataset)[0] == {"n": big, "f": 0.1}


def test_json_columns_are_a_union(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"a": 1}\n{"b": 2, "a": null}\n')
    (tmp_path / "2.jsonl").write_text('{"c": {"x": [1]}}\n')
    dataset = open_dataset(str(tmp_path), required_columns=[("a",), ("z", "c")])
    assert dataset.inspect().columns == ("a", "b", "c")
    assert column(dataset, "a") == [1, None, None]
    assert originals(dataset)[2] == {"a": None, "b": None, "c": {"x": [1]}}


# ---------------------------------------------------------------------------------------------------------- Parquet

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "+05:30"])
def test_instants_are_floored_to_seconds(tmp_path: Path, unit: Any, zone: str) -> None:
    per = UNITS[unit]
    ticks = [0, 1_700_000_000 * per, 1_700_000_000 * per + per - 1, -1, -per, -per - 1, None]
    dataset = parquet(tmp_path / "a.parquet", at=pa.array(ticks, pa.timestamp(unit, zone)))
    assert column(dataset, "at") == [None if tick is None else tick // per for tick in ticks]


@given(st.lists(st.none() | st.integers(-(2**62), 2**62), min_size=1, max_size=50))
def test_flooring_is_exact_for_any_instant(ticks: list[int | None]) -> None:
    from airflow_provider_capillary.datasets.arrow_values import python_values

    array = pa.array(ticks, pa.timestamp("us", "UTC"))
    assert python_values(array) == [None if tick is None else tick // 1_000_000 for tick in ticks]
    assert python_values(array.slice(1)) == [None if tick is None else tick // 1_000_000 for tick in ticks[1:]]


@pytest.mark.parametrize("unit", UNITS)
def test_naive_timestamps_stay_naive(tmp_path: Path, unit: Any) -> None:
    ticks = [0, 1_700_000_000 * UNITS[unit], -1 * UNITS[unit], None]
    dataset = parquet(tmp_path / "a.parquet", at=pa.array(ticks, pa.timestamp(unit)))
    assert column(dataset, "at") == [
        datetime(1970, 1, 1), datetime(2023, 11, 14, 22, 13, 20), datetime(1969, 12, 31, 23, 59, 59), None,
    ]  # fmt: skip


def test_parquet_values_come_as_python_values(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["a", None, "é"]),
        "large": pa.array(["a", None, "é"], pa.large_string()),
        "words": pa.array(["a", None, "a"]).dictionary_encode(),
        "whole": pa.array([2**63 - 1, None, -1], pa.int64()),
        "decimal": pa.array([Decimal("1.50"), None, Decimal("-2")], pa.decimal128(20, 2)),
        "day": pa.array([date(2026, 1, 2), None, date(1969, 1, 1)]),
        "nested": pa.array([{"x": [1]}, None, {"x": []}]),
        "flag": pa.array([True, None, False]),
        "raw": pa.array([b"\xff", None, b""]),
        "clock": pa.array([time(1, 2, 3), None, time(0)], pa.time64("us")),
    }
    dataset = parquet(tmp_path / "a.parquet", **columns)
    expected = {
        "text": ["a", None, "é"],
        "large": ["a", None, "é"],
        "words": ["a", None, "a"],
        "whole": [2**63 - 1, None, -1],
        "decimal": [Decimal("1.50"), None, Decimal("-2.00")],
        "day": [date(2026, 1, 2), None, date(1969, 1, 1)],
        "nested": [{"x": [1]}, None, {"x": []}],
        "flag": [True, None, False],
        "raw": [b"\xff", None, ""],
        "clock": [time(1, 2, 3), None, time(0)],
    }
    assert {name: column(dataset, name, 2) for name in columns} == expected


def test_nan_stays_a_float_nan(tmp_path: Path) -> None:
    values = column(parquet(tmp_path / "a.parquet", x=pa.array([float("nan"), 1.5])), "x")
    assert isinstance(values[0], float)
    assert values[0] != values[0]
    assert values[1] == 1.5


def test_originals_of_parquet_are_exact_json(tmp_path: Path) -> None:
    dataset = parquet(
        tmp_path / "a.parquet",
        berlin=pa.array([1_700_000_000_123_000], pa.timestamp("us", "Europe/Berlin")),
        nano=pa.array([1_700_000_000_000_000_007], pa.timestamp("ns", "UTC")),
        naive=pa.array([-1], pa.timestamp("ms")),
        decimal=pa.array([Decimal("1.50")]),
        nan=pa.array([float("nan")]),
        endless=pa.array([float("-inf")]),
        raw=pa.array([b"\xff\x00"]),
        word=pa.array(["w"]).dictionary_encode(),
        none=pa.array([None], pa.timestamp("us", "UTC")),
        nested=pa.array([{"at": datetime(2026, 1, 1, tzinfo=UTC), "all": [Decimal("2")]}]),
        clock=pa.array([1], pa.time64("ns")),
    )
    [row] = originals(dataset)
    assert list(row.items()) == [
        ("berlin", "2023-11-14T23:13:20.123+01:00"),
        ("nano", "2023-11-14T22:13:20.000000007+00:00"),
        ("naive", "1969-12-31T23:59:59.999"),
        ("decimal", "1.50"),
        ("nan", "NaN"),
        ("endless", "-Infinity"),
        ("raw", "/wA="),
        ("word", "w"),
        ("none", None),
        ("nested", {"at": "2026-01-01T00:00:00+00:00", "all": [2]}),
        ("clock", "00:00:00.000000001"),
    ]
    json.dumps(row, allow_nan=False)


# ------------------------------------------------------------------------------------------------------------- rows


def test_list_of_dicts_is_a_dataset() -> None:
    zoned = datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=timezone(timedelta(0)))
    rows = [{"a": zoned, "b": datetime(2026, 1, 1)}, {"b": Decimal("1.0"), "c": float("nan")}]
    dataset = open_dataset(rows, required_columns=[("a",)])
    facts = dataset.inspect()
    assert (facts.rows, facts.columns, facts.sources) == (2, ("a", "b", "c"), ("rows",))
    assert column(dataset, "a", 1) == [zoned, None]
    assert column(dataset, "b", 1) == [datetime(2026, 1, 1), Decimal("1.0")]
    assert originals(dataset, 1) == [
        {"a": "1969-12-31T23:59:59.500000+00:00", "b": "2026-01-01T00:00:00", "c": None},
        {"a": None, "b": 1, "c": "NaN"},
    ]
    assert [(w.first_row_number, w.line(0), w.source) for w in dataset.windows(1)] == [(1, 1, "rows"), (2, 2, "rows")]


@pytest.mark.parametrize("text", ["look at 0x1f", " at 0xdead", "a\u00a0b", "", "\N{GRINNING FACE}"])
def test_texts_of_rows_are_reported_whole(tmp_path: Path, text: str) -> None:
    for dataset in (open_dataset([{"a": text, text: [text]}]), parquet(tmp_path / "a.parquet", a=pa.array([text]))):
        [row] = originals(dataset)
        assert row["a"] == text
        assert row.get(text, [text]) == [text]


def test_texts_like_addresses_are_different_datasets() -> None:
    first, second = (open_dataset([{"a": f"at 0x{digit}"}]).inspect().fingerprint for digit in "12")
    assert first != second


def test_rows_have_a_fingerprint_of_their_content() -> None:
    def fingerprint(*rows: dict[str, Any]) -> str:
        return open_dataset(list(rows)).inspect().fingerprint

    assert fingerprint({"a": 1}, {"a": 2}) == fingerprint({"a": 1}, {"a": 2})
    assert len({fingerprint({"a": 1}), fingerprint({"a": "1"}), fingerprint({"b": 1}), fingerprint({"a": None})}) == 4


def test_ten_thousand_rows_are_a_dataset() -> None:
    assert open_dataset([{"a": 1}] * 10_000).inspect().rows == 10_000
    assert open_dataset([], required_columns=[("a",)]).inspect().rows == 0
