"""How long to wait before the same rows are sent again, and when to give up. Randomness comes in from outside."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Capped exponential backoff with full jitter; what the server asks for goes first. Times in seconds."""

    random: Callable[[], float]  #: 0 <= value < 1
    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 300.0  #: who is asked for more gives up, and comes back another time
    tries: int = 6
    deadline: float = 900.0  #: all waits for the same rows together

    def seconds(self, tries: int, asked: float | None = None) -> float:
        """The wait after ``tries`` earlier tries; ``asked``: the server's Retry-After, if it sent one."""
        if asked is not None:
            return min(max(asked, 0.0), self.longest_asked) + self.random()
        return float(self.random() * min(self.longest, self.first * 2**tries))

    def exhausted(self, tries: int, waited: float = 0.0, asked: float | None = None) -> bool:
        """Whether ``tries`` earlier tries, or ``waited`` seconds between them, were enough, or too much ``asked``."""
        return tries + 1 >= self.tries or waited >= self.deadline or (asked or 0.0) > self.longest_asked
