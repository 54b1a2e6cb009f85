from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.client.client_settings import TimestampFormat
from airflow_provider_capillary.client.wire import encode_batch, row_size
from airflow_provider_capillary.core.batching import (
    RAMP,
    Batch,
    Batcher,
    BatchLimits,
    fingerprint,
    request_id,
)
from airflow_provider_capillary.core.earned_badge import LARGEST, EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges, lane_of

QUICK = settings(max_examples=25, deadline=None)

BADGE_ID = "654e08f2041fd452b3ef5b2e"


def badges_of(customers: Iterable[int]) -> list[EarnedBadge]:
    return [
        EarnedBadge(n, BADGE_ID, customer, 1_700_000_000 + n, 1_800_000_000) for n, customer in enumerate(customers)
    ]


def body_of(badges: Sequence[EarnedBadge]) -> bytes:
    return encode_batch(badges, TimestampFormat.EPOCH_SECONDS)


def size_of(badge: EarnedBadge) -> int:
    return row_size(badge, TimestampFormat.EPOCH_SECONDS)


def roomy(rows: int, *, lanes: int, largest_row: float = math.inf) -> BatchLimits:
    """So many bytes that only rows count."""
    return BatchLimits(rows=rows, bytes=1_000_000, lanes=lanes, size_of=size_of, largest_row=largest_row)


def batched(badges: list[EarnedBadge], limits: BatchLimits, ramp: tuple[int, ...] = ()) -> list[Batch]:
    """All batches in the order in which they come out."""
    batcher = Batcher(limits, ramp)
    return [*batcher.fill(badges, ["window"]), *batcher.flush()]


def shape(batches: list[Batch]) -> list[tuple[int, bool, list[int]]]:
    return [(batch.lane, batch.canary, [badge.row_number for badge in batch.badges]) for batch in batches]


CUSTOMERS = st.lists(st.integers(1, 5) | st.integers(1, 2**63 - 1), max_size=60)
LIMITS = st.builds(
    BatchLimits,
    rows=st.integers(1, 9),
    bytes=st.integers(1, 1200),  # a row takes 110 to 130 bytes: some limits hold none, one, or several
    lanes=st.integers(1, 5),
    size_of=st.just(size_of),
    largest_row=st.sampled_from(
        [math.inf, size_of(LARGEST)]
    ),  # unknown, or known, so that some limits need no measuring
)
RAMPS = st.sampled_from([(), (1,), (1, 3), RAMP])


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS)
def test_every_row_is_in_exactly_one_batch(customers: list[int], limits: BatchLimits, ramp: tuple[int, ...]) -> None:
    badges = badges_of(customers)
    batches = batched(badges, limits, ramp)
    assert sorted(badge.row_number for batch in batches for badge in batch.badges) == list(range(len(badges)))
    assert all(batch.badges for batch in batches)


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS)
def test_the_rows_of_one_customer_keep_their_order(
    customers: list[int], limits: BatchLimits, ramp: tuple[int, ...]
) -> None:
    seen: dict[int, list[int]] = defaultdict(list)
    for batch in batched(badges_of(customers), limits, ramp):
        for badge in batch.badges:
            seen[badge.customer_id].append(badge.row_number)
    assert all(before < after for rows in seen.values() for before, after in pairwise(rows))


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS)
def test_one_customer_is_never_in_two_lanes(customers: list[int], limits: BatchLimits, ramp: tuple[int, ...]) -> None:
    lanes: dict[int, set[int]] = defaultdict(set)
    for batch in batched(badges_of(customers), limits, ramp):
        assert 0 <= batch.lane < limits.lanes
        for badge in batch.badges:
            if not batch.canary:  # canaries go one at a time, whatever their lane
                lanes[badge.customer_id].add(batch.lane)
    assert all(lanes[customer] == {lane_of(customer, limits.lanes)} for customer in lanes)


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS)
def test_no_batch_exceeds_rows_or_bytes(customers: list[int], limits: BatchLimits, ramp: tuple[int, ...]) -> None:
    for batch in batched(badges_of(customers), limits, ramp):
        assert len(batch.badges) <= limits.rows
        assert len(body_of(batch.badges)) <= limits.bytes or len(batch.badges) == 1


