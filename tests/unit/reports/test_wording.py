from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.reports.wording import duration, instant, share, shown, without_password


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain text, as it is", "plain text, as it is"),
        ("Zoë, ग्राहक, 顧客, 🎖", "Zoë, ग्राहक, 顧客, 🎖"),
        ("क्\u200dष", "क्\u200dष"),  # a joiner within a word of India
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("a\u2066b\u2069\u200f\u061c", r"a\u2066b\u2069\u200f\u061c"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("\x00\x1b[31mred\x7f", r"\x00\x1b[31mred\x7f"),
        ("half\ud800", r"half\ud800"),
        ("no\xa0break", "no break"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_invisible_characters_are_written_out(text: str, seen: str) -> None:
    assert shown(text) == seen


@given(st.text(st.characters()), st.integers(1, 50))
def test_shown_text_is_one_short_line(text: str, longest: int) -> None:
    seen = shown(text, longest)
    assert len(seen) <= longest * 10  # each character may be written out
    assert not {unicodedata.category(c) for c in seen} & {"Cc", "Cs", "Zl", "Zp"}
    seen.encode("utf-8")


def test_long_text_is_cut_and_says_so() -> None:
    assert shown("x" * 100_000, 300) == "x" * 299 + "…"
    assert shown("x" * 300, 300) == "x" * 300


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        ("s3://aws_default@bucket/rows.csv", "s3://aws_default@bucket/rows.csv"),
        ("s3://key:secret@bucket/rows.csv", "s3://key:…@bucket/rows.csv"),
        ("postgresql://u:p:q@host/db", "postgresql://u:…@host/db"),
        ("file:///data/a:b@c.csv", "file:///data/a:b@c.csv"),
        ("rows", "rows"),
    ],
)
def test_a_password_in_a_uri_is_not_shown(uri: str, seen: str) -> None:
    assert without_password(uri) == seen


@pytest.mark.parametrize(
    ("part", "whole", "recorded"),
    [
        (0, 0, "0%"),
        (0, 9, "0%"),
        (9, 9, "100%"),
        (1, 3, "33.3%"),
        (1, 30_124, "<0.1%"),
        (30_123, 30_124, "99.9%"),
        (10**12 - 1, 10**12, "99.9%"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, recorded: str) -> None:
    assert share(part, whole) == recorded


@pytest.mark.parametrize(
    ("seconds", "recorded"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (7_384, "2 h 3 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_two_units(seconds: int, recorded: str) -> None:
    assert duration(seconds) == recorded


def test_an_instant_has_its_zone() -> None:
    assert instant("2025-01-15T12:00:00+00:00") == "2025-01-15 12:00:00 UTC"
    assert instant("2025-01-15T12:00:00+05:30") == "2025-01-15 12:00:00 UTC+05:30"
    with pytest.raises(ValueError, match="no offset"):
        instant("2025-01-15T12:00:00")
