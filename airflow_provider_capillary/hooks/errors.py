"""How this package's errors look to Airflow: those that a retry cannot mend fail the task at once."""

from __future__ import annotations

import math

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_capillary.exceptions import CapillaryError, RetryableError


class BadgeTaskFailed(AirflowFailException):
    """A person must fix something first; the task fails without another try, on every version of Airflow."""


class BadgeTaskInterrupted(AirflowException):
    """A later try may succeed; the task's ``retries`` apply.

    ``retry_after``: seconds that the API, or the lease of another copy, asked to wait; ``None``: nothing was asked.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def as_airflow_error(error: CapillaryError, message: str | None = None) -> AirflowException:
    """Translate an error, once, at the operator's door."""
    text = message or str(error)
    if not isinstance(error, RetryableError):
        return BadgeTaskFailed(text)
    seconds = error.retry_after
    if seconds is None or not 0 < seconds < math.inf:
        return BadgeTaskInterrupted(text)
    return BadgeTaskInterrupted(
        f"{text}. Asked to wait {math.ceil(seconds):,} s before the next try", retry_after=seconds
    )
