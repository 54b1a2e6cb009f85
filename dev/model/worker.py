"""The steps of one worker: plan, note the intent, send, note the outcome, read back, report.

A worker takes the rows in their order, one at a time (a lane of the package; more lanes are more workers). A step
touches what others see (ledger, API, reads) once, so that others can come between any two of them. What a worker does
in its own memory belongs to the step before. Two pairs of steps are one here, because nothing can see the difference:

- The look-up of a free row and its intent. If the worker still holds the lease, looking the row up again at the intent
  gives the same plan or a conflict. If it does not, the fence stops it: so they are two steps where the fence is off.
- The body leaves, is applied, and the reply arrives, within one tick. Others see the grant, not the body. Bodies that
  are applied after their sender gave up or died stay on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from airflow_provider_capillary.core.planning import Plan
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.send_limits import STALE_INTENT_SECONDS, WRITE_SECONDS, seconds_to_wait
from airflow_provider_capillary.core.verification import (
    Control,
    CustomerBadgeView,
    Disbelief,
    Finding,
    disbelieved,
    earns_known,
    earns_possible,
    settle,
)

from . import api, ledger
from .printing import Move
from .state import ROWS, TICK, VERIFY_AFTER, Held, Model, State, Step, Worker

#: How a row ends at planning. A row that another job has in its work says nothing about what was sent: as unknown.
_ENDS = {
    Plan.ACCEPTED: RowState.ACCEPTED,
    Plan.ALREADY_ACCEPTED: RowState.ACCEPTED,
    Plan.REVOKED: RowState.ACCEPTED,
    Plan.REJECTED: RowState.REJECTED,
    Plan.BUSY: RowState.UNKNOWN,
}
_FOUND = {Finding.GRANTED: RowState.ACCEPTED, Finding.ABSENT: RowState.PLANNED, Finding.UNDECIDED: RowState.UNKNOWN}

Moves = Iterator[tuple[Move, State]]


def steps_of(model: Model, state: State, slot: int) -> Moves:
    """What the worker can do next."""
    step = state.workers[slot].step
    if one_way := _ONE_WAY.get(step):
        yield one_way(model, state, slot)
    elif several := _SEVERAL_WAYS.get(step):
        yield from several(model, state, slot)


def with_worker(state: State, slot: int, worker: Worker) -> State:
    """The state with one worker replaced."""
    return replace(state, workers=ledger.put(state.workers, slot, worker))


def _start(model: Model, state: State, slot: int) -> Moves:
    # Workers are alike before they start, so the first one starts first.
    in_turn = slot == 0 or state.jobs[state.workers[slot - 1].job].begun
    if in_turn and ledger.may_open(state, state.workers[slot].job):
        yield Move(slot, "opens job {job} and takes its lease"), ledger.open_job(state, slot)


def _plan(model: Model, state: State, slot: int) -> tuple[Move, State]:
    """Look up the row, and with it, as in one window, those after it that are at their end already."""
    worker, closed = state.workers[slot], ""
    while worker.step is Step.PLAN:
        row = worker.row
        plan = ledger.plan_of(state, worker, row)
        if plan is Plan.SEND and not model.rules.fence:
            planned = replace(worker, step=Step.NOTE_INTENT)
            return Move(slot, closed + "looks row {row} up: free, to be sent", row), with_worker(state, slot, planned)
        if plan is Plan.SEND:
            return _note_intent(model, with_worker(state, slot, worker), slot, closed)
        if plan is Plan.SETTLE:
            return _take_over(model, with_worker(state, slot, worker), slot, closed)
        closed += f"looks row {row + 1} up: {plan.value}; "
        worker = _ended(model, state, worker, _ENDS[plan])
    return Move(slot, closed.rstrip("; ")), with_worker(state, slot, worker)


def _take_over(model: Model, state: State, slot: int, before: str) -> tuple[Move, State]:
    worker = state.workers[slot]
    noted = ledger.renewed(state, worker, model.rules)
    if noted is None:
        return _replaced(model, state, slot)
    noted = ledger.adopt(noted, worker.job, worker.row)
    held = noted.ledger[worker.row]
    assert held is not None
    reads = replace(worker, step=Step.READ_BACK, batch_stands=True, timer=_wait(model, held))
    text = before + f"looks row {{row}} up: without proof; will read it back in {reads.timer} ticks"
    return Move(slot, text, worker.row), with_worker(noted, slot, reads)


def _wait(model: Model, held: Held) -> int:
    """How many ticks to wait before the row is read back."""
    if not model.rules.verify_after:
        return 0
    seconds = seconds_to_wait(held.age * TICK, VERIFY_AFTER, cut_off=held.cut_off and model.rules.margin)
    return math.ceil(seconds / TICK)


def _may_leave(worker: Worker) -> bool:
    """Whether a body that leaves now was asked for in time; writing it may have taken as long as it may take."""
    return worker.timer * TICK - WRITE_SECONDS <= STALE_INTENT_SECONDS


def _note_intent(model: Model, state: State, slot: int, before: str = "") -> tuple[Move, State]:
    worker = state.workers[slot]
    sends = replace(worker, step=Step.SEND, timer=0, sends=worker.sends + 1)
    if not model.rules.intent_first:
        return Move(slot, before + "is about to send row {row}", worker.row), with_worker(state, slot, sends)
    noted = ledger.renewed(state, worker, model.rules)
    if noted is None:
        return _replaced(model, state, slot)
    noted = ledger.note_intent(with_worker(noted, slot, sends), slot, worker.row)
    if noted is None:
        again = with_worker(state, slot, replace(worker, step=Step.PLAN))
        return Move(slot, before + "cannot note the intent for row {row}: it is not free any more", worker.row), again
    return Move(slot, before + "notes the intent to send row {row}", worker.row), noted


def _send(model: Model, state: State, slot: int) -> Moves:
    worker = state.workers[slot]
    if model.rules.age_at_body and not _may_leave(worker):
        move = Move(slot, "takes the intent for row {row} back: it is too old for its body to leave", worker.row)
        yield move, _planned_again(model, ledger.note_outcome(state, worker, RowState.PLANNED, by_reply=False), slot)
        return
    answered = replace(worker, step=Step.NOTE_OUTCOME, timer=0)
    for sent in api.sending(state, worker, slot):
        outcome = replace(answered, outcome=sent.proven)
        yield sent.move, with_worker(sent.state, slot, outcome if sent.lives else model.at_rest(slot))


def _note_outcome(model: Model, state: State, slot: int) -> tuple[Move, State]:
    new = state.workers[slot].outcome
    assert new is not None
    if not model.rules.intent_first:
        claimed = ledger.note_intent(state, slot, state.workers[slot].row)
        if claimed is None:
            again = with_worker(state, slot, replace(state.workers[slot], step=Step.PLAN, outcome=None))
            return Move(slot, "cannot note the outcome of row {row}", state.workers[slot].row), again
        state = claimed
    worker = state.workers[slot]
    noted = ledger.renewed(state, worker, model.rules) or state  # an outcome counts without a lease, too
    noted = ledger.note_outcome(noted, worker, new, by_reply=True)
    move = Move(slot, f"notes row {{row}} as {new.value}", worker.row)
    worker = replace(worker, outcome=None)
    if new is RowState.PLANNED:
        return move, _planned_again(model, noted, slot)
    if new is RowState.UNKNOWN:
        over = Held(RowState.UNKNOWN, worker.job, cut_off=False)
        return move, with_worker(noted, slot, replace(worker, step=Step.READ_BACK, timer=_wait(model, over)))
    return move, with_worker(noted, slot, _ended(model, noted, worker, new))


def _read_back(model: Model, state: State, slot: int) -> Moves:
    worker = state.workers[slot]
    if worker.timer:
        return
    view = api.view(model.world, state, worker.row)
    finding = settle(ROWS[worker.row].earned_at, view, others_at_instant=0).finding
    waits = _why_not(model, state, worker, view, finding, worker.control) is Disbelief.NO_CONTROL
    if not waits:
        yield _found(model, state, slot, view, finding, worker.control)
    elif candidates := ledger.controls(state):
        # One step for both reads: a grant that comes between can only make the control fail, or the count grow.
        for row in candidates:
            seen = settle(ROWS[row].earned_at, api.view(model.world, state, row), others_at_instant=0)
            shown = Control.SHOWN if seen.finding is Finding.GRANTED else Control.NOT_SHOWN
            yield _found(model, state, slot, view, finding, shown)
    elif worker.at_end:
        yield _found(model, state, slot, view, finding, Control.NONE_YET)
    else:
        aside = _next(model, state, replace(worker, aside=(*worker.aside, worker.row)))
        text = "reads row {row} back: " + finding.value + ", but sets it aside until a control was seen"
        yield Move(slot, text, worker.row), with_worker(state, slot, aside)


def _why_not(
    model: Model, state: State, worker: Worker, view: CustomerBadgeView, finding: Finding, control: Control
) -> Disbelief | None:
    """Why the finding is not believed, by the rules that are on."""
    others = ledger.other_rows(state, worker.row)
    counts_now = model.rules.count and model.rules.count_first
    known = earns_known(others, view) if counts_now else view.earn_count
    control = control if model.rules.control else Control.SHOWN
    possible = earns_possible(others) if model.rules.own_sign else 0
    return disbelieved(finding, view, known=known, possible=possible, control=control)


def _found(
    model: Model, state: State, slot: int, view: CustomerBadgeView, finding: Finding, control: Control
) -> tuple[Move, State]:
    """Believe the read as the rules say. What stays unknown is at its end; anything else is noted in the ledger."""
    worker = state.workers[slot]
    why = _why_not(model, state, worker, view, finding, control)
    believed = finding if why is None else Finding.UNDECIDED
    worker = replace(worker, control=control if model.rules.control else Control.NONE_YET)
    seen = f"reads row {{row}} back ({view.earn_count} earned, as is shown): {believed.value}"
    if believed is Finding.UNDECIDED:
        ended = _ended(model, state, worker, RowState.UNKNOWN)
        return Move(slot, seen, worker.row), with_worker(state, slot, ended)
    counts_later = model.rules.count and not model.rules.count_first
    counted = view.earn_count if counts_later else 0
    found = replace(worker, step=Step.NOTE_FINDING, outcome=_FOUND[believed], counted=counted)
    return Move(slot, seen, worker.row), with_worker(state, slot, found)


def _note_finding(model: Model, state: State, slot: int) -> tuple[Move, State]:
    worker = state.workers[slot]
    new, view = worker.outcome, CustomerBadgeView(worker.counted, None)
    assert new is not None
    worker = replace(worker, outcome=None, counted=0)
    if new is RowState.PLANNED:  # says the same again, unless the accepted rows are counted only now
        known = earns_known(ledger.other_rows(state, worker.row), view)
        if disbelieved(Finding.ABSENT, view, known=known, possible=0, control=Control.SHOWN):
            held = _ended(model, state, worker, RowState.UNKNOWN)
            return Move(slot, "counts more earns of row {row} than the ledger knows of", worker.row), with_worker(
                state, slot, held
            )
    noted = ledger.renewed(state, worker, model.rules) or state
    noted = with_worker(ledger.note_outcome(noted, worker, new, by_reply=False), slot, worker)
    move = Move(slot, f"notes row {{row}} as {new.value}", worker.row)
    if new is RowState.ACCEPTED:
        return move, with_worker(noted, slot, _ended(model, noted, worker, new))
    return move, _planned_again(model, noted, slot)


def _planned_again(model: Model, state: State, slot: int) -> State:
    """Plan the row again, or report it as not sent after too many tries."""
    worker = state.workers[slot]
    if worker.sends >= model.bound.sends:
        return with_worker(state, slot, _ended(model, state, worker, RowState.NOT_SENT))
    again = replace(worker, step=Step.PLAN, timer=0, outcome=None, batch_stands=False, at_end=False)
    return with_worker(state, slot, again)


def _report(model: Model, state: State, slot: int) -> tuple[Move, State]:
    noted = ledger.renewed(state, state.workers[slot], model.rules)
    if noted is None:
        return _replaced(model, state, slot)
    noted = ledger.report(noted, state.workers[slot])
    ends = ", ".join(end.value if end else "nothing" for end in state.workers[slot].account)
    return Move(slot, f"reports its rows ({ends}) and ends"), with_worker(
        noted, slot, model.at_rest(slot, Step.NOTHING)
    )


def _replaced(model: Model, state: State, slot: int) -> tuple[Move, State]:
    move = Move(slot, "finds that another worker took its job over, and ends")
    return move, with_worker(state, slot, model.at_rest(slot, Step.NOTHING))


def _ended(model: Model, state: State, worker: Worker, end: RowState) -> Worker:
    return _next(model, state, replace(worker, account=ledger.put(worker.account, worker.row, end)))


def _next(model: Model, state: State, worker: Worker) -> Worker:
    """Turn to the next row: first those of customers without a row set aside, then what was set aside."""
    clean = Worker(worker.job, worker.account, Step.REPORT, worker.latest, control=worker.control, aside=worker.aside)
    waiting = {ROWS[row].customer_id for row in worker.aside}
    for row, end in enumerate(worker.account):
        if end is None and ROWS[row].customer_id not in waiting:
            return replace(clean, step=Step.PLAN, row=row)
    if not worker.aside:
        return clean
    row, *others = worker.aside
    held = state.ledger[row]
    assert held is not None
    timer = _wait(model, held)
    return replace(
        clean, step=Step.READ_BACK, row=row, batch_stands=True, timer=timer, aside=tuple(others), at_end=True
    )


_ONE_WAY: dict[Step, Callable[[Model, State, int], tuple[Move, State]]] = {
    Step.PLAN: _plan,
    Step.NOTE_INTENT: _note_intent,
    Step.NOTE_OUTCOME: _note_outcome,
    Step.NOTE_FINDING: _note_finding,
    Step.REPORT: _report,
}
_SEVERAL_WAYS: dict[Step, Callable[[Model, State, int], Moves]] = {
    Step.START: _start,
    Step.SEND: _send,
    Step.READ_BACK: _read_back,
}
