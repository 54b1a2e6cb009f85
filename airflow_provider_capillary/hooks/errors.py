"""How this package's errors look to Airflow: those that a retry cannot mend fail the task at once."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_capillary.exceptions import CapillaryError, RetryableError


class BadgeTaskFailed(AirflowFailException):
    """A person must fix something first; the task fails without another try."""


class BadgeTaskInterrupted(AirflowException):
    """A later try may succeed; the task's ``retries`` apply."""


def as_airflow_error(error: CapillaryError, message: str | None = None) -> AirflowException:
    """Translate an error, once, at the operator's door."""
    text = message or str(error)
    return BadgeTaskInterrupted(text) if isinstance(error, RetryableError) else BadgeTaskFailed(text)
