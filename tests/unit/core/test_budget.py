from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.exceptions import ConfigurationError

QUICK = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize("value", [5, "5", " 5 "])
def test_a_count_is_an_exact_limit(value: int | str) -> None:
    budget = parse_budget("max_rejected", value)
    for rows_read in (5, 6, 1_000_000):
        assert not budget.exceeded(5, rows_read)
        assert budget.exceeded(6, rows_read)


@pytest.mark.parametrize("value", [0, "0", "0%", "0.0%"])
def test_a_budget_of_nothing_allows_nothing(value: int | str) -> None:
    budget = parse_budget("max_unknown", value)
    assert not budget.exceeded(0, 0)
    assert not budget.exceeded(0, 100)
    assert budget.exceeded(1, 1_000_000)


def test_no_rows_do_not_exceed_a_share() -> None:
    assert not parse_budget("max_rejected", "5%").exceeded(0, 0)


@pytest.mark.parametrize("value", ["100%", "100.0 %"])
def test_a_share_of_all_is_never_exceeded(value: str) -> None:
    assert not parse_budget("max_rejected", value).exceeded(7, 7)


@QUICK
@given(percent=st.integers(0, 100), hundreds=st.integers(1, 10_000))
@example(percent=29, hundreds=1)
@example(percent=57, hundreds=1)
@example(percent=7, hundreds=1)
def test_a_share_is_an_exact_part(percent: int, hundreds: int) -> None:
    budget = parse_budget("max_rejected", f"{percent}%")
    assert not budget.exceeded(percent * hundreds, 100 * hundreds)
    assert budget.exceeded(percent * hundreds + 1, 100 * hundreds)


@QUICK
@given(st.integers(0, 1000), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_share_with_a_decimal_is_as_exact(per_mille: int, rows: int, rows_read: int) -> None:
    budget = parse_budget("max_rejected", f"{per_mille // 10}.{per_mille % 10}%")
    assert budget.exceeded(rows, rows_read) == (rows > Fraction(per_mille, 1000) * rows_read)


@pytest.mark.parametrize(
    "value",
    [
        5.0,
        0.05,
        float("nan"),
        True,
        False,
        -1,
        "-1",
        "-5%",
        "101%",
        "nan%",
        "inf%",
        "-inf%",
        "%",
        "",
        " ",
        "5.5",
        "0.05",
        "five",
        "5%%",
        "%5",
        "5 rows",
        None,
        [5],
    ],
    ids=repr,
)
def test_a_wrong_budget_is_refused_with_advice(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_rejected is .*; it may be a number of rows .* or a share"):
        parse_budget("max_rejected", value)


@pytest.mark.parametrize(("value", "text"), [(100, "100"), (" 5% ", "5%")])
def test_a_budget_is_shown_as_written(value: int | str, text: str) -> None:
    assert parse_budget("max_rejected", value).text == text
