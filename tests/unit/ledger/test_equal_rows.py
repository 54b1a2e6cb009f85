"""Equal rows of one dataset are counted, however many there are between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.ledger.equal_rows import OccurrenceCounter

GOLD, SILVER = "a1" * 12, "b2" * 12


def badge(customer: int = 7, name: str = GOLD, earned: int = 1_700_000_000, row: int = 1) -> EarnedBadge:
    return EarnedBadge(row, name, customer, earned, earned + 1)


def nameless_files() -> int:
    """Files that this process has open and that stand in no folder."""
    return sum(os.readlink(each).endswith("(deleted)") for each in Path("/proc/self/fd").iterdir() if each.is_symlink())


@pytest.fixture
def counter() -> Iterator[OccurrenceCounter]:
    found = OccurrenceCounter()
    yield found
    found.close()


def test_each_identity_is_counted_across_calls(counter: OccurrenceCounter) -> None:
    rows = [badge(), badge(customer=8), badge(), badge(name=SILVER), badge(earned=1_700_000_001), badge(row=9)]
    assert counter.count(rows) == [1, 1, 2, 1, 1, 3]
    assert counter.count(rows) == [4, 2, 5, 2, 2, 6]
    assert counter.count([]) == []


def test_any_date_ignores_the_instant() -> None:
    counter = OccurrenceCounter(any_date=True)
    assert counter.count([badge(), badge(earned=1_800_000_000), badge(name=SILVER)]) == [1, 2, 1]
    counter.close()


def test_the_largest_customer_id_is_counted(counter: OccurrenceCounter) -> None:
    assert counter.count([badge(customer=2**63 - 1)] * 2) == [1, 2]


def test_two_counters_know_nothing_of_each_other() -> None:
    first, second = OccurrenceCounter(), OccurrenceCounter()
    assert (first.count([badge()]), second.count([badge()])) == ([1], [1])
    first.close()
    second.close()


def test_many_rows_lie_in_a_temporary_file() -> None:
    before = nameless_files()
    counter = OccurrenceCounter()
    counter.count([badge(customer=number) for number in range(60_000)])
    assert nameless_files() == before + 1
    counter.close()
    assert nameless_files() == before
