"""The retry policy that decides whether Airflow tries a task again after an error of this package, and how soon."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_capillary.exceptions import CapillaryError, RetryableError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, BadgeTaskInterrupted
from airflow_provider_capillary.operators.airflow_installation import HAS_RETRY_POLICIES, RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["CapillaryRetryPolicy"]

LONGEST_WAIT = timedelta(hours=24)
#: The share by which a wait is lengthened at most, so that tasks which were asked to wait equally long do not all
#: return in the same second.
SPREAD = 0.1


class CapillaryRetryPolicy(RetryPolicy):
    """Tries again after the time that the server asked for, and not at all if a person must fix something first.

    ======================================  =======================================================
    the task failed with                    then
    ======================================  =======================================================
    a ``RetryableError`` that asks to wait  retry after that time, up to 10 % later, never sooner;
                                            24 hours at most
    another ``RetryableError``              retry after the task's own ``retry_delay``
    any other error of this package         fail at once, with tries left
    anything else                           as Airflow does without a policy
    ======================================  =======================================================

    It can end the tries of a task, never add one: ``retries`` and ``max_tries`` do not change, so a retry goes on
    with its job. It is the default of the operators of this package, and works for a task of your own that uses
    ``CapillaryBadgeHook``. Airflow uses it since 3.3. On 3.2 a retry waits for ``retry_delay``.

    :param chance: gives a random number, 0 <= value < 1, by which a wait is lengthened.
    """

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance

    def __repr__(self) -> str:
        return "CapillaryRetryPolicy()"  # Airflow shows the default value of the argument

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the error alone. For an ``AirflowFailException`` Airflow does not call this: the task fails."""
        if isinstance(exception, (RetryableError, BadgeTaskInterrupted)):
            return self._later(exception.retry_after)
        if isinstance(exception, (CapillaryError, BadgeTaskFailed)):
            return RetryDecision.fail("a person must fix this first; another try would fail in the same way")
        return RetryDecision.default()

    def _later(self, asked: float | None) -> RetryDecision:
        if asked is None or not 0 < asked < math.inf:  # NaN compares as false
            return RetryDecision.default()
        seconds = min(asked, LONGEST_WAIT.total_seconds())
        delay = timedelta(seconds=seconds * (1 + SPREAD * self._chance()))
        return RetryDecision.retry(delay, f"asked to wait {seconds:,.1f} s before the next try")


#: What an operator of this package has unless it is given another one; ``None`` on Airflow 3.2.
RETRY_POLICY: RetryPolicy | None = CapillaryRetryPolicy() if HAS_RETRY_POLICIES else None
