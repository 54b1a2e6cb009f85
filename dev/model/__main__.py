"""``python -m dev.model``: what breaks without each rule, then a search that goes further than ``make test``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from .counterexamples import NEEDED
from .rules import COPIES, CUTTING, HONEST, JOBS, Bound, Mishaps, World, without
from .search import search
from .state import Model

_USUAL = Mishaps(crashes=2, lost_replies=1, late_commits=1, clock_steps=1)

BOUNDS: tuple[tuple[str, World, Bound], ...] = (
    (
        "two copies, four rows, three deaths, two late commits",
        HONEST,
        Bound(COPIES, rows=4, mishaps=Mishaps(crashes=3, lost_replies=1, late_commits=2, clock_steps=1)),
    ),
    ("three copies of one job, two deaths, a late commit", HONEST, Bound((0, 0, 0), mishaps=_USUAL)),
    ("two jobs with the same rows, two deaths, a late commit", HONEST, Bound(JOBS, mishaps=_USUAL)),
    (
        "two copies, everything once",
        HONEST,
        Bound(
            COPIES,
            mishaps=Mishaps(
                crashes=1,
                lost_replies=1,
                late_commits=1,
                failed_connects=1,
                refusals=1,
                delayed_reads=1,
                clock_steps=1,
                pauses=1,
            ),
        ),
    ),
    (
        "two copies, a death, a late commit, time passes at any moment",
        HONEST,
        Bound(COPIES, mishaps=Mishaps(crashes=1, lost_replies=1, late_commits=1, clock_steps=1), free_time=True),
    ),
    (
        "two jobs, reads cut instants, two lost replies, a death",
        CUTTING,
        Bound(JOBS, mishaps=Mishaps(crashes=1, lost_replies=2, late_commits=1)),
    ),
)


def main() -> int:
    """Print what breaks without each rule, then explore every bound; 1 where a promise breaks with all rules."""
    for rule, needed in NEEDED.items():
        run = search(Model(without(rule), needed.world, needed.bound)).run
        sys.stdout.write(f"without {rule} ({needed.world.name}):\n{run}\n\n")
    return 0 if all([_explored(name, world, bound) for name, world, bound in BOUNDS]) else 1


def _explored(name: str, world: World, bound: Bound) -> bool:
    sys.stdout.write(f"{name}\n")
    begun = time.monotonic()
    result = search(Model(world=world, bound=bound), _progress(begun))
    seconds = time.monotonic() - begun
    sys.stdout.write(f"\r  {result.states:,} states, {result.depth} steps deep, {seconds:.0f} s: ")
    sys.stdout.write(f"{result.fault or 'every promise holds'}\n{result.run}")
    return result.fault is None


def _progress(begun: float) -> Callable[[int, int, int], None]:
    def show(depth: int, states: int, at_this_depth: int) -> None:
        seconds = time.monotonic() - begun
        sys.stdout.write(f"\r  step {depth}: {states:,} states, {at_this_depth:,} of them new, {seconds:.0f} s   ")
        sys.stdout.flush()

    return show


if __name__ == "__main__":
    sys.exit(main())
