"""A column gets the narrowest Arrow type that changes none of its values, or is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from itertools import permutations
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.exceptions import DatasetError
from airflow_provider_capillary.transfers.column_types import Column

ZONED = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
NAIVE = datetime(2026, 1, 1, 12)


def stored(*shares: list[Any]) -> tuple[pa.DataType, list[Any]]:
    """Each share written in the type of its time, and brought to the type of the whole."""
    column, written, rows = Column("value"), [], 0
    for share in shares:
        column.widen(share, rows)
        written.append(column.array(share, rows))
        rows += len(share)
    return column.type, [value for array in written for value in column.cast(array).to_pylist()]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, None], pa.string()),
        ([None, "007", " x "], pa.string()),
        ([1, None, -(2**63), 2**63 - 1], pa.int64()),
        ([1.5, float("inf"), None], pa.float64()),
        ([True, None], pa.bool_()),
        ([date(2026, 1, 1), None], pa.date32()),
        ([NAIVE, None], pa.timestamp("us")),
        ([ZONED, None], pa.timestamp("us", tz="UTC")),
        ([b"\xff", None], pa.binary()),
        ([Decimal("1.50"), Decimal(-3), None], pa.decimal128(38, 2)),
        ([Decimal("0.001"), Decimal("1E+5")], pa.decimal128(38, 3)),
        ([1, Decimal("1.5")], pa.decimal128(38, 1)),
        ([1, 2**63], pa.decimal128(38, 0)),
        ([10**50, Decimal("0.1")], pa.decimal256(76, 1)),
    ],
    ids=str,
)
def test_values_of_one_type_keep_it(values: list[Any], kind: pa.DataType) -> None:
    assert stored(values) == (kind, values)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([{"a": [1, Decimal("2.50")]}, None], ['{"a":[1,"2.50"]}', None]),
        ([[ZONED, None]], ['["2026-01-01T12:00:00+02:00",null]']),
        ([UUID(int=1), "x"], ["00000000-0000-0000-0000-000000000001", "x"]),
        ([time(12), timedelta(days=1)], ["12:00:00", "1 day, 0:00:00"]),
    ],
    ids=str,
)
def test_values_without_a_type_become_text(values: list[Any], texts: list[Any]) -> None:
    assert stored(values) == (pa.string(), texts)


SORTS: dict[str, Any] = {
    "true or false": True,
    "whole numbers": 1,
    "floats": 1.5,
    "decimals": Decimal("1.50"),
    "dates": date(2026, 1, 1),
    "datetimes with a zone": ZONED,
    "datetimes without a zone": NAIVE,
    "binary values": b"a",
    "text": "a",
}
HELD = ({"whole numbers", "decimals"}, {"whole numbers", "floats"})


@pytest.mark.parametrize(("first", "second"), [pair for pair in permutations(SORTS, 2) if {*pair} not in HELD])
def test_two_sorts_are_refused_with_their_rows(first: str, second: str) -> None:
    words = rf"Column 'value' .*holds {first} \(first in row 2\) and {second} \(first in row 4\).*in the SQL"
    one, other = SORTS[first], SORTS[second]
    for shares in ([[None, one, None, other]], [[None, one], [None], [other, one]], [[None], [one, None, other]]):
        with pytest.raises(DatasetError, match=words):
            stored(*shares)


@pytest.mark.parametrize("shares", [[[1, 2.5, None]], [[1], [2.5, None]], [[2.5][:0], [1], [2.5], [None]]], ids=str)
def test_whole_numbers_and_floats_are_floats(shares: list[list[Any]]) -> None:
    assert stored(*shares) == (pa.float64(), [1.0, 2.5, None])


@pytest.mark.parametrize("shares", [[[2**53 + 1, 2.5]], [[2**53 + 1], [2.5]], [[2.5], [-(2**53) - 1]]], ids=str)
def test_a_number_a_float_would_round_is_refused(shares: list[list[Any]]) -> None:
    with pytest.raises(
        DatasetError, match=r"whole numbers \(first in row \d\).* holds all of them unchanged.*in the SQL"
    ):
        stored(*shares)


@pytest.mark.parametrize(
    ("shares", "kind"),
    [
        ([[1], [2**63]], pa.decimal128(38, 0)),
        ([[1], [Decimal("1.25")], [Decimal("0.5")]], pa.decimal128(38, 2)),
        ([[Decimal(10**30)], [Decimal("0.1234567890")]], pa.decimal256(76, 10)),
        ([[2**63 - 1], [Decimal("1e-20")]], pa.decimal256(76, 20)),
        ([[None], [None, ZONED]], pa.timestamp("us", tz="UTC")),
    ],
    ids=str,
)
def test_later_values_widen_the_type_and_change_none(shares: list[list[Any]], kind: pa.DataType) -> None:
    assert stored(*shares) == (kind, [value for share in shares for value in share])


class _Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ([[None, 1], [_Colour.RED]], "a value in row 3 .*of the class _Colour"),
        ([["a"], ["b", "\ud800"]], "a value in row 3 that cannot be written"),
        ([[Decimal(1)], [Decimal("NaN")]], "a value in row 2 .*no finite number"),
        ([[Decimal("NaN")], [1]], "a value in row 1 .*no finite number"),
        ([[Decimal(1), Decimal("-Infinity")]], "a value in row 2 .*no finite number"),
        ([[1], [1, 10**80]], "a value in row 3 that cannot be written"),
        ([[Decimal("1E+80")]], "a value in row 1 that cannot be written"),
        ([[Decimal("1E+50"), Decimal("1E-50")]], "values that no type holds unchanged"),
        ([[Decimal("1E+50")], [Decimal("1E-50")]], r"decimals \(first in row 1\): no type holds all of them unchanged"),
    ],
    ids=str,
)
def test_values_without_a_safe_type_are_refused(shares: list[list[Any]], reason: str) -> None:
    with pytest.raises(DatasetError, match=rf"Column 'value' of the result holds {reason}.* Cast it .*, in the SQL"):
        stored(*shares)


VALUES = st.none() | st.integers() | st.text() | st.floats(allow_nan=False) | st.decimals() | st.dates() | st.booleans()
INSTANTS = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7, minutes=-30))]))
NUMBERS = st.none() | st.integers(-(2**70), 2**70) | st.decimals(-(10**9), 10**9) | st.floats(allow_nan=False, width=16)


def tried(*shares: list[Any]) -> Any:
    try:
        return stored(*shares)
    except DatasetError:
        return "refused"


@given(st.lists(st.lists(NUMBERS, max_size=3) | st.lists(VALUES | INSTANTS | st.datetimes(), max_size=2), max_size=4))
def test_types_do_not_depend_on_grouping(shares: list[list[Any]]) -> None:
    assert tried(*shares) == tried([value for share in shares for value in share])


@given(st.one_of([st.lists(kind, min_size=1, max_size=6) for kind in (NUMBERS, INSTANTS, VALUES, st.text())]))
def test_values_are_stored_as_they_are_or_refused(values: list[Any]) -> None:
    written = tried(values)
    assert written == "refused" or written[1] == values
