"""The one loop that repeats a request: when it waits, when it gives up, and that it obeys a stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    ImportInterruptedError,
    LedgerUnavailableError,
    RequestRefusedError,
)
from airflow_provider_capillary.jobs.pacing import Backoff, Pace, StopSignal


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def pace(time: Time, stop: StopSignal | None = None, reserve: Callable[[], float] | None = None) -> Pace:
    return Pace(1, reserve, stop or StopSignal(time.wait), Backoff(lambda: 0.5), lambda: time.now)


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def request() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return request


def unavailable(retry_after: float | None = None) -> ApiUnavailableError:
    return ApiUnavailableError("away", retry_after=retry_after)


def test_an_answer_at_once_waits_for_nothing() -> None:
    time = Time()
    assert (pace(time).call(failing()), time.waits) == ("answer", [])


def test_a_request_is_repeated_after_pauses_that_grow() -> None:
    time = Time()
    assert pace(time).call(failing(unavailable(), unavailable(), unavailable())) == "answer"
    assert time.waits == [0.5, 1.0, 2.0]


def test_what_the_api_asks_for_is_waited_for() -> None:
    time = Time()
    assert pace(time).call(failing(unavailable(30.0))) == "answer"
    assert time.waits == [30.5]


@pytest.mark.parametrize("asked", [300.1, 86_400.0])
def test_too_long_a_wait_is_left_to_airflow(asked: float) -> None:
    time, error = Time(), unavailable(asked)
    with pytest.raises(ApiUnavailableError) as raised:
        pace(time).call(failing(error))
    assert (raised.value, time.waits) == (error, [])


def test_it_gives_up_after_six_tries() -> None:
    time, calls = Time(), 0

    def request() -> str:
        nonlocal calls
        calls += 1
        raise unavailable()

    with pytest.raises(ApiUnavailableError):
        pace(time).call(request)
    assert calls == 6


@pytest.mark.parametrize("error", [RequestRefusedError("no"), LedgerUnavailableError("gone"), ValueError("a defect")])
def test_whatever_else_goes_wrong_is_not_repeated(error: Exception) -> None:
    time = Time()
    with pytest.raises(type(error)):
        pace(time).call(failing(error))
    assert time.waits == []


def test_each_try_takes_a_turn_of_the_budget() -> None:
    time, turns = Time(), 0

    def reserve() -> float:
        nonlocal turns
        turns += 1
        return 7.0

    assert pace(time, reserve=reserve).call(failing(unavailable())) == "answer"
    assert (turns, time.waits) == (2, [7.0, 7.0])  # the pause of half a second is over when the turn comes


@pytest.mark.parametrize("moment", ["before", "while waiting"])
def test_a_stop_ends_it_without_another_request(moment: str) -> None:
    time, calls = Time(), 0
    stop = StopSignal(lambda seconds: stop.request(ImportInterruptedError("stop")))
    if moment == "before":
        stop.request(ImportInterruptedError("stop"))

    def request() -> str:
        nonlocal calls
        calls += 1
        raise unavailable()

    with pytest.raises(ImportInterruptedError):
        pace(time, stop).call(request)
    assert calls == (0 if moment == "before" else 1)
