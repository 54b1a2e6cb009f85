"""Handles Ctrl-C and SIGTERM: once, and not while a process is being started or stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, a polite request to end, and the closing of the terminal.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C and its like wait until this is over, and come then.

    Where a process has been started and not been noted yet, or while others are being stopped, an exception out of
    nowhere would leave processes behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Take Ctrl-C, SIGTERM and the closing of the terminal as one ``KeyboardInterrupt``; a second one changes nothing.

    Also where the shell has us ignore Ctrl-C, as it does with what it starts in the background.
    """
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