@QUICK
@given(CUSTOMERS, LIMITS)
def test_a_batch_is_short_only_where_needed(customers: list[int], limits: BatchLimits) -> None:
    of_lane: dict[int, list[Batch]] = defaultdict(list)
    for batch in batched(badges_of(customers), limits):
        of_lane[batch.lane].append(batch)
    for batches in of_lane.values():
        for batch, following in pairwise(batches):
            full = len(batch.badges) == limits.rows
            assert full or len(body_of([*batch.badges, following.badges[0]])) > limits.bytes


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_the_byte_limit_is_exact(rows: int) -> None:
    badges = badges_of([5] * rows)
    size = len(body_of(badges))
    exact = BatchLimits(rows=1000, bytes=size, lanes=1, size_of=size_of)
    assert [len(batch.badges) for batch in batched(badges, exact)] == [rows]
    tight = BatchLimits(rows=1000, bytes=size - 1, lanes=1, size_of=size_of)
    assert [len(batch.badges) for batch in batched(badges, tight)] == ([rows - 1, 1] if rows > 1 else [1])


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS)
def test_the_same_rows_always_make_the_same_batches(
    customers: list[int], limits: BatchLimits, ramp: tuple[int, ...]
) -> None:
    assert shape(batched(badges_of(customers), limits, ramp)) == shape(batched(badges_of(customers), limits, ramp))


def test_the_ramp_is_1_10_100() -> None:
    limits = roomy(500, lanes=1)
    batches = batched(badges_of([5] * 1200), limits, RAMP)
    assert [len(batch.badges) for batch in batches] == [1, 10, 100, 500, 500, 89]
    assert [batch.canary for batch in batches] == [True, True, True, False, False, False]


def test_a_canary_is_no_larger_than_a_batch() -> None:
    limits = roomy(4, lanes=1)
    assert [len(batch.badges) for batch in batched(badges_of([5] * 13), limits, RAMP)] == [1, 4, 4, 4]


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS)
def test_all_canaries_come_first(customers: list[int], limits: BatchLimits, ramp: tuple[int, ...]) -> None:
    canaries = [batch.canary for batch in batched(badges_of(customers), limits, ramp)]
    assert canaries == sorted(canaries, reverse=True)
    assert sum(canaries) <= len(ramp)


def test_a_ramp_ended_by_bytes_keeps_lanes() -> None:
    badges = badges_of([5, 5, 1, 2, 3])
    limits = BatchLimits(rows=500, bytes=len(body_of(badges[:2])) + 50, lanes=4, size_of=size_of)
    canary, *others = batched(badges, limits, (10,))
    assert [badge.row_number for badge in canary.badges] == [0, 1]
    assert [(batch.lane, batch.badges[0].customer_id) for batch in others] == [(0, 3), (1, 1), (2, 2)]


def test_what_is_left_comes_by_lane() -> None:
    limits = roomy(500, lanes=8)
    lanes = [batch.lane for batch in batched(badges_of(list(range(100, 0, -1))), limits)]
    assert lanes == list(range(8))


def test_the_batcher_knows_the_next_canary() -> None:
    limits = roomy(500, lanes=4)
    batcher = Batcher(limits, (1, 2))
    known = []
    for badge in badges_of([5] * 4):
        known.append(batcher.in_ramp)
        list(batcher.fill([badge], [None]))
    assert known == [True, True, True, False]


def test_without_a_ramp_there_is_no_canary() -> None:
    limits = roomy(2, lanes=4)
    assert not any(batch.canary for batch in batched(badges_of(list(range(1, 50))), limits))


def test_what_was_flushed_does_not_come_again() -> None:
    batcher = Batcher(roomy(9, lanes=3))
    assert list(batcher.fill(badges_of([1, 2, 3, 4]), [None])) == []
    assert sum(len(batch.badges) for batch in batcher.flush()) == 4
    assert batcher.flush() == []


def test_a_batch_knows_its_origins_in_order() -> None:
    first, second = object(), object()
    batcher = Batcher(roomy(4, lanes=1))
    full = [
        batch
        for badge, origin in zip(badges_of([5] * 4), (first, first, second, second), strict=True)
        for batch in batcher.fill([badge], [origin])
    ]
    (batch,) = full
    assert [origin is expected for origin, expected in zip(batch.origins, (first, second), strict=True)] == [True, True]


@QUICK
@given(CUSTOMERS, LIMITS, RAMPS, st.integers(0, 60))
def test_rows_by_table_make_the_same_batches(
    customers: list[int], limits: BatchLimits, ramp: tuple[int, ...], cut: int
) -> None:
    badges = badges_of(customers)
    together, one_by_one = Batcher(limits, ramp), Batcher(limits, ramp)
    batches = [batch for some in (badges[:cut], badges[cut:]) for batch in together.fill(some, ["window"])]
    expected = [batch for badge in badges for batch in one_by_one.fill([badge], ["window"])]
    for lane in range(limits.lanes):
        of_lane = [batch for batch in shape(batches + together.flush()) if batch[0] == lane]
        assert of_lane == [batch for batch in shape(expected + one_by_one.flush()) if batch[0] == lane]


