"""Rows read many at a time, and instants given in two columns, end as each would alone."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.column_choice import Columns
from airflow_provider_capillary.core.earned_badge import (
    EARLIEST_INSTANT,
    LARGEST_CUSTOMER_ID,
    LATEST_INSTANT,
    EarnedBadge,
    InvalidRow,
)
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.timestamps import named_zone

from .rows_read import BADGE_ID, COLUMNS, EXPECTED, GOOD, read, read_one

OTHER_BADGE_ID = "696f0fd40772ad476ecf74ac"


ODD_VALUES: list[dict[str, Any]] = [
    {},
    {"badge": BADGE_ID.upper()},
    {"badge": OTHER_BADGE_ID},
    {"badge": None},
    {"badge": 7},
    {"customer": True},
    {"customer": "382442802"},
    {"customer": 382442802.0},
    {"customer": None},
    {"customer": 0},
    {"customer": -1},
    {"customer": 2**63},
    {"customer": 2**63 - 1},
    {"earned": 946_684_799},
    {"earned": 946_684_800},
    {"earned": 1_705_828_011},
    {"earned": 1_705_828_010},
    {"earned": 1_674_292_011_000},
    {"earned": "2023-01-21T09:06:51Z"},
    {"earned": True},
    {"expires": GOOD["earned"]},
    {"expires": 4_102_444_800},
    {"expires": 4_102_444_799},
    {"expires": 1_705_828_011.0},
    {"expires": float("nan")},
    {"expires": None},
]


@pytest.mark.parametrize("changed", ODD_VALUES, ids=str)
def test_a_row_reads_alike_alone_and_among_others(changed: dict[str, Any]) -> None:
    """Windows of nothing but good rows are not looked at row by row: no odd row may pass among them."""
    reader = RowReader(COLUMNS, None)
    read(reader, GOOD)  # the badge is known from now on
    before, odd, after = read(reader, GOOD, {**GOOD, **changed}, GOOD, first=6)
    assert (before, after) == (read(reader, GOOD, first=6)[0], read(reader, GOOD, first=8)[0])
    assert odd == read_one(**changed)


def test_columns_of_different_lengths_are_refused() -> None:
    reader = RowReader(COLUMNS, None)
    read(reader, GOOD)
    with pytest.raises(ValueError, match="zip"):
        list(reader.read(1, [BADGE_ID] * 2, [1, 2], [GOOD["earned"]] * 2, [GOOD["expires"]]))


def test_rows_keep_order_and_number() -> None:
    rows = [GOOD, {**GOOD, "customer": None}, {**GOOD, "customer": "5"}, {**GOOD, "badge": []}, GOOD]
    results = read(RowReader(COLUMNS, None), *rows, first=100)
    assert [result.row_number for result in results] == [100, 101, 102, 103, 104]
    assert [type(result) for result in results] == [EarnedBadge, InvalidRow, EarnedBadge, InvalidRow, EarnedBadge]


@pytest.mark.parametrize("unit", ["s", "ms"])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"customer": 0},
        {"customer": -(2**63)},
        {"customer": None},
        {"earned": EARLIEST_INSTANT - 1},
        {"earned": -1},
        {"expires": LATEST_INSTANT},
        {"expires": GOOD["earned"]},
        {"badge": BADGE_ID.upper()},
        {"badge": None},
    ],
    ids=str,
)
def test_arrow_columns_are_checked_like_values(changed: dict[str, Any], unit: str) -> None:
    rows = [dict(GOOD), {**GOOD, **changed}, dict(GOOD)]
    for row in rows if unit == "ms" else []:
        row.update({name: row[name] and row[name] * 1000 for name in ("earned", "expires")})
    kinds = {"badge": pa.string(), "customer": pa.int64(), "earned": pa.int64(), "expires": pa.int64()}
    arrays = [pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()]
    of_values = read(RowReader(COLUMNS, None, unit, [BADGE_ID]), *[dict(row) for row in rows], first=1)
    assert list(RowReader(COLUMNS, None, unit, [BADGE_ID]).read(1, *arrays)) == of_values


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(EARLIEST_INSTANT, LATEST_INSTANT),
    st.floats(),
    st.decimals(),
    st.text(max_size=80),
    st.sampled_from([BADGE_ID, "5", "1700000000", "2025-01-31T09:00:00Z", "2025-01-31", Decimal("sNaN"), 10**5000]),
    st.binary(max_size=5),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@settings(max_examples=100, deadline=None)
@given(
    badge=st.just(BADGE_ID) | ANYTHING,
    customer=st.just(5) | ANYTHING,
    earned=st.just(GOOD["earned"]) | ANYTHING,
    expires=ANYTHING,
    zone=st.sampled_from([None, "Europe/Berlin", "America/New_York"]),
)
def test_no_value_spoils_more_than_its_row(
    badge: Any, customer: Any, earned: Any, expires: Any, zone: str | None
) -> None:
    row = {"badge": badge, "customer": customer, "earned": earned, "expires": expires}
    before, result, after = read(RowReader(COLUMNS, named_zone(zone)), GOOD, row, GOOD, first=6)
    assert (before, after) == (
        msgspec.structs.replace(EXPECTED, row_number=6),
        msgspec.structs.replace(EXPECTED, row_number=8),
    )
    if isinstance(result, EarnedBadge):
        assert 0 < result.customer_id <= LARGEST_CUSTOMER_ID
        assert EARLIEST_INSTANT <= result.earned_at < result.expires_at < LATEST_INSTANT
        assert all(type(number) is int for number in (result.customer_id, result.earned_at, result.expires_at))
    else:
        assert {fault.column for fault in result.faults} <= row.keys()
        assert all(fault.reason for fault in result.faults)
        assert result.faults


@pytest.mark.parametrize(
    "changed",
    [
        {"earned": 1_674_292_011_999, "expires": 1_705_828_011_000},
        {"earned": "1674292011999", "expires": 1_705_828_011_000.0},
        {"earned": Decimal("1674292011000.5"), "expires": "2024-01-21T09:06:51Z"},
    ],
    ids=str,
)
def test_numbers_are_milliseconds_where_the_unit_says_so(changed: dict[str, Any]) -> None:
    reader = RowReader(COLUMNS, None, "ms")
    assert read(reader, {**GOOD, **changed}) == [EXPECTED]
    assert read(reader, {**GOOD, **changed}) == [EXPECTED]  # the badge is known now, which is another way through


def test_seconds_given_as_milliseconds_are_caught() -> None:
    reader = RowReader(COLUMNS, None, "ms")
    [result] = read(reader, GOOD)
    assert isinstance(result, InvalidRow)
    assert "earned '1674292011' looks like epoch seconds; set timestamp_unit to s" in result.message


IN_TWO_FORMS = Columns("badge", "customer", "earned", "expires", "earned_iso", "expires_iso")


def read_twice(earned_iso: Any, expires_iso: Any, **changed: Any) -> EarnedBadge | InvalidRow:
    row = {**GOOD, **changed}
    reader = RowReader(IN_TWO_FORMS, None)
    read(reader, GOOD)  # the badge is known from now on
    columns = [[value] for value in (*(row[name] for name in GOOD), earned_iso, expires_iso)]
    [result] = reader.read(7, *columns)
    return result


@pytest.mark.parametrize(
    ("earned_iso", "expires_iso", "changed"),
    [
        ("2023-01-21T09:06:51Z", "2024-01-21T14:36:51+05:30", {}),
        ("2023-01-21T09:06:51.999Z", None, {}),
        (None, None, {}),
        ("2023-01-21T09:06:51Z", "2024-01-21T09:06:51Z", {"earned": None, "expires": None}),
        (GOOD["earned"], GOOD["expires"], {}),
        ("", " ", {}),
        ("2023-01-21T09:06:51Z", "2024-01-21T09:06:51Z", {"earned": "", "expires": " "}),
    ],
)
def test_two_agreeing_forms_are_accepted(earned_iso: Any, expires_iso: Any, changed: Any) -> None:
    assert read_twice(earned_iso, expires_iso, **changed) == EXPECTED


def test_two_different_instants_are_invalid() -> None:
    result = read_twice("2023-01-21T09:06:52Z", "2024-02-21T14:36:51+05:30")
    assert isinstance(result, InvalidRow)
    assert [fault.column for fault in result.faults] == ["earned", "expires"]
    assert "earned '1674292011' and earned_iso '2023-01-21T09:06:52Z' are two instants" in result.message
    assert "field_mapping" in result.message


def test_a_second_form_must_be_an_instant() -> None:
    result = read_twice("soon", None)
    assert isinstance(result, InvalidRow)
    assert [fault.column for fault in result.faults] == ["earned_iso"]
