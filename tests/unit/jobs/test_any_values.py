"""Whatever a column holds, mapped or not: each row is one that can be sent, or an issue that the ledger can keep."""

from __future__ import annotations

import enum
import fractions
import json
import pathlib
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pendulum
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError
from airflow_provider_capillary.jobs.account import issue_of
from airflow_provider_capillary.jobs.row_check import RowChecker, badge_ids_of
from airflow_provider_capillary.ledger.facts import RowIssue

BADGE = "654e08f2041fd452b3ef5b2e"
GOOD: dict[str, Any] = {
    "badgeMetaId": BADGE,
    "customerId": 77,
    "earnEventDate": 1_674_292_011,
    "earnExpiresOn": 1_705_828_011,
}
COLUMNS = (*GOOD, "earnEventDateISO", "note")
CHOICES = column_choices(None)


def issues_of(given_dataset: Any, unit: str, zone: Any) -> list[RowIssue]:
    """One issue for each row: its own if it has one, else as if the API had refused it."""
    dataset = open_dataset(given_dataset, required_columns=CHOICES)
    facts = dataset.inspect()
    columns = resolve_columns(CHOICES, facts.columns)
    checker = RowChecker(columns, zone, (), unit, badge_ids_of(dataset, columns.badge_meta_id, 3))
    found: list[RowIssue] = []
    for window in dataset.windows(3):
        badges, issues = checker.check(window)
        found += issues
        found += [issue_of(badge, [window], RowState.REJECTED, "api", "refused") for badge in badges]
        assert len(badges) + len(issues) == len(window)
    assert sorted(issue.row_number for issue in found) == list(range(1, facts.rows + 1))
    for issue in found:
        assert json.loads(json.dumps(issue.original, allow_nan=False)) == issue.original
        assert set(issue.original) == set(facts.columns)
        issue.message.encode()
    return found


ZONES = st.sampled_from([None, UTC, pendulum.timezone("America/New_York")])
UNITS = st.sampled_from(["s", "ms"])

# --------------------------------------------------------------------------------------------- rows of dicts


class Fails:
    """An object whose every answer is an error."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


class Level(enum.IntEnum):
    """A whole number by another name."""

    ONE = 1


class Colour(enum.Enum):
    """A value that is no number and no text."""

    RED = object()


class LooksLikeNumpy:
    """What has ``item`` and gives itself, as objects within arrays of numpy do."""

    dtype = type("dtype", (), {"kind": "O", "itemsize": 8})()

    def item(self) -> Any:
        """The object itself."""
        return self


class Yes(int):
    """A number that is equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


ITSELF: list[Any] = []
ITSELF.append(ITSELF)
STRANGE = [
    Level.ONE, Colour.RED, LooksLikeNumpy(), Yes(7), ITSELF, object(), type, print, ..., NotImplemented,
    float("nan"), float("-inf"), 1e308, Decimal("NaN"), Decimal("sNaN"), Decimal("1E+999999"),
    Decimal("-0"), 1 + 2j, fractions.Fraction(1, 3), uuid.UUID(int=7), pathlib.PurePath("a"), range(3), b"\xff", b"77",
    bytearray(b"77"), memoryview(b"77"), "\ud800", "\0", "\u0663", "\uff17", "1" * 10_000, "=1+1",
    datetime.max, datetime.min,
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), date.max, date.min, time(23, 59, tzinfo=UTC),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), timedelta.max, pendulum.date(2025, 1, 1),
    pendulum.datetime(2025, 1, 31), pendulum.duration(days=1), pa.scalar(77), pa.scalar(2**62, pa.timestamp("s")),
    pa.scalar(None, pa.int64()),
    pa.scalar([1]), {}, {1: 2}, {"a": {None: b"\xff"}}, set(), {1, "a"}, frozenset({None}), (1,), [[]], True, None,
]  # fmt: skip
SIMPLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(max_size=30), st.binary(max_size=9),
    st.datetimes(timezones=st.none() | st.timezones()), st.dates(), st.times(), st.timedeltas(), st.uuids(),
    st.sampled_from(STRANGE),
)  # fmt: skip
KEYS = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.dates()
VALUES = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2))


@pytest.mark.parametrize("column", COLUMNS)
@settings(max_examples=30, deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=5), unit=UNITS, zone=ZONES)
def test_any_python_value_spoils_only_its_row(column: str, values: Sequence[Any], unit: str, zone: Any) -> None:
    rows = [{**GOOD, column: value} for value in values]
    assert len(issues_of(rows, unit, zone)) == len(rows)


@pytest.mark.parametrize("column", COLUMNS)
def test_any_object_spoils_only_its_row(column: str) -> None:
    rows = [{**GOOD, column: value} for value in [*STRANGE, Fails(), 10**5000, -(10**5000), {"a": 10**5000}]]
    assert len(issues_of(rows, "s", None)) == len(rows)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(max_size=5) | st.sampled_from(COLUMNS), SIMPLE, max_size=4), max_size=4))
