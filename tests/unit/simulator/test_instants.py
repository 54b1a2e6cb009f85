from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.simulator.instants import ServerZone, as_number, nine_decimals, read_instant, read_iso

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_WITHIN_DATETIME = st.integers(min_value=-62_135_596_800 + 86_400, max_value=253_402_300_799 - 86_400)


@given(SECONDS_WITHIN_DATETIME)
def test_iso_text_is_what_datetime_says(seconds: int) -> None:
    said = (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    assert ServerZone("UTC").iso(seconds) == said


@given(st.integers(min_value=0, max_value=253_402_200_000), st.sampled_from(["Asia/Kolkata", "America/New_York"]))
def test_iso_text_of_another_zone_equals_datetimes(seconds: int, zone: str) -> None:
    assert ServerZone(zone).iso(seconds) == datetime.fromtimestamp(seconds, ZoneInfo(zone)).isoformat()


@given(SECONDS_WITHIN_DATETIME)
def test_a_printed_instant_reads_back(seconds: int) -> None:
    assert read_iso(ServerZone("UTC").iso(seconds)) == (seconds, 0)


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [
        (253_402_300_800, "+10000-01-01T00:00:00Z"),
        (1_765_178_896_000, "+57906-04-18T07:06:40Z"),
        (-62_167_219_201, "-0001-12-31T23:59:59Z"),
    ],
)
def test_years_beyond_datetime_are_printed_as_java_does(seconds: int, printed: str) -> None:
    assert ServerZone("UTC").iso(seconds) == printed


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (1705828011, (1705828011, 0)),
        ("1705828011", (1705828011, 0)),
        (1705828011.5, (1705828011, 500_000_000)),
        (1770034996.715319, (1770034996, 715_319_000)),
        (-0.25, (-1, 750_000_000)),
        ("2024-10-07T15:51:00.192Z", (1728316260, 192_000_000)),
        ("2025-09-10T15:00+05:30", (1757496600, 0)),
        (None, None),
        ("", None),
    ],
)
def test_numbers_are_seconds_and_strings_are_iso(value: object, instant: tuple[int, int] | None) -> None:
    assert read_instant(value) == instant


@pytest.mark.parametrize(
    "value",
    [
        True,
        [],
        {},
        "abc",
        "2024-10-07",
        "2024-10-07T15:51:00",
        "2024-10-07T15:51:00+0530",
        "2024-13-01T00:00:00Z",
        10**17,
    ],
)
def test_what_is_no_instant_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_instant(value)


def test_an_iso_field_takes_no_number() -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        read_iso(1705828011)


@pytest.mark.parametrize(
    ("seconds", "printed"), [(1705828011, "1705828011.000000000"), (1770034996.715319, "1770034996.715319000")]
)
def test_seconds_are_printed_with_nine_decimals(seconds: float, printed: str) -> None:
    assert str(nine_decimals(seconds)) == printed


def test_a_whole_second_stays_an_integer() -> None:
    assert (as_number((5, 0)), as_number((5, 500_000_000))) == (5, 5.5)
    assert isinstance(as_number((5, 0)), int)
