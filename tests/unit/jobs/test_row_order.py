from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.datasets.rows import RowWindow
from airflow_provider_capillary.jobs import row_check
from airflow_provider_capillary.jobs.row_check import in_customer_order

WINDOW = 3


def windows_of(customers: list[int], text: str = "") -> Iterator[tuple[EarnedBadges, RowWindow]]:
    for start in range(0, len(customers), WINDOW):
        some = customers[start : start + WINDOW]
        numbers = range(start + 1, start + 1 + len(some))
        rows = [EarnedBadge(number, "a" * 24, customer, 1, 2) for number, customer in zip(numbers, some, strict=True)]
        originals = [{"customerId": customer, "text": text} for customer in some]
        yield EarnedBadges.of(rows), RowWindow(originals, ("customerId", "text"), "rows", start + 1, start + 1)


customers_in_any_order = st.lists(st.integers(1, 6), max_size=30)


@given(customers_in_any_order, st.integers(1, 40))
def test_every_row_comes_once_with_its_window(customers: list[int], most: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(row_check, "MOST_ROWS", most)
        given_out = list(in_customer_order(windows_of(customers)))
    numbers = [number for badges, _ in given_out for number in badges.row_numbers]
    assert sorted(numbers) == list(range(1, len(customers) + 1))
    for badges, windows in given_out:
        held = {window.first_row_number + index for window in windows for index in range(len(window))}
        assert held >= set(badges.row_numbers)
        assert [window.first_row_number for window in windows] == sorted(window.first_row_number for window in windows)


@given(customers_in_any_order, st.integers(1, 40))
def test_one_customers_rows_keep_their_order(customers: list[int], most: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(row_check, "MOST_ROWS", most)
        rows = [badge for badges, _ in in_customer_order(windows_of(customers)) for badge in badges]
    for customer in set(customers):
        numbers = [badge.row_number for badge in rows if badge.customer_id == customer]
        assert all(before < after for before, after in pairwise(numbers))


def test_rows_in_no_order_are_sorted_together() -> None:
    customers = [5, 1, 4, 2, 6, 3, 5, 1, 2]
    rows = [badge.customer_id for badges, _ in in_customer_order(windows_of(customers)) for badge in badges]
    assert rows == sorted(customers)


def test_windows_in_order_are_not_held_back() -> None:
    read: list[int] = []

    def watched() -> Iterator[tuple[EarnedBadges, RowWindow]]:
        for badges, window in windows_of([1, 1, 2, 2, 3, 3]):
            read.append(window.first_row_number)
            yield badges, window

    next(in_customer_order(watched()))
    assert read == [1]


def test_wide_windows_are_held_up_to_their_bytes() -> None:
    wide = windows_of([3, 2, 1] * 20, text="x" * 1_000_000)
    _, windows = next(in_customer_order(wide))
    assert len(windows) <= 4  # of 6 MB each
