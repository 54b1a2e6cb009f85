"""Airflow calls ``on_kill`` in a signal handler, between any two instructions of the main thread."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    ImportInterruptedError,
    LeaseLostError,
    LedgerUnavailableError,
)
from airflow_provider_capillary.jobs.pacing import StopSignal

#: Each round one signal comes, after a delay that differs a little. The guard ends a process that hangs.
STRESS = """
import faulthandler, signal
from airflow_provider_capillary.exceptions import ApiUnavailableError, ImportInterruptedError
from airflow_provider_capillary.jobs.pacing import StopSignal

faulthandler.dump_traceback_later(20, exit=True)
current = [StopSignal()]
signal.signal(signal.SIGALRM, lambda *_: current[0].request(ImportInterruptedError("stop")))
for number in range(3_000):
    stop = current[0] = StopSignal()
    signal.setitimer(signal.ITIMER_REAL, 0.0003 + number % 97 * 0.000003)
    while not stop.requested:
        stop.pause(0.00005)
    stop.request(ApiUnavailableError("after the signal"))
    assert isinstance(stop.error, ImportInterruptedError)
print("done")
"""


def test_a_signal_at_any_instruction_stops_the_job() -> None:
    done = subprocess.run([sys.executable, "-c", STRESS], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n", done.stderr[-3_000:]


def test_a_request_ends_a_long_pause() -> None:
    stop = StopSignal()
    waiting = threading.Thread(target=stop.pause, args=(3_600.0,))
    waiting.start()
    stop.request(ImportInterruptedError("stop"))
    waiting.join(timeout=5)
    assert not waiting.is_alive()


def test_a_pause_without_a_request_takes_its_time() -> None:
    begun = time.monotonic()
    StopSignal().pause(0.05)
    assert 0.05 <= time.monotonic() - begun < 5


def test_the_first_reason_counts_unless_the_ledger_is_lost() -> None:
    stop = StopSignal()
    first, second = ImportInterruptedError("first"), ApiUnavailableError("second")
    lost, gone = LeaseLostError("lost"), LedgerUnavailableError("gone")
    unforeseen, later = ZeroDivisionError(), KeyError()
    assert (stop.requested, stop.error) == (False, None)
    order = ((first, first), (second, first), (lost, lost), (gone, lost), (unforeseen, unforeseen), (later, unforeseen))
    for error, reason in order:
        stop.request(error)
        assert (stop.requested, stop.error) == (True, reason)
