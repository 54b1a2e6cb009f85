from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LATEST_INSTANT
from airflow_provider_capillary.core.timestamps import NotAnInstantError, epoch_seconds, named_zone
from airflow_provider_capillary.exceptions import ConfigurationError

QUICK = settings(max_examples=25, deadline=None)

NINE = 1_738_310_400  # 2025-01-31T08:00:00Z, 09:00 in Berlin
BERLIN = named_zone("Europe/Berlin")
NEW_YORK = named_zone("America/New_York")
KOLKATA = named_zone("Asia/Kolkata")
INDIA = timezone(timedelta(hours=5, minutes=30))

INSTANTS = st.integers(EARLIEST_INSTANT, LATEST_INSTANT - 1)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NINE, id="int"),
        pytest.param(str(NINE), id="digit text"),
        pytest.param(f"+{NINE}", id="digit text with a sign"),
        pytest.param(f"{NINE}.000000000", id="digit text with nine decimals"),
        pytest.param(f"{NINE}.999999999", id="digit text with a fraction, cut off"),
        pytest.param(float(NINE), id="integral float"),
        pytest.param(NINE + 0.75, id="float with a fraction, cut off"),
        pytest.param(Decimal(NINE), id="Decimal"),
        pytest.param(Decimal(f"{NINE}.999999999999"), id="Decimal with a fraction, cut off"),
        pytest.param(Decimal("17383104E+2"), id="Decimal with an exponent"),
        pytest.param("2025-01-31T08:00:00Z", id="ISO with Z"),
        pytest.param("2025-01-31T08:00:00.999Z", id="ISO with milliseconds, cut off"),
        pytest.param("2025-01-31T09:00:00+01:00", id="ISO with an offset"),
        pytest.param("2025-01-31T13:30:00+05:30", id="ISO with India's offset"),
        pytest.param("2025-01-31 03:00:00-05:00", id="ISO with a space and an offset"),
        pytest.param("2025-01-31T08:00Z", id="ISO without seconds"),
        pytest.param(" 1738310400 ", id="padded digit text"),
        pytest.param("2025-01-31 08:00:00 UTC", id="BigQuery"),
        pytest.param("2025-01-31 08:00:00.123456 UTC", id="BigQuery with microseconds"),
        pytest.param("2025-01-31 08:00:00.000 +0000", id="Snowflake"),
        pytest.param("2025-01-31 00:00:00.000 -0800", id="Snowflake in California"),
        pytest.param("2025-01-31 00:00:00 -08:00", id="an offset with a colon after a blank"),
        pytest.param("2025-01-31 03:00:00.000000000 America/New_York", id="Trino"),
        pytest.param("2025-01-31 05:00:00 America/Argentina/Buenos_Aires", id="a zone of three parts"),
        pytest.param("2025-01-31 08:00:00 Etc/GMT+0", id="a zone with a sign"),
        pytest.param("2025-01-31T08:00:00 Z", id="Z after a blank"),
        pytest.param("20250131T080000Z", id="ISO, basic format"),
        pytest.param(datetime(2025, 1, 31, 8, tzinfo=UTC), id="datetime, UTC"),
        pytest.param(datetime(2025, 1, 31, 13, 30, tzinfo=INDIA), id="datetime with an offset"),
        pytest.param(datetime(2025, 1, 31, 9, tzinfo=BERLIN), id="datetime with a zone"),
        pytest.param(datetime(2025, 1, 31, 8, 0, 0, 999_999, tzinfo=UTC), id="datetime with microseconds, cut off"),
    ],
)
@pytest.mark.parametrize("zone", [None, NEW_YORK, KOLKATA], ids=["no zone", "New York", "Kolkata"])
def test_an_absolute_value_reads_alike_in_every_zone(value: Any, zone: tzinfo | None) -> None:
    assert epoch_seconds(value, zone) == NINE


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("2025-01-31T09:00:00", id="ISO"),
        pytest.param("2025-01-31 09:00:00", id="ISO with a space"),
        pytest.param("2025-01-31T09:00:00.999999", id="ISO with microseconds, cut off"),
        pytest.param(datetime(2025, 1, 31, 9), id="datetime"),
        pytest.param(datetime(2025, 1, 31, 9, fold=1), id="datetime with a meaningless fold"),
    ],
)
def test_a_naive_value_needs_a_zone(value: Any) -> None:
    assert epoch_seconds(value, BERLIN) == NINE
    with pytest.raises(NotAnInstantError, match=r"no offset; add one to the data, or set timezone="):
        epoch_seconds(value, None)


