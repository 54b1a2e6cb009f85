"""A value that Python cannot hold spoils its own row, whatever its type; the report shows it as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pendulum
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.plain_values import OddValue
from airflow_provider_capillary.datasets.arrow_values import original_value, python_values
from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError

INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
UNITS = st.sampled_from(["s", "ms", "us", "ns"])
ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "+05:30", "Mars/Olympus"])


def viewed(kind: Any, numbers: st.SearchStrategy[int], storage: pa.DataType) -> st.SearchStrategy[pa.Array[Any]]:
    return st.lists(st.none() | numbers | st.integers(-9, 9), min_size=1, max_size=4).map(
        lambda values: pa.array(values, storage).view(kind)
    )


FLAT = st.one_of(
    viewed(pa.date32(), INT32, pa.int32()),
    viewed(pa.date64(), INT64, pa.int64()),
    st.builds(pa.timestamp, UNITS, ZONES).flatmap(lambda kind: viewed(kind, INT64, pa.int64())),
    UNITS.flatmap(lambda unit: viewed(pa.duration(unit), INT64, pa.int64())),
    viewed(pa.time32("s"), INT32, pa.int32()),
    viewed(pa.time32("ms"), INT32, pa.int32()),
    viewed(pa.time64("us"), INT64, pa.int64()),
    viewed(pa.time64("ns"), INT64, pa.int64()),
    viewed(pa.int64(), INT64, pa.int64()),
    viewed(pa.float64(), INT64, pa.int64()),
    viewed(pa.float32(), INT32, pa.int32()),
    viewed(pa.float16(), st.integers(-(2**15), 2**15 - 1), pa.int16()),
    st.lists(st.binary(max_size=3), min_size=1).map(lambda values: pa.array(values, pa.binary())),
    st.lists(st.binary(max_size=3), min_size=1).map(lambda values: pa.array(values, pa.binary()).view(pa.string())),
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=2, max_value=10**30), min_size=1).map(
        lambda values: pa.array(values, pa.decimal256(76, 2))
    ),
    st.just(pa.nulls(2)),
    st.just(pa.array([(1, 2, 3)], pa.month_day_nano_interval())),
    st.just(pa.array([b"1" * 16, None], pa.uuid())),
)


def runs(array: pa.Array[Any]) -> pa.Array[Any]:
    try:
        return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, len(array) + 1), pa.int32()), array)
    except pa.ArrowInvalid:  # this form alone is not made of values out of their range
        return array


def nested(inner: st.SearchStrategy[pa.Array[Any]]) -> st.SearchStrategy[pa.Array[Any]]:
    def many(array: pa.Array[Any]) -> dict[str, pa.Array[Any]]:
        length = len(array)
        names = pa.array([str(number) for number in range(length)])
        return {
            "list": pa.ListArray.from_arrays(pa.array([0, length], pa.int32()), array),
            "large list": pa.LargeListArray.from_arrays(pa.array([0, length], pa.int64()), array),
            "struct": pa.StructArray.from_arrays([array, array], names=["a", "b"]),
            "struct of one name": pa.StructArray.from_arrays([array, array], names=["a", "a"]),
            "map": pa.MapArray.from_arrays(pa.array([0, length], pa.int32()), names, array),  # type: ignore[call-overload]
            "dictionary": pa.DictionaryArray.from_arrays(pa.array([length - 1, None, 0], pa.int8()), array),
            "union": pa.UnionArray.from_dense(
                pa.array([0] * length, pa.int8()), pa.array(range(length), pa.int32()), [array, names]
            ),
            "runs": runs(array),
        }

    kinds = st.sampled_from(
        ["list", "large list", "struct", "struct of one name", "map", "dictionary", "union", "runs"]
    )
    return st.builds(lambda array, kind: many(array)[kind], inner, kinds)


@settings(max_examples=400, deadline=None)
@given(st.one_of(FLAT, nested(FLAT), nested(nested(FLAT))))
def test_no_value_raises_and_all_are_reported(array: pa.Array[Any]) -> None:
    assert len(python_values(array)) == len(array)
    for index in range(len(array)):
        json.dumps(original_value(array, index), allow_nan=False).encode()
        assert "cannot be written" not in str(original_value(array, index))


@settings(max_examples=100, deadline=None)
@given(st.one_of(FLAT, nested(FLAT)))
def test_any_arrow_file_is_read_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, array: pa.Array[Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.arrow"
    table = pa.table({"any": array})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    dataset = open_dataset(str(path))
    with suppress(DatasetError):
        assert dataset.inspect().rows == len(array)
        assert [repr(value) for window in dataset.windows(1) for value in window.column("any")] == [
            repr(value) for value in python_values(array)
        ]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([6_678_000], pa.int32()).view(pa.date32()), "20253-09-29"),
        (pa.array([2**31 - 1], pa.int32()).view(pa.date32()), "2147483647 days after 1970"),
        (pa.array([6_678_000 * 86_400_000], pa.int64()).view(pa.date64()), "20253-09-29"),
        (pa.array([6 * 10**11], pa.timestamp("s")), "20983-03-30 10:40:00"),
        (pa.array([10**15], pa.timestamp("s")), "1000000000000000 seconds after 1970"),
        (pa.array([2**62], pa.duration("s")), "4611686018427387904"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_what_python_cannot_hold_is_text(array: pa.Array[Any], text: str) -> None:
    [value] = python_values(array)
    assert isinstance(value, OddValue)
    assert value.text == original_value(array, 0) == text


def test_only_the_odd_part_of_a_value_is_text() -> None:
    kind = pa.struct([("id", pa.int64()), ("at", pa.list_(pa.timestamp("ns", "UTC")))])
    array = pa.array([{"id": 7, "at": [1_700_000_000_000_000_007, None]}], kind)
    assert original_value(array, 0) == {"id": 7, "at": ["2023-11-14T22:13:20.000000007+00:00", None]}


def test_narrow_floats_are_taken_while_exact() -> None:
    values = python_values(pa.array([2**24 - 1, 2**24, None], pa.float32()))
    assert values[0] == 2**24 - 1
    assert isinstance(values[1], OddValue)
    assert values[2] is None
    assert original_value(pa.array([2.0**24], pa.float32()), 0) == "1.677721600e+07"  # still no number when read again
    assert isinstance(python_values(pa.array([2048.0], pa.float16()))[0], OddValue)


@pytest.mark.parametrize("kind", [pa.date64(), pa.time32("s"), pa.time64("ns")], ids=str)
def test_a_value_out_of_range_breaks_no_dataset(tmp_path: Path, kind: Any) -> None:
    storage = pa.int32() if kind.bit_width == 32 else pa.int64()
    array = pa.array([1, 2**30], storage).view(kind)
    table = pa.table({"n": [1, 2], "odd": array, "more": pa.array([[1], [2]])})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        dataset = open_dataset(str(tmp_path / name))
        assert dataset.inspect().rows == 2
        assert [window.original(1)["n"] for window in dataset.windows(10)] == [2]


def test_text_within_nested_values_must_still_be_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"n": pa.StructArray.from_arrays([bad], names=["a"])}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="not UTF-8"):
        open_dataset(str(tmp_path / "a.parquet")).inspect()


# ------------------------------------------------------------------------------------------------ 96-bit timestamps


def int96(path: Path, *moments: datetime) -> Dataset:
    table = pa.table({"at": pa.array(moments, pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    return open_dataset(str(path))


def test_96_bit_timestamps_are_read_to_the_last_year(tmp_path: Path) -> None:
    moments = [datetime(2025, 1, 31, 9, 0, 0, 123_456), datetime(5000, 1, 1), datetime(9999, 12, 31, 23, 59, 59)]
    dataset = int96(tmp_path / "a.parquet", *moments)
    [window] = dataset.windows(10)
    assert window.column("at") == moments
    assert [window.original(index)["at"] for index in range(3)] == [
        "2025-01-31T09:00:00.123456", "5000-01-01T00:00:00", "9999-12-31T23:59:59",
    ]  # fmt: skip


@pytest.mark.parametrize("day", [2**31 - 1, 2_440_588 + 2**64 // 86_400_000_000 + 1 + 20_000])
def test_96_bit_timestamps_never_wrap(tmp_path: Path, day: int) -> None:
    path, marked = tmp_path / "a.parquet", datetime(2025, 1, 31)
    table = pa.table({"at": pa.array([marked, datetime(2025, 2, 1)], pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, use_dictionary=False, compression="none")
    days = (marked - datetime(1970, 1, 1)).days + 2_440_588
    content = path.read_bytes()
    written = (0).to_bytes(8, "little") + days.to_bytes(4, "little")
    assert written in content
    path.write_bytes(content.replace(written, written[:8] + day.to_bytes(4, "little")))
    [window] = open_dataset(str(path)).windows(10)
    odd, good = window.column("at")
    assert isinstance(odd, OddValue)
    assert good == datetime(2025, 2, 1)
    assert window.original(0)["at"] == odd.text


# ------------------------------------------------------------------------------------------------------ rows of dicts


class Hostile:
    def __str__(self) -> NoReturn:
        raise RuntimeError("no")

    __repr__ = __str__


def the_row(value: Any) -> tuple[Any, Any]:
    [window] = open_dataset([{"a": value}]).windows(10)
    return window.column("a")[0], window.original(0)["a"]


def test_pendulum_values_are_datetimes() -> None:
    value, original = the_row(pendulum.datetime(2025, 1, 31, 9))
    assert value == datetime(2025, 1, 31, 9, tzinfo=UTC)
    assert type(value) is datetime
    assert original == "2025-01-31T09:00:00+00:00"


def holding_itself() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


@pytest.mark.parametrize(
    "make",
    [
        Hostile,
        holding_itself,
        object,
        lambda: {"a": {Hostile(): Hostile()}},
        lambda: 10**5_000,
        lambda: Decimal("sNaN"),
    ],
)
def test_a_failing_object_is_fingerprinted_and_reported(make: Callable[[], Any]) -> None:
    def fingerprint() -> str:
        return open_dataset([{"a": make()}]).inspect().fingerprint

    assert fingerprint() == fingerprint()  # no address of an object in it, or a retry would be another dataset
    json.dumps(the_row(make())[1], allow_nan=False)


VALUES: Sequence[Any] = [pendulum.date(2025, 1, 31), date(2025, 1, 31), "\ud800", {1: 2}, {"x"}, memoryview(b"a"), 5]


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=5))
def test_rows_of_mixed_classes_come_in_order(values: list[Any]) -> None:
    [window] = open_dataset([{"a": value} for value in values]).windows(10)
    assert len(window.column("a")) == len(values)
    for index, value in enumerate(values):
        json.dumps(window.original(index)["a"]).encode()
        assert window.column("a")[index] == value