def test_any_keys_are_issues_or_an_error(rows: list[dict[str, Any]]) -> None:
    with suppress(DatasetError):
        issues_of(rows, "s", None)


# --------------------------------------------------------------------------------------------- Arrow

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1, 77, 1_674_292_011, 2**53, 20_250 * 366])
FLAT_TYPES = [
    pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(), pa.float16(),
    pa.float32(), pa.float64(), pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"),
    pa.time64("ns"), *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Kolkata", "+05:30")),
]  # fmt: skip
OTHER = [
    pa.array([b"\xff\xfe", None, b"77"]), pa.array([b"6" * 24, b"\xff" * 24], pa.binary(24)), pa.nulls(2),
    pa.array([b"1" * 12], pa.binary(12)), pa.array(["77", "", None, "\0"], pa.large_string()),
    pa.array(["77"], pa.string_view()), pa.array([b"\xff"], pa.binary_view()),
    pa.array(["a", "b", "a"]).dictionary_encode(), pa.array([77, None, 77]).dictionary_encode(),
    pa.array([True, None]), pa.array([Decimal("77.00"), Decimal("-1.5")], pa.decimal128(38, 10)),
    pa.array([Decimal("7"), None], pa.decimal256(76, 0)), pa.array([[77], None, []], pa.list_(pa.int64())),
    pa.array([[77, 78]], pa.list_(pa.int64(), 2)), pa.array([{"a": 1, "b": [date.max]}]),
    pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), pa.array([b"1" * 16], pa.uuid()),
    pa.array(['{"a": 1}'], pa.json_()), pa.array([1, None], pa.decimal32(9, 2)), pa.array([1], pa.decimal64(18, 2)),
]  # fmt: skip


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Arrays of any bits in any flat type, within lists, structs and dictionaries too."""
    kind = draw(st.sampled_from(FLAT_TYPES))
    width = kind.bit_width
    words = draw(st.lists(st.none() | NUMBERS, min_size=1, max_size=4))
    storage = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[width]
    half = 2 ** (width - 1)
    array: Any = pa.array([word if word is None else (word + half) % (2 * half) - half for word in words], storage)
    array = array.view(kind)
    wrap = draw(st.sampled_from(["flat", "flat", "list", "struct", "dictionary"]))
    if wrap == "list":
        return pa.ListArray.from_arrays(pa.array([0, 1, len(array)], pa.int32()), array)
    if wrap == "struct":
        return pa.StructArray.from_arrays([array, array], names=["a", "b"])
    if wrap == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array([0, None, len(array) - 1], pa.int8()), array)
    return array


def parquet(path: pathlib.Path, column: str, array: pa.Array[Any], **options: Any) -> bool:
    """Write good rows with one column replaced; ``False`` where Parquet has no such type."""
    columns: dict[str, Any] = {name: pa.array([value] * len(array)) for name, value in GOOD.items()}
    try:
        pq.write_table(pa.table({**columns, column: array}), path, **options)
    except (pa.ArrowException, ValueError, OverflowError):
        return False
    return True


@pytest.mark.parametrize("column", COLUMNS)
@settings(max_examples=30, deadline=None)
@given(array=arrays() | st.sampled_from(OTHER), wide=st.booleans(), unit=UNITS, zone=ZONES)
def test_any_arrow_value_spoils_only_its_row(
    tmp_path_factory: pytest.TempPathFactory, column: str, array: pa.Array[Any], wide: bool, unit: str, zone: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any {column}.parquet"
    if parquet(path, column, array, use_deprecated_int96_timestamps=wide):
        assert len(issues_of(str(path), unit, zone)) == len(array)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("array", OTHER, ids=lambda array: str(array.type))
def test_every_arrow_type_spoils_only_its_row(tmp_path: pathlib.Path, column: str, array: pa.Array[Any]) -> None:
    if parquet(tmp_path / "a.parquet", column, array):
        assert len(issues_of(str(tmp_path / "a.parquet"), "s", None)) == len(array)


# --------------------------------------------------------------------------------------------- text

TEXTS = st.text(max_size=20) | st.text("0123456789.,-+eE TZ:/", max_size=30)


@pytest.mark.parametrize("column", COLUMNS)
@settings(max_examples=30, deadline=None)
@given(values=st.lists(TEXTS, min_size=1, max_size=4), unit=UNITS, zone=ZONES)
def test_any_json_line_spoils_only_its_row(
    tmp_path_factory: pytest.TempPathFactory, column: str, values: list[str], unit: str, zone: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any {column}.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode({**GOOD, column: value}) + b"\n" for value in values))
    assert len(issues_of(str(path), unit, zone)) == len(values)
