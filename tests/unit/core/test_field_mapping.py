"""One row: every good form is the same earned badge, and every fault is named, its value short and printable."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.earned_badge import (
    EARLIEST_INSTANT,
    LARGEST_CUSTOMER_ID,
    LATEST_INSTANT,
    EarnedBadge,
    InvalidRow,
)
from airflow_provider_capillary.core.field_values import LONGEST_TEXT, shortened
from airflow_provider_capillary.core.plain_values import OddValue
from airflow_provider_capillary.core.timestamps import named_zone

from .rows_read import BADGE_ID, EXPECTED, GOOD, read_one


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="plain values"),
        pytest.param({"badge": BADGE_ID.upper()}, id="badge in capitals"),
        pytest.param({"customer": "382442802"}, id="customer as digit text"),
        pytest.param({"customer": 382442802.0}, id="customer as integral float"),
        pytest.param({"customer": "382442802.0"}, id="customer as text of an integral float"),
        pytest.param({"customer": "382442802.000  "}, id="customer as padded text with zeros"),
        pytest.param({"badge": f"  {BADGE_ID} "}, id="badge as padded text"),
        pytest.param({"badge": BADGE_ID.ljust(100), "customer": "382442802".ljust(100)}, id="CHAR(100) columns"),
        pytest.param({"customer": "\u00a0382442802\u00a0 "}, id="customer between spaces that do not break"),
        pytest.param({"badge": f"{BADGE_ID}\u00a0"}, id="badge before a space that does not break"),
        pytest.param({"earned": "1674292011\u00a0"}, id="instant before a space that does not break"),
        pytest.param({"earned": " 1674292011", "expires": "2024-01-21T09:06:51Z "}, id="instants as padded text"),
        pytest.param({"customer": Decimal("382442802")}, id="customer as Decimal"),
        pytest.param({"customer": Decimal("382442802.000")}, id="customer as Decimal with zeros"),
        pytest.param({"earned": "1674292011", "expires": "1705828011"}, id="instants as digit text"),
        pytest.param({"earned": 1674292011.0, "expires": 1705828011.5}, id="instants as floats"),
        pytest.param({"earned": Decimal(1674292011), "expires": Decimal("1705828011.9")}, id="instants as Decimals"),
        pytest.param({"earned": "2023-01-21T09:06:51Z", "expires": "2024-01-21T14:36:51+05:30"}, id="instants as ISO"),
        pytest.param(
            {"earned": datetime(2023, 1, 21, 9, 6, 51, tzinfo=UTC), "expires": "2024-01-21T09:06:51.999Z"},
            id="instants as datetime and ISO with milliseconds",
        ),
        pytest.param(
            {
                "earned": pendulum.datetime(2023, 1, 21, 10, 6, 51, tz="Europe/Berlin"),
                "expires": pendulum.datetime(2024, 1, 21, 9, 6, 51, 999_999),
            },
            id="instants of pendulum",
        ),
    ],
)
def test_every_good_form_is_the_same_badge(changed: dict[str, Any]) -> None:
    assert read_one(**changed) == EXPECTED


def test_naive_values_use_the_operators_zone() -> None:
    result = read_one(named_zone("Asia/Kolkata"), earned="2023-01-21T14:36:51", expires=date(2024, 1, 22))
    assert result == msgspec.structs.replace(EXPECTED, expires_at=1_705_861_800)


BAD_BADGES = [
    pytest.param(None, "is missing", id="missing"),
    pytest.param("", "is missing", id="empty"),
    pytest.param(" \t ", "is missing", id="blank"),
    pytest.param(math.nan, "is NaN", id="NaN"),
    pytest.param(BADGE_ID[:-1], "24 hexadecimal digits", id="23 digits"),
    pytest.param(BADGE_ID + "0", "24 hexadecimal digits", id="25 digits"),
    pytest.param("g" + BADGE_ID[1:], "24 hexadecimal digits", id="no hexadecimal digit"),
    pytest.param(f"{BADGE_ID}\n", "control characters", id="a line end behind"),
    pytest.param("\uff10" * 24, "24 hexadecimal digits", id="digits of another script"),
    pytest.param(f"{BADGE_ID[:-1]}\x00", "control characters", id="a null character"),
    pytest.param("a" * 65, r"over-long \(65 characters\)", id="over-long"),
    pytest.param(123456789012345678901234, "is of type int; give text of 24", id="int"),
    pytest.param(BADGE_ID.encode(), "is of type bytes; give text of 24", id="bytes"),
    pytest.param([BADGE_ID], "is of type list; give text of 24", id="list"),
    pytest.param({}, "is of type dict; give text of 24", id="dict"),
    pytest.param(True, "is of type bool; give text of 24", id="bool"),
]
BAD_CUSTOMERS = [
    pytest.param(None, "is missing", id="missing"),
    pytest.param("", "is missing", id="empty"),
    pytest.param(math.nan, "is NaN", id="NaN"),
    pytest.param(Decimal("NaN"), "is NaN", id="Decimal NaN"),
    pytest.param(Decimal("sNaN"), "NaN", id="Decimal signalling NaN"),
    pytest.param(0, "positive 64-bit", id="zero"),
    pytest.param(-5, "positive 64-bit", id="negative"),
    pytest.param(2**63, "positive 64-bit", id="beyond int64"),
    pytest.param(10**5000, "positive 64-bit", id="an int of 5001 digits"),
    pytest.param(str(2**63), "positive 64-bit", id="text beyond int64"),
    pytest.param(Decimal(2**63), "positive 64-bit", id="Decimal beyond int64"),
    pytest.param(Decimal("1E+300"), "positive 64-bit", id="Decimal of 301 digits"),
    pytest.param(Decimal("1E+99999"), "without loss", id="Decimal whose digits would fill the memory"),
    pytest.param("0", "positive whole number", id="text zero"),
    pytest.param("-5", "positive whole number", id="text negative"),
    pytest.param("+5", "positive whole number", id="text with a sign"),
    pytest.param("007", "positive whole number", id="text with leading zeros: perhaps a card number"),
    pytest.param("5e3", "positive whole number.* Write all its digits", id="text with an exponent"),
    pytest.param("1.2E+11", "positive whole number.* Write all its digits", id="text that a spreadsheet rounded"),
    pytest.param("1,2E+11", "positive whole number.* Write all its digits", id="text that Excel rounded in Europe"),
    pytest.param("1,234", "positive whole number.*without separators", id="text with a separator"),
    pytest.param("1.234", "positive whole number.*without separators", id="text with a point as separator"),
    pytest.param("0123", "positive whole number.*begins with a zero", id="text with a zero before"),
    pytest.param("5.5", "positive whole number", id="text with a fraction"),
    pytest.param("5.", "positive whole number", id="text with a point and nothing behind"),
    pytest.param("9007199254740993.0", "passed through a float", id="text of a float that may have lost digits"),
    pytest.param("\u20035", r"blank of another kind \(U\+2003\)", id="text with a blank of another kind"),
    pytest.param("1_000", "positive whole number", id="text with an underscore"),
    pytest.param("\uff15", "positive whole number", id="digit of another script"),
    pytest.param("ann@example.com", "positive whole number", id="an address"),
    pytest.param("9" * 65, "over-long", id="over-long"),
    pytest.param("5\x1b[31m", "control characters", id="control characters"),
    pytest.param(5.5, "without loss", id="float with a fraction"),
    pytest.param(float(2**53 + 2), "without loss", id="float that may have lost digits"),
    pytest.param(9007199254740993.0, "without loss", id="float that has lost its last digit"),
    pytest.param(-(2.0**53), "without loss", id="negative float that may have lost digits"),
    pytest.param(math.inf, "without loss", id="infinity"),
    pytest.param(Decimal("5.5"), "without loss", id="Decimal with a fraction"),
    pytest.param(Decimal("Infinity"), "without loss", id="Decimal infinity"),
    pytest.param(True, "is of type bool; give a positive whole number", id="bool"),
    pytest.param(b"5", "is of type bytes; give a positive whole number", id="bytes"),
    pytest.param([5], "is of type list; give a positive whole number", id="list"),
]
#: Of each kind one; what else is no instant: ``test_timestamps.py``.
BAD_INSTANTS = [
    pytest.param(None, "is missing", id="missing"),
    pytest.param("", "is missing", id="empty"),
    pytest.param(math.nan, "is NaN", id="NaN"),
    pytest.param(Decimal("sNaN"), "NaN|not a finite number", id="Decimal signalling NaN"),
    pytest.param("soon", "cannot be read as a timestamp; give epoch seconds or ISO 8601", id="unparsable"),
    pytest.param("2023-01-21T09:06:51", "no offset; add one to the data, or set timezone=", id="naive text"),
    pytest.param(1_674_292_011_000, "looks like epoch milliseconds; give epoch seconds", id="milliseconds"),
    pytest.param(10**5000, "outside 2000-01-01", id="an int of 5001 digits"),
    pytest.param("2" * 65, "over-long", id="over-long"),
    pytest.param("2023-01-21T09:06:51Z\r\n", "control characters", id="a line end behind"),
    pytest.param(True, "boolean", id="bool"),
    pytest.param([], "is of type list; give epoch seconds", id="list"),
]
ODD = OddValue("20250-06-01", "is outside the years 1 to 9999")


@pytest.mark.parametrize("column", ["badge", "customer", "earned", "expires"])
def test_a_value_python_cannot_hold_is_invalid(column: str) -> None:
    changed: dict[str, Any] = {column: ODD}
    result = read_one(**changed)
    assert_invalid(result, column, "outside the years 1 to 9999")
    assert isinstance(result, InvalidRow)
    assert result.faults[0].value == "20250-06-01"


def assert_invalid(result: EarnedBadge | InvalidRow, column: str, why: str) -> None:
    assert isinstance(result, InvalidRow)
    assert result.row_number == 7
    [fault] = result.faults
    assert fault.column == column
    assert re.search(why, fault.reason), fault.reason
    for text in (fault.value, fault.reason):
        assert text.isprintable()
    assert len(fault.value) <= LONGEST_TEXT
    assert len(fault.reason) <= 150


@pytest.mark.parametrize(("value", "why"), BAD_BADGES)
def test_a_badge_needs_24_hexadecimal_digits(value: Any, why: str) -> None:
    assert_invalid(read_one(badge=value), "badge", why)


@pytest.mark.parametrize(("value", "why"), BAD_CUSTOMERS)
def test_a_customer_is_a_positive_int64(value: Any, why: str) -> None:
    assert_invalid(read_one(customer=value), "customer", why)


@pytest.mark.parametrize("column", ["earned", "expires"])
@pytest.mark.parametrize(("value", "why"), BAD_INSTANTS)
def test_what_is_no_instant_makes_the_row_invalid(column: str, value: Any, why: str) -> None:
    assert_invalid(read_one(**{column: value}), column, why)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("value", [datetime(9999, 12, 31, 23, 59, 59), date(9999, 12, 31), date(1, 1, 1)], ids=str)
def test_an_end_of_the_calendar_is_one_invalid_row(zone: str, value: Any) -> None:
    assert_invalid(read_one(named_zone(zone), expires=value), "expires", "")


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
def test_an_expiry_is_after_the_earn_date(seconds: int) -> None:
    expires = GOOD["earned"] - seconds
    assert_invalid(read_one(expires=expires), "expires", "expires not after it was earned; give a later instant")
    assert_invalid(read_one(expires=str(expires)), "expires", "expires not after it was earned")


def test_an_expiry_within_the_same_second_is_invalid() -> None:
    assert_invalid(read_one(earned="2023-01-21T09:06:51.1Z", expires="2023-01-21T09:06:51.9Z"), "expires", "not after")


@pytest.mark.parametrize(
    "customer", [1, LARGEST_CUSTOMER_ID, "1", str(LARGEST_CUSTOMER_ID), Decimal(2**63 - 1), 2.0**53 - 1]
)
def test_the_smallest_and_largest_customers_are_good(customer: Any) -> None:
    result = read_one(customer=customer)
    assert isinstance(result, EarnedBadge)
    assert result.customer_id == int(customer)


@pytest.mark.parametrize(
    ("earned", "expires"),
    [(EARLIEST_INSTANT, EARLIEST_INSTANT + 1), (LATEST_INSTANT - 2, LATEST_INSTANT - 1)],
    ids=["first", "last"],
)
def test_the_first_and_the_last_instants_are_good(earned: int, expires: int) -> None:
    result = read_one(earned=earned, expires=expires)
    assert isinstance(result, EarnedBadge)
    assert (result.earned_at, result.expires_at) == (earned, expires)


def test_every_fault_is_named_in_order() -> None:
    result = read_one(badge="x", customer=0, earned=None)
    assert isinstance(result, InvalidRow)
    assert [fault.column for fault in result.faults] == ["badge", "customer", "earned"]
    assert result.message == (
        "badge 'x' is not 24 hexadecimal digits, as a badgeMetaId is; "
        "customer '0' is not a positive 64-bit whole number; earned 'None' is missing"
    )


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=300) | st.integers() | st.lists(st.text(max_size=50), max_size=3))
def test_a_value_is_shown_short_and_printable(value: Any) -> None:
    shown = shortened(value)
    assert len(shown) <= LONGEST_TEXT
    assert shown.isprintable()


def test_control_characters_are_shown_escaped() -> None:
    assert shortened("a\x1b[31m\r\nb") == "a\\x1b[31m\\r\\nb"


def test_a_long_value_is_cut_and_says_so() -> None:
    assert shortened("x" * 64) == "x" * 64
    assert shortened("x" * 65) == "x" * 63 + "…"
