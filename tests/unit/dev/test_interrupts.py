"""An interrupt comes once, and not where a process is being started or stopped."""

from __future__ import annotations

import os
import signal

import pytest

from dev.interrupts import (
    INTERRUPTS,
    interrupts_held,
    one_interrupt,
)


@pytest.mark.parametrize("number", INTERRUPTS)
def test_an_interrupt_waits_for_starts_and_stops(number: signal.Signals) -> None:
    done = []

    def starts_something() -> None:
        with one_interrupt(), interrupts_held():
            os.kill(os.getpid(), number)
            done.append("noted")

    with pytest.raises(KeyboardInterrupt):
        starts_something()
    assert done == ["noted"]


def test_a_second_interrupt_does_not_disturb_the_stopping() -> None:
    before = [signal.getsignal(number) for number in INTERRUPTS]
    stopped = []
    with one_interrupt():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            stopped.append("all")
    assert stopped == ["all"]
    assert [signal.getsignal(number) for number in INTERRUPTS] == before


def test_ctrl_c_works_where_it_was_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), one_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
