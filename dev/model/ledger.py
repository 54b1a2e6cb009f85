"""The ledger's part of the model: each function is one transaction, as in the package's ``ledger/``.

Whether a row may change its state is asked of the real table, ``core.row_state``; what to do with a row, of
``core.planning``.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from airflow_provider_capillary.core import planning
from airflow_provider_capillary.core.planning import Plan, plan_row
from airflow_provider_capillary.core.row_state import TRANSITIONS, RowState
from airflow_provider_capillary.core.verification import OtherRow

from .rules import Rules
from .state import ROWS, Held, State, Step, Worker

_Item = TypeVar("_Item")
_UNPROVEN = (RowState.INTENT, RowState.UNKNOWN)


class ForbiddenChangeError(AssertionError):
    """A step of the model would change a row in a way that is not in the table of transitions."""


def put(items: tuple[_Item, ...], index: int, item: _Item) -> tuple[_Item, ...]:
    """The tuple with one item replaced."""
    return (*items[:index], item, *items[index + 1 :])


def lease_holds(state: State, job: int) -> bool:
    """Whether other processes see a living owner. (A dead owner's lease runs out; waiting only delays what follows.)"""
    if state.jobs[job].ran_out:
        return False
    return any(worker.job == job and worker.latest and worker.is_alive for worker in state.workers)


def may_open(state: State, job: int) -> bool:
    """Whether a worker gets the job: it is new, or its owner is gone and rows are left to work on."""
    report = state.jobs[job].report
    if report is not None:
        return any(end is not RowState.ACCEPTED for end in report)
    return not lease_holds(state, job)


def open_job(state: State, slot: int) -> State:
    """Take the lease with a higher fence; intents of a dead try become unknown."""
    number = state.workers[slot].job
    workers = tuple(replace(one, latest=False) if one.job == number and one.latest else one for one in state.workers)
    taken = replace(state.jobs[number], begun=True, ran_out=False, report=None)
    ledger = tuple(
        changed(held, RowState.UNKNOWN) if held and held.job == number and held.state is RowState.INTENT else held
        for held in state.ledger
    )
    workers = put(workers, slot, replace(workers[slot], step=Step.PLAN, latest=True))
    return replace(state, ledger=ledger, jobs=put(state.jobs, number, taken), workers=workers)


def renewed(state: State, worker: Worker, rules: Rules) -> State | None:
    """The lease is renewed by every note; ``None`` where another worker took it over."""
    if worker.latest:
        job = state.jobs[worker.job]
        return replace(state, jobs=put(state.jobs, worker.job, replace(job, ran_out=False))) if job.ran_out else state
    return None if rules.fence else state


def plan_of(state: State, worker: Worker, row: int) -> Plan:
    """What to do with the row, by what the ledger holds of it."""
    held = state.ledger[row]
    if held is None:
        return plan_row(None, job=worker.job, row_number=row)
    known = planning.Held(
        job=held.job,
        row_number=row,
        state=held.state,
        earned_at=ROWS[row].earned_at,
        occurrence=1,
        attempt=1,
        batch=1,
        job_is_alive=held.job != worker.job and lease_holds(state, held.job),
    )
    return plan_row(known, job=worker.job, row_number=row)


def note_intent(state: State, slot: int, row: int) -> State | None:
    """Claim the row with a new batch; ``None`` where the ledger holds it in a state that may not be sent."""
    held = state.ledger[row]
    if held is not None and (held.state, RowState.INTENT) not in TRANSITIONS:
        return None
    workers = tuple(
        replace(one, batch_stands=False) if one.row == row and one.batch_stands else one for one in state.workers
    )
    workers = put(workers, slot, replace(workers[slot], batch_stands=True))
    claimed = Held(RowState.INTENT, state.workers[slot].job)
    return replace(state, ledger=put(state.ledger, row, claimed), workers=workers)


def adopt(state: State, job: int, row: int) -> State:
    """Take over a row without proof. The look-up before it is part of the step: what comes between is a conflict."""
    held = state.ledger[row]
    assert held is not None
    return replace(state, ledger=put(state.ledger, row, replace(changed(held, RowState.UNKNOWN), job=job)))


def note_outcome(state: State, worker: Worker, new: RowState, *, by_reply: bool) -> State:
    """Record what became of a batch. It has no effect on a row that was settled or sent anew in the meantime."""
    held = state.ledger[worker.row]
    if held is None or not worker.batch_stands or held.state not in _UNPROVEN:
        return state
    if new is RowState.REJECTED and held.state is RowState.UNKNOWN:
        new = RowState.PLANNED  # a refusal that comes late proves that the row is not there
    settled = replace(changed(held, new), age=0, cut_off=False)
    if new is RowState.ACCEPTED:  # to every job the same, so whose it was is left out
        settled = replace(settled, job=0, by_reply=by_reply)
    return replace(state, ledger=put(state.ledger, worker.row, settled))


def changed(held: Held, new: RowState) -> Held:
    """The row in its new state, if the table allows that."""
    if held.state is not new and (held.state, new) not in TRANSITIONS:
        raise ForbiddenChangeError(f"{held.state} may not become {new}")
    return replace(held, state=new)


def other_rows(state: State, row: int) -> list[OtherRow]:
    """The other rows of the same customer and badge that the ledger holds."""
    customer = ROWS[row].customer_id
    return [
        OtherRow(held.state, ROWS[other].earned_at)
        for other, held in enumerate(state.ledger)
        if held is not None and other != row and ROWS[other].customer_id == customer
    ]


def controls(state: State) -> list[int]:
    """Rows that can serve as a control: accepted by a reply, and the latest of their customer and badge.

    Their age is left out. It keeps a control from failing because it is too young, and a control that fails stops
    the job from believing anything, which is safe.
    """
    return [
        row
        for row, held in enumerate(state.ledger)
        if held is not None and held.by_reply
        if not any(
            later is not None and ROWS[other].customer_id == ROWS[row].customer_id
            for other, later in enumerate(state.ledger)
            if ROWS[other].earned_at > ROWS[row].earned_at
        )
    ]


def report(state: State, worker: Worker) -> State:
    """Keep the account, and give the lease back."""
    ended = replace(state.jobs[worker.job], ran_out=False, report=worker.account)
    return replace(state, jobs=put(state.jobs, worker.job, ended))
