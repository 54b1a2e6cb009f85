"""When Airflow tries a task again after an error of this package, and how soon."""

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
#: Tasks that were asked to wait until the same second do not all come back in it.
SPREAD = 0.1


class CapillaryRetryPolicy(RetryPolicy):
    """Tries again when the server said so, and not at all where a person must fix something first.

    ======================================  =======================================================
    the task failed with                    then
    ======================================  =======================================================
    a ``RetryableError`` that asks to wait  retry after that time, up to 10 % later, never sooner;
                                            more than 24 hours is taken for 24 hours
    another ``RetryableError``              retry after the task's own ``retry_delay``
    any other error of this package         fail at once, with tries left
    anything else                           as Airflow does without a policy
    ======================================  =======================================================

    It can end the tries of a task, never add one: ``retries`` and ``max_tries`` stay as they are, so a retry goes
    on with its job. ``BadgeImportOperator`` has it as its default; it also fits a task of your own that uses
    ``CapillaryBadgeHook``. Airflow asks for it since 3.3. On 3.2 a retry waits for ``retry_delay``.

    :param chance: the randomness of waits, 0 <= value < 1.
    """

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance

    def __repr__(self) -> str:
        return "CapillaryRetryPolicy()"  # it is a default value, and shown as one

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the error alone. Airflow never asks about an ``AirflowFailException``: that one always fails."""
        if isinstance(exception, (RetryableError, BadgeTaskInterrupted)):
            return self._later(exception.retry_after)
        if isinstance(exception, (CapillaryError, BadgeTaskFailed)):
            return RetryDecision.fail("a person must fix this first; another try would fail in the same way")
        return RetryDecision.default()

    def _later(self, asked: float | None) -> RetryDecision:
        if asked is None or not 0 < asked < math.inf:  # what is no number compares as false
            return RetryDecision.default()
        seconds = min(asked, LONGEST_WAIT.total_seconds())
        delay = timedelta(seconds=seconds * (1 + SPREAD * self._chance()))
        return RetryDecision.retry(delay, f"asked to wait {seconds:,.1f} s before the next try")


#: What an operator of this package has unless it is given another one; ``None`` on Airflow 3.2.
RETRY_POLICY: RetryPolicy | None = CapillaryRetryPolicy() if HAS_RETRY_POLICIES else None
