"""How errors look to Airflow.

An error of this package that a retry cannot mend fails the task at once. An error in metrics, lineage or asset events
is logged, and never fails the task.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_capillary.exceptions import CapillaryError, RetryableError

log = logging.getLogger(__name__)

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class BadgeTaskFailed(AirflowFailException):
    """A person must fix something first. The task fails without another try, on every version of Airflow."""


class BadgeTaskInterrupted(AirflowException):
    """A later try may succeed. The task's ``retries`` apply.

    ``retry_after``: seconds to wait, as the API or the lease of another copy asks; ``None``: neither asks.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def as_airflow_error(error: CapillaryError, message: str | None = None) -> AirflowException:
    """Translate an error. Operators call it once, in ``execute``.

    :param message: the text for people; ``None``: the error's own.
    """
    text = message or str(error)
    if not isinstance(error, RetryableError):
        return BadgeTaskFailed(text)
    seconds = error.retry_after
    if seconds is None or not 0 < seconds < math.inf:
        return BadgeTaskInterrupted(text)
    return BadgeTaskInterrupted(
        f"{text}. Asked to wait {math.ceil(seconds):,} s before the next try", retry_after=seconds
    )


def errors_logged(work: Callable[_Given, _Result]) -> Callable[_Given, _Result | None]:
    """Log a warning and give ``None`` if the work raises. The ledger has the outcomes by then, so nothing is lost."""

    @wraps(work)
    def guarded(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result | None:
        try:
            return work(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - monitoring that is down must not fail a task whose work is done
            log.warning("%s failed; the task's own work is not affected: %s", work.__name__, type(error).__name__)
            return None

    return guarded
