"""No process outlives the demo."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from airflow_provider_capillary.demo.processes import child_process, sigterm_as_interrupt

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
