"""How a value is shown in messages."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.field_values import LONGEST_TEXT, shortened

QUICK = settings(max_examples=25, deadline=None)


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
