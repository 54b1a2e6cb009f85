"""Many badges are looked up by the organisation's list, and none is called missing on the list's word alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.client.wire_reads import BadgeList
from airflow_provider_capillary.exceptions import ImportStoppedError
from airflow_provider_capillary.jobs.pacing import Backoff, Pace, StopSignal
from airflow_provider_capillary.jobs.row_check import FEW_BADGES, look_up_badges
from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator
from airflow_provider_capillary.simulator.simulator_settings import SimulatedBadge

MANY = [f"{number:024x}" for number in range(1, 2_001)]


class LyingClient(BadgeClient):
    """Shows pages as a test changes them."""

    change: Any = staticmethod(lambda number, page: page)

    def badge_page(self, number: int, *, page_size: int = 100) -> BadgeList:
        return self.change(number, super().badge_page(number, page_size=page_size))  # type: ignore[no-any-return]


@pytest.fixture
def shop() -> Iterator[RunningSimulator]:
    with running_simulator(badges=[SimulatedBadge(badge) for badge in MANY]) as simulator:
        yield simulator


def client_of(simulator: RunningSimulator) -> LyingClient:
    known = simulator.settings
    chosen = ClientSettings(base_url=simulator.url, login=known.username, password=known.password)
    return LyingClient(chosen)


class Turns:
    """Counts the requests that took a turn of the budget."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self) -> float:
        self.taken += 1
        return 0.0


def look_up(client: BadgeClient, badges: list[str]) -> tuple[frozenset[str], int]:
    turns = Turns()
    pace = Pace(1, turns.take, StopSignal(lambda seconds: None), Backoff(lambda: 0.0), lambda: 0.0)
    return look_up_badges(badges, client, pace).missing, turns.taken


def test_two_thousand_badges_take_twenty_requests(shop: RunningSimulator) -> None:
    assert look_up(client_of(shop), MANY) == (frozenset(), 20)


def test_few_badges_are_looked_up_one_by_one(shop: RunningSimulator) -> None:
    assert look_up(client_of(shop), MANY[:FEW_BADGES]) == (frozenset(), FEW_BADGES)


def test_few_badges_do_not_read_a_long_list(shop: RunningSimulator) -> None:
    wanted = MANY[-15:]
    assert look_up(client_of(shop), wanted) == (frozenset(), 1 + 15)


def test_a_missing_badge_is_checked_alone(shop: RunningSimulator) -> None:
    gone = ["f" * 24, "e" * 24]
    assert look_up(client_of(shop), [*MANY, *gone]) == (frozenset(gone), 20 + 2)
    with pytest.raises(ImportStoppedError):
        look_up(client_of(shop), [f"{number:024x}" for number in range(5_000, 5_020)])


@pytest.mark.parametrize(
    "change",
    [
        lambda number, page: BadgeList(page.badges[1:], page.total_pages),
        lambda number, page: BadgeList(() if number == 3 else page.badges, page.total_pages),
        lambda number, page: BadgeList(page.badges[:10], None),
        lambda number, page: BadgeList(page.badges, 2),
        lambda number, page: BadgeList(page.badges, 10_000),
    ],
    ids=["leaves one out", "an empty page", "cut", "too few pages", "too many pages"],
)
def test_a_list_that_lies_makes_no_badge_missing(shop: RunningSimulator, change: Any) -> None:
    client = client_of(shop)
    client.change = change
    assert look_up(client, MANY[:300])[0] == frozenset()


def test_a_list_that_is_refused_is_done_without(shop: RunningSimulator) -> None:
    shop.use_faults([StatusFault(operation="badge_list", status=403)])
    assert look_up(client_of(shop), MANY[:20]) == (frozenset(), 1 + 20)
