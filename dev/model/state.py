"""The state of the model: what is at the API, in the ledger, on the wire, and in the memory of each worker.

Time goes in ticks, of which one is as long as a body may take to have left after its intent, and ``verify_after`` is
one as well. So a body leaves up to one tick after its intent, and is applied before the tick after that, or never.
Everything that happens between two ticks may happen in any order.

What the package numbers (fences, batches) is kept as what the numbers are compared for: whether a worker is the
latest of its job, and whether its batch is still the row's. All integers are 0 or above, because Python gives -1 and
-2 the same hash.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.send_limits import STALE_INTENT_SECONDS, WRITE_SECONDS
from airflow_provider_capillary.core.verification import Control

from .rules import HONEST, Bound, Mishaps, Rules, World

TICK = STALE_INTENT_SECONDS + WRITE_SECONDS  #: seconds
VERIFY_AFTER = TICK  #: seconds
OLDEST = 2  #: ticks; no rule asks for more, so ages stop here

_HOUR = 1_700_042_400
_LATER = _HOUR + 10**7
#: Rows 1 and 2 are of one customer, 3 and 4 of another. Row 3 alone is at a full minute.
ROWS = (
    EarnedBadge(1, "a" * 24, 1, _HOUR + 30, _LATER),
    EarnedBadge(2, "a" * 24, 1, _HOUR + 330, _LATER),
    EarnedBadge(3, "a" * 24, 2, _HOUR, _LATER),
    EarnedBadge(4, "a" * 24, 2, _HOUR + 630, _LATER),
)

Account = tuple[RowState | None, ...]  #: how each row ended, ``None`` where it has not yet


class Held(msgspec.Struct, frozen=True, gc=False):
    """The ledger's row of one identity. A batch has one row here: no rule looks at two rows of one batch."""

    state: RowState
    job: int
    age: int = 0  #: ticks since its intent, or since the end of its exchange was noted, by the ledger's clock
    cut_off: bool = True  #: no end of its exchange was noted
    by_reply: bool = False  #: accepted by a reply, so it can serve as a control


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job and its lease, which holds while the latest worker of the job lives."""

    begun: bool = False
    ran_out: bool = False  #: the lease ran out under a worker that lives; its next note renews it
    report: Account | None = None


class Body(msgspec.Struct, frozen=True, gc=False, order=True):
    """A request that has left, whose sender gave up or died, and that may still be applied."""

    row: int
    job: int


class Step(IntEnum):
    """What a worker does next."""

    START = 0
    PLAN = 1
    NOTE_INTENT = 2
    SEND = 3
    NOTE_OUTCOME = 4
    READ_BACK = 5
    NOTE_FINDING = 6
    REPORT = 7
    NOTHING = 8


class Worker(msgspec.Struct, frozen=True, gc=False):
    """The memory of one process; gone when it dies."""

    job: int
    account: Account
    step: Step = Step.START
    latest: bool = False  #: its fence is the job's: no other worker took the job over
    row: int = 0
    batch_stands: bool = False  #: the row's batch is still the one that this worker sent, or will read back
    sends: int = 0  #: how often it noted the intent for the row
    timer: int = 0  #: before a send the age of the intent, before a read the ticks still to wait
    outcome: RowState | None = None  #: of the reply or of the read: what to note
    counted: int = 0  #: earns that the read counted
    control: Control = Control.NONE_YET
    aside: tuple[int, ...] = ()  #: rows that wait for a control
    at_end: bool = False  #: only rows that were set aside are left

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return Step.START < self.step < Step.NOTHING


class State(msgspec.Struct, frozen=True, gc=False):
    """All there is. ``left`` is how much may still go wrong."""

    grants: tuple[tuple[int, ...], ...]  #: for each row, the job of each grant
    hidden: tuple[int, ...]  #: rows that reads do not show yet
    ledger: tuple[Held | None, ...]
    wire: tuple[Body, ...]
    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    left: Mishaps


class Model(msgspec.Struct, frozen=True):
    """What stays the same during a search."""

    rules: Rules = Rules()
    world: World = HONEST
    bound: Bound = Bound()

    def start(self) -> State:
        """Nothing has happened yet."""
        bound = self.bound
        return State(
            grants=((),) * bound.rows,
            hidden=(),
            ledger=(None,) * bound.rows,
            wire=(),
            jobs=(Job(),) * (max(bound.jobs) + 1),
            workers=tuple(self.at_rest(slot) for slot in range(len(bound.jobs))),
            left=bound.mishaps,
        )

    def at_rest(self, slot: int, step: Step = Step.START) -> Worker:
        """A worker without memory: not started, or at its end."""
        return Worker(self.bound.jobs[slot], (None,) * self.bound.rows, step)
