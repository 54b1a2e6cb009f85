"""What this package's errors are to Airflow, whatever its version: the class alone says if there is another try."""

from __future__ import annotations

import inspect
import math
import pickle

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_capillary import exceptions
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    CapillaryError,
    ImportInterruptedError,
    JobIsRunningError,
    LedgerUnavailableError,
    RetryableError,
)
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, BadgeTaskInterrupted, as_airflow_error

ERRORS = [one for _, one in inspect.getmembers(exceptions, inspect.isclass) if issubclass(one, CapillaryError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_only_passing_errors_are_retried(kind: type[CapillaryError]) -> None:
    reported = as_airflow_error(kind("reported"))
    assert isinstance(reported, AirflowException)
    assert isinstance(reported, BadgeTaskInterrupted) is issubclass(kind, RetryableError)
    # on no version of Airflow can anything bring a task back that failed with this one
    assert (
        isinstance(reported, AirflowFailException)
        is isinstance(reported, BadgeTaskFailed)
        is not issubclass(kind, RetryableError)
    )


@pytest.mark.parametrize("asked", [None, 0.0, -5.0, math.nan, math.inf, -math.inf])
def test_a_missing_wait_is_not_passed_on(asked: float | None) -> None:
    reported = as_airflow_error(ApiUnavailableError("reported", retry_after=asked))
    assert isinstance(reported, BadgeTaskInterrupted)
    assert (str(reported), reported.retry_after) == ("reported", None)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ApiUnavailableError("the API could not be used (429)", retry_after=1.2), "2 s"),
        (JobIsRunningError("another copy is running", retry_after=42.0), "42 s"),
        (LedgerUnavailableError("locked", retry_after=3_600.0), "3,600 s"),
    ],
)
def test_the_message_says_how_long_was_asked_for(error: RetryableError, seconds: str) -> None:
    reported = as_airflow_error(error)
    assert isinstance(reported, BadgeTaskInterrupted)
    assert reported.retry_after == error.retry_after
    assert str(reported) == f"{error}. Asked to wait {seconds} before the next try"
    assert seconds in str(as_airflow_error(error, "counts and reasons"))


def test_the_message_invents_no_wait() -> None:
    assert str(as_airflow_error(ImportInterruptedError("asked to stop"))) == "asked to stop"


def test_a_copied_error_keeps_its_wait() -> None:
    one = pickle.loads(pickle.dumps(BadgeTaskInterrupted("reported", retry_after=7.0)))
    assert (str(one), one.retry_after) == ("reported", 7.0)
