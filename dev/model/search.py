"""Explores every interleaving of the model, breadth first, so that the first fault found has the shortest run.

Only hashes of the states seen are kept (64 bits: with ten million states the chance that two share one is below one in
a hundred thousand), each with the hash of the state before it. The run to a fault is walked again from the start.

Steps are merged, and states identified, only where others cannot see the difference; the place says so:
a worker's work in its own memory is part of the step before (``worker``), ages that no rule reads stand still and a
body that cannot be applied any more is gone (``surroundings``), workers start in order because they are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from .api import late_commits
from .printing import Move, numbered
from .promises import broken, broken_at_end
from .state import Model, State
from .surroundings import deaths, times
from .worker import steps_of


class Result(msgspec.Struct, frozen=True):
    """What a search found: how many states, in how many steps from the start, and the run to a fault."""

    states: int
    depth: int
    ends: int  #: states in which nothing more can happen
    complete: int  #: those of them in which every row is granted
    fault: str | None = None
    run: str = ""


def steps(model: Model, state: State) -> Iterator[tuple[Move, State]]:
    """Everything that can happen next."""
    for slot in range(len(state.workers)):
        yield from steps_of(model, state, slot)
    yield from late_commits(state)
    yield from deaths(model, state)
    yield from times(model, state)


def search(model: Model, progress: Callable[[int, int, int], None] | None = None) -> Result:
    """Explore all; stop at the first fault.

    :param progress: called with depth, states so far and states of this depth.
    """
    start = model.start()
    before: dict[int, int] = {hash(start): hash(start)}
    level, depth, ends, complete = [start], 0, 0, 0
    while level:
        following: list[State] = []
        for state in level:
            came_from = hash(state)
            can_go_on = False
            for _, after in steps(model, state):
                key = hash(after)
                can_go_on = can_go_on or key != came_from  # a tick may change nothing
                if key in before:
                    continue
                before[key] = came_from
                if fault := broken(after):
                    return Result(len(before), depth + 1, ends, complete, fault, _run(model, before, key, fault))
                following.append(after)
            if not can_go_on:
                ends += 1
                complete += all(state.grants)
                if fault := broken_at_end(state):
                    return Result(len(before), depth, ends, complete, fault, _run(model, before, came_from, fault))
        level, depth = following, depth + 1
        if progress is not None:
            progress(depth, len(before), len(level))
    return Result(len(before), depth, ends, complete)


def _run(model: Model, before: dict[int, int], last: int, fault: str) -> str:
    state = model.start()
    path = [last]
    while path[-1] != hash(state):
        path.append(before[path[-1]])
    moves: list[Move] = []
    for key in reversed(path[:-1]):
        move, state = next(one for one in steps(model, state) if hash(one[1]) == key)
        moves.append(move)
    return numbered(moves, model.bound.jobs, fault)
