"""Errors in metrics, lineage or asset events are logged, and never fail the task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


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
