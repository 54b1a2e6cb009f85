"""What happens around the workers: processes die, time goes on, clocks step, leases run out."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from airflow_provider_capillary.core.row_state import RowState

from . import ledger
from .printing import CLOCK, Move
from .state import OLDEST, Held, Model, State, Step, Worker
from .worker import with_worker

Moves = Iterator[tuple[Move, State]]
_UNPROVEN = (RowState.INTENT, RowState.UNKNOWN)


def deaths(model: Model, state: State) -> Moves:
    """A process is killed; its memory is gone, and Airflow may start the task again."""
    if state.left.crashes:
        dying = replace(state, left=replace(state.left, crashes=state.left.crashes - 1))
        for slot, worker in enumerate(state.workers):
            if worker.is_alive:
                yield Move(slot, "is killed"), with_worker(dying, slot, model.at_rest(slot))


def times(model: Model, state: State) -> Moves:
    """Time goes on by a tick, clocks step, leases run out.

    A tick passes only where it can change what follows: a worker waits for it, or a row without proof has no living
    worker. The intent of a living worker grows old with such a tick; alone, it would only be taken back and noted
    anew, which no other worker can distinguish from a later intent. ``Bound.free_time`` lets ticks pass at any moment.
    """
    if model.bound.free_time or _is_awaited(state):
        yield (
            Move(CLOCK, "a tick (verify_after) passes: what left before is not applied any more, and is shown"),
            _tick(model, state),
        )
        if state.left.sleeps and not model.rules.age_counts_sleep:
            sleepy = replace(state, left=replace(state.left, sleeps=state.left.sleeps - 1))
            for slot, worker in enumerate(state.workers):
                if worker.step is Step.SEND:
                    move = Move(slot, "sleeps with its machine for two ticks, and its clock stands still")
                    yield move, _tick(model, _tick(model, sleepy, asleep=slot), asleep=slot)
    yield from _clock_steps(model, state)
    if state.left.pauses:
        left = replace(state.left, pauses=state.left.pauses - 1)
        for slot, worker in enumerate(state.workers):
            if worker.latest and worker.is_alive and ledger.lease_holds(state, worker.job):
                job = replace(state.jobs[worker.job], ran_out=True)
                paused = replace(state, jobs=ledger.put(state.jobs, worker.job, job), left=left)
                yield Move(slot, "is paused for longer than its lease"), paused


def _is_awaited(state: State) -> bool:
    if any(worker.step is Step.READ_BACK and worker.timer for worker in state.workers):
        return True
    return any(
        held is not None and held.state in _UNPROVEN and held.age < OLDEST and not ledger.lease_holds(state, held.job)
        for held in state.ledger
    )


def _clock_steps(model: Model, state: State) -> Moves:
    """The wall clock steps. Leases are compared by it in any case: they run out too early, which the fence is for."""
    if not state.left.clock_steps:
        return
    left = replace(state.left, clock_steps=state.left.clock_steps - 1)
    jobs = tuple(
        replace(job, ran_out=True) if ledger.lease_holds(state, number) else job
        for number, job in enumerate(state.jobs)
    )
    steady = model.rules.steady_clock
    forward = state.ledger if steady else tuple(_aged(held, OLDEST) for held in state.ledger)
    stepped = replace(state, jobs=jobs, ledger=forward)
    if stepped != state:
        yield Move(CLOCK, "the wall clock is put forward, past every lease"), replace(stepped, left=left)
    if not steady:
        back = replace(state, ledger=tuple(replace(held, age=0) if held else None for held in state.ledger))
        if back != state:
            yield Move(CLOCK, "the wall clock is put back"), replace(back, left=left)


def _tick(model: Model, state: State, asleep: int | None = None) -> State:
    return replace(
        state,
        wire=(),
        hidden=(),
        ledger=tuple(_aged(held, 1) for held in state.ledger),
        workers=tuple(worker if slot == asleep else _later(model, worker) for slot, worker in enumerate(state.workers)),
    )


def _later(model: Model, worker: Worker) -> Worker:
    if worker.step is Step.READ_BACK and worker.timer:
        return replace(worker, timer=worker.timer - 1)
    if worker.step is Step.SEND and model.rules.age_at_body and worker.timer < OLDEST:
        return replace(worker, timer=worker.timer + 1)
    return worker


def _aged(held: Held | None, ticks: int) -> Held | None:
    """Ages that no rule looks at do not grow: states that differ in them alone are one state."""
    if held is None or held.state not in _UNPROVEN or held.age == OLDEST:
        return held
    return replace(held, age=min(held.age + ticks, OLDEST))
