from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
import pendulum
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS, Columns, column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LATEST_INSTANT, EarnedBadge, InvalidRow
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.field_values import LARGEST_CUSTOMER_ID, LONGEST_TEXT, shortened
from airflow_provider_capillary.core.plain_values import OddValue
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

QUICK = settings(max_examples=25, deadline=None)

COLUMNS = Columns("badge", "customer", "earned", "expires")
BADGE_ID = "654e08f2041fd452b3ef5b2e"
OTHER_BADGE_ID = "696f0fd40772ad476ecf74ac"
GOOD: dict[str, Any] = {"badge": BADGE_ID, "customer": 382_442_802, "earned": 1_674_292_011, "expires": 1_705_828_011}
EXPECTED = EarnedBadge(7, BADGE_ID, 382_442_802, 1_674_292_011, 1_705_828_011)


def read(reader: RowReader, *rows: dict[str, Any], first: int = 7) -> list[EarnedBadge | InvalidRow]:
    columns = [[row[name] for row in rows] for name in ("badge", "customer", "earned", "expires")]
    return list(reader.read(first, *columns))


def read_one(zone: tzinfo | None = None, **changed: Any) -> EarnedBadge | InvalidRow:
    (result,) = read(RowReader(COLUMNS, zone), {**GOOD, **changed})
    return result


ODD_VALUES: list[dict[str, Any]] = [
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
    {"expires": 4_102_444_800},
    {"expires": 4_102_444_799},
    {"expires": 1_705_828_011.0},
    {"expires": float("nan")},
    {"expires": None},
]


@pytest.mark.parametrize("changed", ODD_VALUES, ids=str)
def test_a_row_is_read_among_good_ones_as_it_is_alone(changed: dict[str, Any]) -> None:
    """Windows of nothing but good rows are not looked at row by row: no odd row may pass among them."""
    reader = RowReader(COLUMNS, None)
    read(reader, GOOD)  # the badge is known from now on
    before, odd, after = read(reader, GOOD, {**GOOD, **changed}, GOOD, first=6)
    assert (before, after) == (read(reader, GOOD, first=6)[0], read(reader, GOOD, first=8)[0])
    assert odd == read_one(**changed)


def test_columns_of_different_lengths_are_never_cut_to_the_shortest() -> None:
    reader = RowReader(COLUMNS, None)
    read(reader, GOOD)
    with pytest.raises(ValueError, match="zip"):
        list(reader.read(1, [BADGE_ID] * 2, [1, 2], [GOOD["earned"]] * 2, [GOOD["expires"]]))


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
def test_every_good_form_of_a_row_is_the_same_earned_badge(changed: dict[str, Any]) -> None:
    assert read_one(**changed) == EXPECTED


def test_naive_values_and_dates_are_read_in_the_operator_s_zone() -> None:
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
BAD_INSTANTS = [
    pytest.param(None, "is missing", id="missing"),
    pytest.param("", "is missing", id="empty"),
    pytest.param(math.nan, "is NaN", id="NaN"),
    pytest.param(Decimal("sNaN"), "NaN|not a finite number", id="Decimal signalling NaN"),
    pytest.param("soon", "cannot be read as a timestamp; give epoch seconds or ISO 8601", id="unparsable"),
    pytest.param("2023-01-21T09:06:51", "no offset; add one to the data, or set timezone=", id="naive text"),
    pytest.param(datetime(2023, 1, 21), "no offset; add one to the data, or set timezone=", id="naive datetime"),
    pytest.param(date(2023, 1, 21), "no offset; add one to the data, or set timezone=", id="date without a zone"),
    pytest.param(1_674_292_011_000, "looks like epoch milliseconds; give epoch seconds", id="milliseconds"),
    pytest.param("1674292011000", "looks like epoch milliseconds; give epoch seconds", id="milliseconds as text"),
    pytest.param(1_674_292_011_000_000, "looks like epoch microseconds", id="microseconds"),
    pytest.param(1_674_292_011_000_000_000, "looks like epoch nanoseconds", id="nanoseconds"),
    pytest.param(EARLIEST_INSTANT - 1, "outside 2000-01-01", id="1999"),
    pytest.param(LATEST_INSTANT, "outside 2000-01-01", id="2100"),
    pytest.param(10**5000, "outside 2000-01-01", id="an int of 5001 digits"),
    pytest.param("2" * 65, "over-long", id="over-long"),
    pytest.param("2023-01-21T09:06:51Z\r\n", "control characters", id="a line end behind"),
    pytest.param(True, "boolean", id="bool"),
    pytest.param([], "is of type list; give epoch seconds", id="list"),
]


ODD = OddValue("20250-06-01", "is outside the years 1 to 9999")


@pytest.mark.parametrize("column", ["badge", "customer", "earned", "expires"])
def test_a_value_that_python_cannot_hold_makes_the_row_invalid_with_its_text(column: str) -> None:
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
def test_a_badge_that_is_not_24_hexadecimal_digits_makes_the_row_invalid(value: Any, why: str) -> None:
    assert_invalid(read_one(badge=value), "badge", why)


