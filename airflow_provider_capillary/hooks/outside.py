"""What operators tell the world around them never decides what becomes of their own work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

_Given = ParamSpec("_Given")
_Told = TypeVar("_Told")


def only_telling(tell: Callable[_Given, _Told]) -> Callable[_Given, _Told | None]:
    """Give ``None`` and a warning where telling fails, whatever it is: the rows are in the ledger by then."""

    @wraps(tell)
    def told(*args: _Given.args, **kwargs: _Given.kwargs) -> _Told | None:
        try:
            return tell(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - monitoring that is down must not fail a task whose work is done
            log.warning("%s could not be told: %s", tell.__name__, type(error).__name__)
            return None

    return told
