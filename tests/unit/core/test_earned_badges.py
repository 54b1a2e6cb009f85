from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges, lane_of

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


@given(st.lists(badges, max_size=40), st.integers(1, 9))
def test_a_lane_has_its_customers_rows_in_order(given_rows: list[EarnedBadge], lanes: int) -> None:
    dealt = EarnedBadges.of(given_rows).by_lane(lanes)
    wanted = {lane: [row for row in given_rows if lane_of(row.customer_id, lanes) == lane] for lane in range(lanes)}
    assert {lane: list(part) for lane, part in dealt.items()} == {lane: part for lane, part in wanted.items() if part}


@given(st.lists(badges, max_size=40))
def test_rows_of_one_customer_keep_their_order(given_rows: list[EarnedBadge]) -> None:
    columns, wanted = EarnedBadges.of(given_rows), sorted(given_rows, key=lambda row: row.customer_id)
    assert list(columns.by_customer()) == wanted
    assert columns.is_by_customer() == ([row.customer_id for row in wanted] == [row.customer_id for row in given_rows])
    assert columns.by_customer().is_by_customer()


@given(st.lists(badges, min_size=1, max_size=20), st.data())
def test_table_parts_equal_list_parts(given_rows: list[EarnedBadge], data: st.DataObject) -> None:
    rows = EarnedBadges.of(given_rows).by_customer()  # a table without lists
    wanted = sorted(given_rows, key=lambda row: row.customer_id)
    first, last = (data.draw(st.integers(0, len(given_rows))) for _ in range(2))
    assert list(rows[first:last]) == wanted[first:last]
    assert list(EarnedBadges.joined([rows[first:], rows[:first]])) == wanted[first:] + wanted[:first]
    assert list(EarnedBadges.joined([rows, EarnedBadges.of(given_rows)])) == wanted + given_rows
    assert rows.has_none_of(frozenset({"c" * 24}))
    assert rows.has_none_of(frozenset({"a" * 24})) == all(row.badge_meta_id != "a" * 24 for row in wanted)
    assert [rows[index] for index in range(len(rows))] == wanted