@pytest.mark.parametrize("value", [date(2025, 1, 31), "2025-01-31"], ids=["date", "text"])
def test_a_date_needs_a_zone(value: Any) -> None:
    assert epoch_seconds(value, BERLIN) == NINE - 9 * 3600
    assert epoch_seconds(value, KOLKATA) == NINE - 8 * 3600 - 19_800
    with pytest.raises(NotAnInstantError, match="timezone="):
        epoch_seconds(value, None)


@pytest.mark.parametrize(
    ("zone", "naive"),
    [
        pytest.param(BERLIN, datetime(2025, 3, 30, 2, 0), id="Berlin, first second skipped"),
        pytest.param(BERLIN, datetime(2025, 3, 30, 2, 59, 59), id="Berlin, last second skipped"),
        pytest.param(NEW_YORK, datetime(2025, 3, 9, 2, 30), id="New York"),
    ],
)
def test_a_skipped_local_time_names_its_zone(zone: tzinfo, naive: datetime) -> None:
    for value in (naive, naive.replace(fold=1), naive.isoformat()):
        with pytest.raises(NotAnInstantError, match=rf"does not exist in {zone}: clocks skipped it"):
            epoch_seconds(value, zone)


def test_seconds_around_a_skipped_hour_follow() -> None:
    before = epoch_seconds("2025-03-30T01:59:59", BERLIN)
    assert epoch_seconds("2025-03-30T03:00:00", BERLIN) == before + 1


@pytest.mark.parametrize("fold", [0, 1])
def test_a_repeated_local_time_is_the_first(fold: int) -> None:
    first = epoch_seconds("2025-10-26T00:30:00Z", None)
    assert epoch_seconds(datetime(2025, 10, 26, 2, 30, fold=fold), BERLIN) == first
    assert epoch_seconds("2025-10-26T02:30:00", BERLIN) == first
    assert epoch_seconds("2025-10-26T02:30:00+01:00", BERLIN) == first + 3600


