from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges

badges = st.builds(
    EarnedBadge,
    st.integers(1, 10**9),
    st.sampled_from(["a" * 24, "b" * 24]),
    st.integers(1, 2**63 - 1),
    st.integers(946_684_800, 4_102_444_799),
    st.integers(946_684_800, 4_102_444_799),
    st.sampled_from([1, 1, 1, 2]),
)
rows = st.lists(badges, max_size=8)


@given(rows)
def test_columns_read_as_the_rows_they_hold(given_rows: list[EarnedBadge]) -> None:
    columns = EarnedBadges.of(given_rows)
    assert list(columns) == given_rows
    assert [columns[index] for index in range(len(columns))] == given_rows
    assert columns == given_rows
    assert columns != [*given_rows, EarnedBadge(1, "c" * 24, 1, 2, 3)]
    assert EarnedBadges.of(columns) is columns


@given(rows, st.data())
def test_parts_hold_the_rows_asked_for(given_rows: list[EarnedBadge], data: st.DataObject) -> None:
    columns = EarnedBadges.of(given_rows)
    positions = data.draw(st.lists(st.sampled_from(range(len(given_rows))), unique=True)) if given_rows else []
    assert list(columns.take(positions)) == [given_rows[index] for index in positions]
    chosen = data.draw(st.lists(st.booleans(), min_size=len(given_rows), max_size=len(given_rows)))
    assert list(columns.where(chosen)) == [row for row, good in zip(given_rows, chosen, strict=True) if good]
    cut = data.draw(st.integers(0, len(given_rows)))
    assert list(columns[:cut]) == given_rows[:cut]
    assert list(EarnedBadges.joined([columns[:cut], columns[cut:]])) == given_rows


@given(rows, rows)
def test_joining_leaves_its_parts_as_they_were(first: list[EarnedBadge], second: list[EarnedBadge]) -> None:
    one, other = EarnedBadges.of(first), EarnedBadges.of(second)
    assert list(EarnedBadges.joined([one, other])) == first + second
    assert (list(one), list(other)) == (first, second)