@pytest.mark.parametrize(("value", "why"), BAD_CUSTOMERS)
def test_a_customer_that_is_not_a_positive_int64_makes_the_row_invalid(value: Any, why: str) -> None:
    assert_invalid(read_one(customer=value), "customer", why)


@pytest.mark.parametrize("column", ["earned", "expires"])
@pytest.mark.parametrize(("value", "why"), BAD_INSTANTS)
def test_what_is_no_instant_makes_the_row_invalid(column: str, value: Any, why: str) -> None:
    assert_invalid(read_one(**{column: value}), column, why)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("value", [datetime(9999, 12, 31, 23, 59, 59), date(9999, 12, 31), date(1, 1, 1)], ids=str)
def test_a_calendar_end_that_stands_for_never_makes_one_row_invalid_and_not_the_job_fail(zone: str, value: Any) -> None:
    assert_invalid(read_one(named_zone(zone), expires=value), "expires", "")


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
def test_an_expiry_that_is_not_after_the_earn_date_makes_the_row_invalid(seconds: int) -> None:
    expires = GOOD["earned"] - seconds
    assert_invalid(read_one(expires=expires), "expires", "expires not after it was earned; give a later instant")
    assert_invalid(read_one(expires=str(expires)), "expires", "expires not after it was earned")


def test_an_expiry_within_the_second_of_the_earn_date_is_not_after_it_on_the_wire() -> None:
    assert_invalid(read_one(earned="2023-01-21T09:06:51.1Z", expires="2023-01-21T09:06:51.9Z"), "expires", "not after")


@pytest.mark.parametrize(
    "customer", [1, LARGEST_CUSTOMER_ID, "1", str(LARGEST_CUSTOMER_ID), Decimal(2**63 - 1), 2.0**53 - 1]
)
def test_the_smallest_and_the_largest_customer_that_can_be_read_without_loss_are_good(customer: Any) -> None:
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


def test_every_fault_of_a_row_is_named_in_the_order_of_the_fields() -> None:
    result = read_one(badge="x", customer=0, earned=None)
    assert isinstance(result, InvalidRow)
    assert [fault.column for fault in result.faults] == ["badge", "customer", "earned"]
    assert result.message == (
        "badge 'x' is not 24 hexadecimal digits, as a badgeMetaId is; "
        "customer '0' is not a positive 64-bit whole number; earned 'None' is missing"
    )


