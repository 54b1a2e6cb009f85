"""No process outlives the demo."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from dev.processes import (
    INTERRUPTS,
    child_process,
    interrupts_held,
    one_interrupt,
    sigterm_as_interrupt,
)

WAITS = "import time; print('up', flush=True); time.sleep(60)"


def test_a_child_is_stopped_when_the_demo_is_interrupted(tmp_path: Path) -> None:
    started = []

    def interrupted_demo() -> None:
        with child_process([sys.executable, "-c", WAITS], os.environ, tmp_path / "log") as child:
            started.append(child)
            assert child.poll() is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_demo()
    assert started[0].poll() == -signal.SIGTERM


def test_sigterm_ends_the_demo_like_ctrl_c_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_child_says_is_in_its_log(tmp_path: Path) -> None:
    with child_process([sys.executable, "-c", "print('well')"], os.environ, tmp_path / "logs" / "a.log") as child:
        assert child.wait(30) == 0
    assert (tmp_path / "logs" / "a.log").read_text() == "well\n"


@pytest.mark.parametrize("number", INTERRUPTS)
def test_an_interrupt_waits_until_processes_are_started_or_stopped_and_comes_then(number: signal.Signals) -> None:
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


def test_ctrl_c_works_where_the_shell_had_it_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), one_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
