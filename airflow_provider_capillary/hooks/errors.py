"""How errors look to Airflow.

An error of this package that a retry cannot mend fails the task at once. A wrong argument fails the DAG file, as far as
it is known there. An error in metrics, lineage or asset events is logged, and never fails the task.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_capillary.core.given_values import is_known
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


class ChecksArguments(BaseOperator):
    """An operator that fails in the DAG file, and not at night, for an argument that no template can make right.

    A subclass names its arguments in ``checked``, says in ``check`` what is wrong with them, and calls
    ``check_known(vars(self))`` at the end of ``__init__``.
    """

    checked: ClassVar[tuple[str, ...]] = ()  #: arguments that ``check`` looks at

    @classmethod
    def check(cls, known: Mapping[str, Any]) -> None:
        """Check arguments.

        :param known: those of ``checked`` that were given, and hold no template and no other task's output.
        :raises CapillaryError: names the argument and what it may be.
        """
        raise NotImplementedError

    @classmethod
    def check_known(cls, arguments: Mapping[str, Any]) -> None:
        """Check the arguments that are known now.

        :param arguments: some or all of the operator's; those that are not in ``checked`` are not looked at.
        :raises BadgeTaskFailed: names the argument and what it may be.
        """
        given = {name: arguments[name] for name in cls.checked if name in arguments}
        try:
            cls.check({name: value for name, value in given.items() if is_known(value)})
        except CapillaryError as error:
            raise as_airflow_error(error) from error

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map over what ``expand`` gives. Wrong arguments that are known here fail here, not in the first task.

        :raises BadgeTaskFailed: names the argument and what it may be.
        """
        cls.check_known(kwargs)
        return super().partial(**kwargs)


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