@pytest.mark.parametrize(
    "value",
    [
        EARLIEST_INSTANT,
        LATEST_INSTANT - 1,
        "2000-01-01T00:00:00Z",
        "2099-12-31T23:59:59Z",
        "2000-01-01T05:30:00+05:30",
        LATEST_INSTANT - 0.5,
        datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_the_ends_of_2000_to_2100_are_good(value: Any) -> None:
    assert epoch_seconds(value, None) in (EARLIEST_INSTANT, LATEST_INSTANT - 1)


@pytest.mark.parametrize(
    "value",
    [
        EARLIEST_INSTANT - 1,
        LATEST_INSTANT,
        "1999-12-31T23:59:59Z",
        "1999-12-31T23:59:59.999Z",
        "2100-01-01T00:00:00Z",
        "2000-01-01T00:00:00+05:30",
        EARLIEST_INSTANT - 0.5,
        Decimal(LATEST_INSTANT),
        date(1999, 12, 31),
        date(2100, 1, 2),
        0,
        -1,
        "0",
        "-1738310400",
        2025,
        "2025",
        "20250131",
        10**30,
        -(10**30),
        Decimal("1E+300"),
        "9999-12-31T23:59:59Z",
    ],
)
def test_an_instant_outside_2000_to_2100_is_refused(value: Any) -> None:
    with pytest.raises(NotAnInstantError, match=r"outside 2000-01-01 \.\. 2100-01-01"):
        epoch_seconds(value, BERLIN)


@pytest.mark.parametrize("value", [datetime.max, datetime.min, date.max, date.min, "9999-12-31T23:59:59", "0001-01-01"])
@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=["Berlin", "New York"])
def test_calendar_ends_are_refused_without_a_crash(value: Any, zone: tzinfo) -> None:
    with pytest.raises(NotAnInstantError):
        epoch_seconds(value, zone)


@pytest.mark.parametrize(
    ("factor", "unit"), [(10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")], ids=str
)
@QUICK
@given(seconds=INSTANTS)
def test_a_finer_epoch_unit_is_named(factor: int, unit: str, seconds: int) -> None:
    for value in (seconds * factor, str(seconds * factor), Decimal(seconds * factor)):
        with pytest.raises(NotAnInstantError, match=f"looks like epoch {unit}; give epoch seconds"):
            epoch_seconds(value, None)


def test_a_float_of_milliseconds_is_caught() -> None:
    with pytest.raises(NotAnInstantError, match="looks like epoch milliseconds"):
        epoch_seconds(NINE * 1000.0, None)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param("soon", "cannot be read as a timestamp; give epoch seconds or ISO 8601", id="words"),
        pytest.param("31.01.2025", "cannot be read", id="another order"),
        pytest.param("01/31/2025 09:00", "cannot be read", id="slashes"),
        pytest.param("2025-02-30T00:00:00Z", "cannot be read", id="no such day"),
        pytest.param("2025-01-31T25:00:00Z", "cannot be read", id="no such hour"),
        pytest.param("+57906-04-18T07:06:40Z", "cannot be read", id="a year of five digits"),
        pytest.param("1e9", "cannot be read", id="exponent"),
        pytest.param("2025-01-31 09:00:00 EST", "cannot be read", id="letters that several zones have"),
        pytest.param("2025-01-31 09:00:00 Mars/Olympus", "names the zone Mars/Olympus", id="no such zone"),
        pytest.param("2025-01-31 09:00:00+01:00 Europe/Berlin", "an offset and the zone", id="offset and zone"),
        pytest.param("2025-01-31 09:00:00 +25:00", "cannot be read", id="no such offset"),
        pytest.param("2025-03-30 02:30:00 Europe/Berlin", "clocks skipped it", id="an hour skipped in its own zone"),
        pytest.param("1738310400,0", "cannot be read", id="decimal comma"),
        pytest.param(
            "\uff11\uff17\uff13\uff18\uff13\uff11\uff10\uff14\uff10\uff10",
            "cannot be read",
            id="digits of another script",
        ),
        pytest.param("", "cannot be read", id="empty"),
        pytest.param("nan", "cannot be read", id="nan as text"),
        pytest.param(True, "is a boolean", id="bool"),
        pytest.param(float("nan"), "not a finite number", id="NaN"),
        pytest.param(float("inf"), "not a finite number", id="infinity"),
        pytest.param(Decimal("NaN"), "not a finite number", id="Decimal NaN"),
        pytest.param(Decimal("-Infinity"), "not a finite number", id="Decimal infinity"),
        pytest.param(Decimal("sNaN"), "not a finite number", id="Decimal signalling NaN"),
        pytest.param(Decimal("1E+99999"), "not a finite number", id="Decimal whose digits would fill the memory"),
        pytest.param(None, "is of type NoneType", id="None"),
        pytest.param(b"1738310400", "is of type bytes; give epoch seconds or ISO 8601", id="bytes"),
        pytest.param([NINE], "is of type list", id="list"),
        pytest.param({"seconds": NINE}, "is of type dict", id="dict"),
        pytest.param(timedelta(seconds=NINE), "is of type timedelta", id="timedelta"),
    ],
)
def test_what_is_no_instant_has_a_reason(value: Any, why: str) -> None:
    with pytest.raises(NotAnInstantError, match=why):
        epoch_seconds(value, BERLIN)


@QUICK
@given(INSTANTS, st.integers(0, 999_999), OFFSETS)
def test_an_instant_is_equal_in_every_form(seconds: int, microseconds: int, offset: tzinfo) -> None:
    moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=microseconds)).astimezone(
        offset
    )
    forms = (seconds, str(seconds), Decimal(seconds), float(seconds), moment, moment.isoformat())
    assert {epoch_seconds(form, None) for form in forms} == {seconds}


@QUICK
@given(INSTANTS, st.sampled_from([BERLIN, NEW_YORK, KOLKATA]))
def test_a_local_time_reads_back_as_its_instant(seconds: int, zone: tzinfo) -> None:
    local = datetime.fromtimestamp(seconds, zone)
    read = epoch_seconds(local.replace(tzinfo=None), zone)
    assert read == (seconds - 3600 if local.fold else seconds)


@QUICK
@given(st.text(max_size=40))
def test_no_text_crashes_the_reader(text: str) -> None:
    with suppress(NotAnInstantError):
        assert EARLIEST_INSTANT <= epoch_seconds(text, BERLIN) < LATEST_INSTANT


class Hole(tzinfo):
    def utcoffset(self, moment: datetime | None) -> NoReturn:
        raise RuntimeError("no")

    dst = tzname = utcoffset


def test_a_failing_zone_is_a_refusal() -> None:
    with pytest.raises(NotAnInstantError, match="time zone that cannot be applied"):
        epoch_seconds(datetime(2025, 1, 31, tzinfo=Hole()), None)


def test_the_last_microsecond_is_not_rounded_up() -> None:
    moment = datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert epoch_seconds(moment, None) == LATEST_INSTANT - 1


def test_no_name_is_no_zone() -> None:
    assert named_zone(None) is None


@pytest.mark.parametrize(
    "name", ["", " ", "Mars/Olympus", "Europe", "../etc/passwd", "+01:00", "CEST?", "Europe/Berlin\0"]
)
def test_a_wrong_zone_gets_an_example(name: str) -> None:
    with pytest.raises(ConfigurationError, match="; it may be the IANA name of a time zone, such as 'Europe/Berlin'"):
        named_zone(name)
