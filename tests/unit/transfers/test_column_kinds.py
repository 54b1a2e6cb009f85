"""A column gets the narrowest Arrow type that changes none of its values, or is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.transfers.column_kinds import (
    NOTHING,
    UnfitValuesError,
    arrow_type,
    as_array,
    kind_of,
    widened,
)

ZONED = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
NAIVE = datetime(2026, 1, 1, 12)


def stored(values: list[Any]) -> tuple[pa.DataType, list[Any]]:
    array = as_array(values, kind_of(values))
    return array.type, array.to_pylist()


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
def test_values_of_one_sort_keep_their_type_and_their_worth(values: list[Any], kind: pa.DataType) -> None:
    assert stored(values) == (kind, values)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "a", None], ["1", "a", None]),
        ([1, 2.5], ["1", "2.5"]),
        ([True, 1], ["true", "1"]),
        ([Decimal("1.50"), "x"], ["1.5", "x"]),
        ([Decimal("100"), "x"], ["100", "x"]),
        ([Decimal("NaN"), Decimal("1.0")], ["NaN", "1"]),
        ([ZONED, NAIVE], ["2026-01-01T10:00:00+00:00", "2026-01-01T12:00:00"]),
        ([ZONED, "soon"], ["2026-01-01T10:00:00+00:00", "soon"]),
        ([date(2026, 1, 1), NAIVE], ["2026-01-01", "2026-01-01T12:00:00"]),
        ([10**80, 1], [str(10**80), "1"]),
        ([{"a": [1, Decimal("2.50")]}, None], ['{"a":[1,"2.50"]}', None]),
        ([UUID(int=1)], ["00000000-0000-0000-0000-000000000001"]),
    ],
    ids=str,
)
def test_mixed_values_become_text_each_in_its_one_exact_form(values: list[Any], texts: list[Any]) -> None:
    assert stored(values) == (pa.string(), texts)


class _Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([b"a", "a"], "binary values and others"),
        ([_Colour.RED], "the class _Colour"),
        (["\ud800"], "cannot be written"),
    ],
    ids=["binary and text", "foreign class", "half a character"],
)
def test_values_without_a_safe_type_are_refused(values: list[Any], reason: str) -> None:
    with pytest.raises(UnfitValuesError, match=reason):
        stored(values)


VALUES = st.none() | st.integers() | st.text() | st.floats(allow_nan=False) | st.decimals() | st.dates() | st.booleans()
INSTANTS = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7, minutes=-30))]))


@given(st.lists(st.lists(VALUES | INSTANTS | st.datetimes(), max_size=4), max_size=4))
def test_widening_does_not_depend_on_how_the_rows_are_grouped(groups: list[list[Any]]) -> None:
    whole = [value for group in groups for value in group]
    kind = NOTHING
    for group in groups:
        kind = widened(kind, kind_of(group))
    assert arrow_type(kind) == arrow_type(kind_of(whole))
    # Stored in the kind of its group first and then rewritten, or stored at once: the same.
    rewritten = [
        value for group in groups for value in as_array(as_array(group, kind_of(group)).to_pylist(), kind).to_pylist()
    ]
    assert rewritten == as_array(whole, kind).to_pylist()


@given(st.lists(VALUES | INSTANTS, min_size=1, max_size=6))
def test_a_column_that_is_not_made_text_equals_its_values(values: list[Any]) -> None:
    kind, read = stored(values)
    if kind != pa.string():
        assert read == values
