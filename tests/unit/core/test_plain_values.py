"""A value of any class is read as the built-in value that it stands for, or spoils its own row only."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NoReturn
from uuid import UUID

import pendulum
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.plain_values import FLOAT_LIMITS, PLAIN, OddValue, plain

NINE = datetime(2025, 1, 31, 9, tzinfo=UTC)


class Tier(IntEnum):
    GOLD = 7


class Trophy(StrEnum):
    FIRST = "654e08f2041fd452b3ef5b2e"


class Loud(str, Enum):  # noqa: UP042 - as older code has it, whose str() is another text
    FIRST = "654e08f2041fd452b3ef5b2e"


class Boxed(Enum):
    ONE = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Moment(datetime):
    """As pandas has it: what it calculates is of a class of its own."""

    def __sub__(self, other: Any) -> NoReturn:
        raise AttributeError("_to_microseconds")


class Day(date):
    pass


class Exact(Decimal):
    pass


class Kind:
    def __init__(self, kind: str, itemsize: int) -> None:
        self.kind, self.itemsize = kind, itemsize


class Scalar:
    """A number as numpy has it, which is no subclass of Python's own."""

    def __init__(self, value: Any, kind: str = "i", itemsize: int = 8, text: str = "") -> None:
        self._value, self.dtype, self._text = value, Kind(kind, itemsize), text

    def item(self) -> Any:
        return self if self._value is ... else self._value

    def __str__(self) -> str:
        return self._text


class NAType:
    def __bool__(self) -> NoReturn:
        raise TypeError("boolean value of NA is ambiguous")


class NaTType(datetime):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(pendulum.datetime(2025, 1, 31, 9), NINE, id="pendulum"),
        pytest.param(pendulum.datetime(2025, 1, 31, 10, tz="Europe/Berlin"), NINE, id="pendulum with a zone"),
        pytest.param(pendulum.date(2025, 1, 31), date(2025, 1, 31), id="pendulum's date"),
        pytest.param(Moment(2025, 1, 31, 9, tzinfo=UTC), NINE, id="a datetime of another class"),
        pytest.param(Day(2025, 1, 31), date(2025, 1, 31), id="a date of another class"),
        pytest.param(Tier.GOLD, 7, id="IntEnum"),
        pytest.param(Trophy.FIRST, "654e08f2041fd452b3ef5b2e", id="StrEnum"),
        pytest.param(Loud.FIRST, "654e08f2041fd452b3ef5b2e", id="str and Enum"),
        pytest.param(Boxed.ONE, 1, id="Enum"),
        pytest.param(Text("5"), "5", id="a str of another class"),
        pytest.param(Exact("5.0"), Decimal("5.0"), id="a Decimal of another class"),
        pytest.param(UUID(int=5), "00000000-0000-0000-0000-000000000005", id="UUID"),
        pytest.param(bytearray(b"a"), b"a", id="bytearray"),
        pytest.param(Scalar(5), 5, id="int64"),
        pytest.param(Scalar(True, "b", 1), True, id="bool_"),
        pytest.param(Scalar(5.0, "f", 4), 5.0, id="float32"),
        pytest.param(Scalar(1, "M", text="2025-01-31T09:00:00.000000001"), "2025-01-31T09:00:00.000000001", id="M8"),
        pytest.param(Scalar(None, "M", text="NaT"), None, id="M8 without a value"),
        pytest.param(pa.scalar(5), 5, id="Arrow's scalar"),
        pytest.param(NAType(), None, id="pandas.NA"),
        pytest.param(NaTType(1, 1, 1), None, id="pandas.NaT"),
    ],
)
def test_a_subclassed_value_is_its_built_in(value: Any, expected: Any) -> None:
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


def test_plain_and_unknown_values_stay() -> None:
    for value in (None, True, 5, 5.5, "x", [1], {"a": 1}, NINE, timedelta(1), object()):
        assert plain(value) is value


class Hostile:
    dtype = property(lambda self: 1 / 0)
    item = property(lambda self: 1 / 0)

    def __str__(self) -> NoReturn:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("value", [Hostile(), Scalar(...), Scalar([1, 2])], ids=["hostile", "itself", "an array"])
def test_an_object_that_cannot_be_read_never_raises(value: Any) -> None:
    plain(value)


@pytest.mark.parametrize("width", [2, 4])
def test_a_narrow_float_with_lost_digits_is_odd(width: int) -> None:
    limit = float(FLOAT_LIMITS[width])
    assert plain(Scalar(limit - 1, "f", width)) == limit - 1
    assert isinstance(plain(Scalar(limit, "f", width)), OddValue)
    assert isinstance(plain(Scalar(-limit, "f", width)), OddValue)
    assert plain(Scalar(math.inf, "f", width)) == math.inf
    assert math.isnan(plain(Scalar(math.nan, "f", width)))


@settings(max_examples=50, deadline=None)
@given(
    st.integers() | st.text() | st.datetimes() | st.dates() | st.decimals(allow_nan=False) | st.floats(allow_nan=False)
)
def test_a_subclass_says_what_its_base_class_says(value: Any) -> None:
    base = type(value)
    subclass = type("Other", (base,), {})
    if base is datetime:
        other = subclass(*value.timetuple()[:6], value.microsecond, fold=value.fold)
    else:
        other = subclass(*value.timetuple()[:3]) if base is date else subclass(value)
    assert plain(other) == value
    assert type(plain(other)) in PLAIN