def test_rows_keep_their_order_and_number_and_a_bad_one_stops_none() -> None:
    rows = [GOOD, {**GOOD, "customer": None}, {**GOOD, "customer": "5"}, {**GOOD, "badge": []}, GOOD]
    results = read(RowReader(COLUMNS, None), *rows, first=100)
    assert [result.row_number for result in results] == [100, 101, 102, 103, 104]
    assert [type(result) for result in results] == [EarnedBadge, InvalidRow, EarnedBadge, InvalidRow, EarnedBadge]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"customer": 0},
        {"customer": 2**63},
        {"customer": True},
        {"earned": EARLIEST_INSTANT - 1},
        {"expires": LATEST_INSTANT},
        {"expires": GOOD["earned"]},
        {"earned": True},
        {"badge": BADGE_ID.upper()},
    ],
    ids=str,
)
def test_a_row_of_a_badge_seen_before_is_checked_no_less(changed: dict[str, Any]) -> None:
    reader = RowReader(COLUMNS, None)
    fresh = read_one(**changed)
    assert read(reader, GOOD, {**GOOD, **changed}, {**GOOD, **changed}, first=6)[1] == fresh


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
def test_columns_of_arrow_are_checked_as_their_values_are(changed: dict[str, Any], unit: str) -> None:
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
def test_no_value_whatever_makes_more_than_its_own_row_invalid(
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


@QUICK
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


def test_api_names_and_snake_case_names_are_found_without_a_mapping() -> None:
    choices = column_choices(None)
    for names in zip(*FIELD_COLUMNS.values(), strict=False):
        assert resolve_columns(choices, names[::-1]) == Columns(*names)


def test_columns_of_iso_names_are_found_too() -> None:
    found = ["badge_meta_id", "customer_id", "earn_event_date_iso", "earnExpiresOnISO"]
    assert resolve_columns(column_choices(None), found) == Columns(*found)


LOOSE_NAMES = [
    ["BADGEMETAID", "Customer_Id", "EARN_EVENT_DATE", "earnexpireson"],
    ["Badge Meta Id", " customer_id ", "Earn Event Date", "EARN EXPIRES_ON"],
    ["badge__meta_id", "CUSTOMERID\t", "EARN_EVENT_DATE_ISO", "Earn Expires On ISO"],
]


@pytest.mark.parametrize("found", LOOSE_NAMES, ids=str)
def test_columns_are_found_without_regard_to_case_blanks_and_underscores(found: list[str]) -> None:
    assert resolve_columns(column_choices(None), ["other", *found]) == Columns(*found)


def test_a_mapped_column_is_found_in_the_case_of_the_warehouse() -> None:
    found = ["BADGE_ID", "CUSTOMER_ID", "EARN_EVENT_DATE", "EARN_EXPIRES_ON"]
    assert resolve_columns(column_choices({"badgeMetaId": "badge_id"}), found) == Columns(*found)


TWO_FOR_ONE = [
    ("customerId", ["customerId", "customer_id"]),
    ("customerId", ["CUSTOMER_ID", "customer_id"]),
    ("badgeMetaId", ["badge_meta_id", "Badge Meta Id"]),
    ("earnEventDate", ["earnEventDate", "earn_event_date"]),
    ("earnExpiresOn", ["earnExpiresOnISO", "earn_expires_on_iso"]),
]


@pytest.mark.parametrize(("field", "both"), TWO_FOR_ONE, ids=str)
def test_two_columns_for_one_field_are_refused_until_field_mapping_names_one(field: str, both: list[str]) -> None:
    found = [name for name in FIELD_COLUMNS if name != field] + both
    with pytest.raises(DatasetError) as caught:
        resolve_columns(column_choices(None), found)
    assert all(repr(name) in str(caught.value) for name in (field, *both))
    assert "field_mapping=" in str(caught.value)
    for name in both:
        assert name in msgspec.structs.astuple(resolve_columns(column_choices({field: name}), found))


def test_two_columns_for_a_mapped_name_that_is_there_in_neither_spelling_are_refused() -> None:
    found = ["BADGE", "Badge", "customerId", "earnEventDate", "earnExpiresOn"]
    with pytest.raises(DatasetError, match="'BADGE', 'Badge'"):
        resolve_columns(column_choices({"badgeMetaId": "badge"}), found)


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


def test_seconds_given_as_milliseconds_are_caught_and_shown_as_they_were() -> None:
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


def test_epoch_and_iso_columns_of_one_instant_are_picked_to_be_compared() -> None:
    found = ["badgeMetaId", "customerId", "earnEventDateISO", "earnEventDate", "earn_expires_on", "earnExpiresOnISO"]
    assert resolve_columns(column_choices(None), found) == Columns(
        "badgeMetaId", "customerId", "earnEventDate", "earn_expires_on", "earnEventDateISO", "earnExpiresOnISO"
    )
    mapped = resolve_columns(column_choices({"earnEventDate": "earnEventDateISO"}), found)
    assert (mapped.earned_at, mapped.earned_at_iso) == ("earnEventDateISO", None)


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
def test_two_forms_of_one_instant_that_agree_are_fine(earned_iso: Any, expires_iso: Any, changed: Any) -> None:
    assert read_twice(earned_iso, expires_iso, **changed) == EXPECTED


def test_two_instants_for_one_field_make_the_row_invalid_and_both_are_shown() -> None:
    result = read_twice("2023-01-21T09:06:52Z", "2024-02-21T14:36:51+05:30")
    assert isinstance(result, InvalidRow)
    assert [fault.column for fault in result.faults] == ["earned", "expires"]
    assert "earned '1674292011' and earned_iso '2023-01-21T09:06:52Z' are two instants" in result.message
    assert "field_mapping" in result.message


def test_a_second_form_that_is_no_instant_makes_the_row_invalid() -> None:
    result = read_twice("soon", None)
    assert isinstance(result, InvalidRow)
    assert [fault.column for fault in result.faults] == ["earned_iso"]


@pytest.mark.parametrize("field", ["badgeMetaId", "badge_meta_id"])
def test_a_mapped_field_is_taken_from_its_column_only(field: str) -> None:
    choices = column_choices({field: "trophy"})
    found = ["badgeMetaId", "customerId", "earnEventDate", "earnExpiresOn"]
    assert resolve_columns(choices, [*found, "trophy"]).badge_meta_id == "trophy"
    with pytest.raises(DatasetError, match=r"lacks column\(s\) trophy\."):
        resolve_columns(choices, found)


def test_a_mapping_of_an_unknown_field_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown field\(s\) badge, when; known: badgeMetaId, customerId"):
        column_choices({"when": "x", "badge": "y"})


def test_missing_columns_are_all_named_beside_those_found_and_what_to_do() -> None:
    with pytest.raises(DatasetError) as caught:
        resolve_columns(column_choices({"customerId": "who"}), ["badge_meta_id", "price"])
    message = str(caught.value)
    assert "who; earnEventDate or earn_event_date" in message
    assert "earnExpiresOn or" in message
    assert "Found: badge_meta_id, price" in message
    assert "field_mapping=" in message


def test_a_dataset_without_any_row_may_have_no_columns_either() -> None:
    columns = resolve_columns(column_choices({"customerId": "who"}), [])
    assert (columns.badge_meta_id, columns.customer_id) == ("badgeMetaId", "who")
