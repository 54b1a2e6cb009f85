from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.simulator.badge_store import BadgeStore, Earn

GOLD, SILVER = "a" * 24, "b" * 24

EARNS = st.lists(
    st.tuples(
        st.integers(1, 5),  # few values, so that equal earns are frequent
        st.sampled_from([GOLD, SILVER]),
        st.tuples(st.integers(0, 2), st.sampled_from([0, 1])),
    )
)


def earn(position: int = 1, customer: int = 7, badge: str = GOLD, earned: tuple[int, int] = (100, 0)) -> Earn:
    return position, customer, badge, earned, (200, 0)


@given(EARNS)
def test_every_earn_is_a_grant_and_doubles_are_counted(
    earns: list[tuple[int, str, tuple[int, int]]],
) -> None:
    store = BadgeStore()
    for customer, badge, earned in earns:
        store.grant([earn(1, customer, badge, earned)], "request", 1_000)
    times = Counter(earns)
    summary = store.summary()
    assert summary.grants == len(store) == len(earns)
    assert summary.distinct == len(times)
    assert summary.granted_twice == sum(count > 1 for count in times.values())


@given(EARNS)
def test_a_customers_grants_are_found(earns: list[tuple[int, str, tuple[int, int]]]) -> None:
    store = BadgeStore()
    numbered = [earn(place, customer, badge, earned) for place, (customer, badge, earned) in enumerate(earns, 1)]
    store.grant(numbered, "request", 1_000)
    every = list(store.grants())
    for customer in range(1, 6):
        assert store.grants_of(customer) == [grant for grant in every if grant.customer_id == customer]
        gold = [grant for grant in every if (grant.customer_id, grant.badge_meta_id) == (customer, GOLD)]
        assert store.grants_of(customer, GOLD) == gold


def test_a_grant_is_read_as_it_was_given() -> None:
    store = BadgeStore()
    (earned_badge_id,) = store.grant([(3, 2**63 - 1, SILVER, (100, 500_000_000), (4_102_444_800_000, 0))], "base", 99.9)
    (grant,) = store.grants()
    assert grant == (2**63 - 1, SILVER, earned_badge_id, 100.5, 4_102_444_800_000, 99, "base_3", True)


def test_ids_are_object_ids_without_repeats() -> None:
    store = BadgeStore()
    ids = [
        identifier
        for now in (0x6576F7D2, 0x697B5F6F)
        for _ in range(3)
        for identifier in store.grant([earn(place) for place in range(1, 101)], "request", now)
    ]
    assert len(set(ids)) == len(ids) == 600
    assert {identifier[:8] for identifier in ids} == {"6576f7d2", "697b5f6f"}
    assert {len(identifier) for identifier in ids} == {24}
    assert ids == [grant.earned_badge_id for grant in store.grants()]


def test_the_counter_of_ids_wraps_around() -> None:
    random.seed(5)
    store = BadgeStore()
    store._next_counter = 2**24 - 1
    first, second = store.grant([earn(1), earn(2)], "request", 0)
    assert (first[-6:], second[-6:]) == ("ffffff", "000002")


def test_revoking_finds_only_the_grant_that_is_meant() -> None:
    store = BadgeStore()
    first, second = store.grant([earn(1), earn(2)], "request", 0)
    assert not store.revoke(8, GOLD, first)
    assert not store.revoke(7, SILVER, first)
    assert store.revoke(7, GOLD, second)
    assert not store.revoke(7, GOLD, second)
    assert [grant.is_active for grant in store.grants()] == [True, False]
    assert store.summary()[:2] == (2, 1)


def test_a_request_id_is_new_once() -> None:
    store = BadgeStore()
    assert [store.claim_request_id(name) for name in ("a", "b", "a")] == [True, True, False]


def test_clearing_forgets_grants_and_request_ids() -> None:
    store = BadgeStore()
    store.claim_request_id("a")
    store.grant([earn()], "request", 0)
    store.clear()
    assert (len(store), list(store.grants()), store.claim_request_id("a")) == (0, [], True)


def test_a_store_that_only_counts_keeps_nothing() -> None:
    store = BadgeStore(keep=False)
    assert len(store.grant([earn(1), earn(2)], "request", 0)) == 2
    assert store.summary() == (2, 2, None, None)
    assert store.grants_of(7) == []
