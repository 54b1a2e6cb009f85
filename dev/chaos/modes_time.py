"""Modes of time: slow connects, late application, clocks that step, a process that is paused over its lease.

Seconds are a fifth of those that the names give: ``verify_after`` is 3 s for 15 s. An intent is stale after 0.5 s.
Between instants that must lie apart there is half a second or more, so that a busy machine breaks nothing.
"""

from __future__ import annotations

import signal
from functools import partial

from airflow_provider_capillary.simulator.fault_plan import DropFault, HangFault

from .mode import Mode
from .plans import End
from .stage import LEASE_SECONDS, Stage
from .surroundings import FROM_THE_START

VERIFY_AFTER = 3.0
LATE = 2.4  #: seconds from the body's arrival to its application, where its sender counts from losing the reply
LATEST = 2.9  #: where the sender is dead: the next one counts from the latest moment at which the body can have left
HOUR = 3_600.0
_SETTINGS = {"batch_size": 10, "verify_after": VERIFY_AFTER}
_APPLIED_LATE = (HangFault(when="late", late_by=LATEST, seconds=60, numbers=(1,)),)
_DROPPED_AND_APPLIED_LATE = (DropFault(at="late", late_by=LATE, numbers=(1,)),)
_PAUSED = {"batch_size": 10, "verify_after": 0.3}

Steps = tuple[tuple[float, float], ...]


def killed_in_flight(stage: Stage, connect_seconds: float = 0.0, clock: Steps = (), clock_after: Steps = ()) -> None:
    """A process is killed as its request arrives; the retry comes at once, while the request is not yet applied."""
    stage.prove_reads()
    child = stage.begin(connect_seconds=connect_seconds, clock=clock)
    stage.simulator.wait_for_imports(1, seconds=connect_seconds + 6)
    stage.kill(child)
    stage.wait(child)
    stage.heal()
    stage.run(clock=clock_after)
    stage.end()


def clock_steps(stage: Stage, clock: Steps) -> None:
    """The clock steps while the process waits to read rows back."""
    stage.prove_reads()
    stage.run(clock=clock)
    stage.end()


def paused(stage: Stage, call: str, moment: str = "before") -> None:
    """A process is paused after its intent, for longer than its lease; another copy ends the job meanwhile."""
    stage.prove_reads()
    child = stage.begin(end=End(call=call, moment=moment, number=1, pause=True))
    if stage.wait_until_paused(child):
        stage.run()  # waits for the lease
        child.send_signal(signal.SIGCONT)
    stage.wait(child, seconds=LEASE_SECONDS + 20)
    stage.end()


TIME_MODES = (
    Mode("killed in flight, applied just before verify_after", killed_in_flight, _APPLIED_LATE, {}, _SETTINGS, 10),
    Mode(
        "reply lost, applied just before verify_after",
        partial(clock_steps, clock=()), _DROPPED_AND_APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode(
        "connect of 1.5 s, killed in flight, applied just before verify_after",
        partial(killed_in_flight, connect_seconds=0.3), _APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode(
        "connect of 9 s, killed in flight, applied just before verify_after",
        partial(killed_in_flight, connect_seconds=1.8), _APPLIED_LATE, {}, _SETTINGS, 10, in_tests=False,
    ),
    Mode(
        "connect of 12 s, killed in flight, applied just before verify_after",
        partial(killed_in_flight, connect_seconds=2.4), _APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode(
        "connect of 12 s and the rest, ledger on PostgreSQL",
        partial(killed_in_flight, connect_seconds=2.4), _APPLIED_LATE, {}, _SETTINGS, 10,
        database="postgres", in_tests=False,
    ),
    Mode(
        "clock an hour behind at the intent, put right before the retry",
        partial(killed_in_flight, clock=((FROM_THE_START, -HOUR),)), _APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode(
        "clock an hour ahead at the intent, put right before the retry",
        partial(killed_in_flight, clock=((FROM_THE_START, HOUR),)), _APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode(
        "clock put an hour forward while rows wait to be read back",
        partial(clock_steps, clock=((1.0, HOUR),)), _DROPPED_AND_APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode(
        "clock put an hour back while rows wait to be read back",
        partial(clock_steps, clock=((1.0, -HOUR),)), _DROPPED_AND_APPLIED_LATE, {}, _SETTINGS, 10,
    ),
    Mode("paused over its lease before the call", partial(paused, call="send"), (), {}, _PAUSED, 10),
    Mode("paused over its lease as the body leaves", partial(paused, call="body"), (), {}, _PAUSED, 10),
    Mode(
        "paused over its lease before the reply is read",
        partial(paused, call="body", moment="after"), (), {"earns_detail": False}, _PAUSED, 10,
    ),
)  # fmt: skip