def test_every_lane_gets_a_batch_before_a_second() -> None:
    limits = roomy(10, lanes=4, largest_row=size_of(LARGEST))
    batches = list(Batcher(limits).fill(badges_of(range(1, 401)), ["window"]))
    assert {batch.lane for batch in batches[:4]} == {0, 1, 2, 3}


def test_a_canary_leaves_before_the_next_row() -> None:
    batcher = Batcher(roomy(10, lanes=2, largest_row=size_of(LARGEST)), (1, 3))
    batches = batcher.fill(badges_of(range(1, 50)), ["window"])
    assert len(next(batches).badges) == 1
    assert batcher.flush() == []


@QUICK
@given(st.integers(2, 40), st.integers(0, 5))
def test_halves_hold_every_row_once(rows: int, tries: int) -> None:
    batch = Batch(3, EarnedBadges.of(badges_of([5] * rows)), ["window"], canary=True, tries=tries, requests=tries + 1)
    first, second = batch.halves()
    assert [*first.badges, *second.badges] == list(batch.badges)
    assert 0 <= len(first.badges) - len(second.badges) <= 1
    for half in (first, second):
        assert (half.lane, half.origins, half.canary) == (3, ["window"], True)
        assert half.tries == 0  # other rows, another body: nothing of it was tried yet
        assert half.requests == batch.requests  # but its rows have left already


def test_a_part_keeps_the_batchs_tries() -> None:
    batch = Batch(1, EarnedBadges.of(badges_of([5, 6])), ["window"], tries=2)
    assert batch.part(batch.badges[:1]).tries == 2
    assert batch.part(batch.badges[:1], tries=3).tries == 3


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_neighbouring_customers_spread_over_lanes(lanes: int) -> None:
    rows = [0] * lanes
    for customer in range(382_442_802, 382_442_802 + 8000):
        rows[lane_of(customer, lanes)] += 1
    assert max(rows) < 1.1 * 8000 / lanes
    assert min(rows) > 0.9 * 8000 / lanes


def test_a_customers_lane_is_the_same_in_every_version() -> None:
    assert [lane_of(customer, 4) for customer in (1, 2, 3, 382442802, 2**63 - 1)] == [1, 2, 0, 1, 2]


def test_fingerprints_are_equal_only_for_equal_bytes() -> None:
    assert fingerprint(b"[1]") == fingerprint(bytes([91, 49, 93]))
    assert len({fingerprint(body) for body in (b"", b"[]", b"[1]", b"[1] ", b"[2]")}) == 5


def test_a_fingerprint_is_the_same_in_every_version() -> None:
    assert fingerprint(b"[]") == "7ebb3c7c2a87b1a2f8a7ed729ecb040d"


BASE = ("job", "1fff64c0431f25d0", 7, 1, 0)


def test_an_attempt_has_one_request_id_everywhere() -> None:
    assert request_id(*BASE) == request_id(*BASE)
    assert request_id(*BASE) == str(uuid.UUID(request_id(*BASE)))
    assert request_id(*BASE) == "5f7f6d5c-4541-59c4-81ed-81f3b40be8e4"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("other", "1fff64c0431f25d0", 7, 1, 0), id="another job"),
        pytest.param(("job", "0fff64c0431f25d0", 7, 1, 0), id="another body"),
        pytest.param(("job", "1fff64c0431f25d0", 8, 1, 0), id="equal rows further on"),
        pytest.param(("job", "1fff64c0431f25d0", 7, 2, 0), id="another task attempt"),
        pytest.param(("job", "1fff64c0431f25d0", 7, 1, 1), id="another try"),
        pytest.param(("job", "1fff64c0431f25d0", 71, 0, 0), id="digits moved to another part"),
    ],
)
def test_another_attempt_never_reuses_a_request_id(other: tuple[str, str, int, int, int]) -> None:
    assert request_id(*other) != request_id(*BASE)


@QUICK
@given(st.sets(st.tuples(st.integers(1, 200), st.integers(0, 200)), min_size=2, max_size=20))
def test_attempts_of_a_batch_have_different_ids(attempts: set[tuple[int, int]]) -> None:
    assert len({request_id("job", "f" * 32, 1, fence, tries) for fence, tries in attempts}) == len(attempts)
