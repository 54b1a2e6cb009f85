"""How many requests may be in flight: up by little, down by much, as the server's answers tell. Pure.

Additive increase, multiplicative decrease: the rule that lets many senders share one server without
talking to each other.
"""

from __future__ import annotations

DECREASE = 0.7
SLOWER_THAN_USUAL = 3.0  #: times the usual latency of a row-full request, before it counts as pressure
SLACK_SECONDS = 0.5  #: latency below this is never pressure, however fast the server usually is
_WEIGHT = 0.1  # of a new latency in the usual one


class AdaptiveLimit:
    """Starts at the most that is allowed; never below one. Not thread-safe: the caller guards it."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._usual: float | None = None

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight."""
        return int(self._limit)

    @property
    def usual_seconds(self) -> float | None:
        """How long an answer usually takes; ``None`` before the first."""
        return self._usual

    def observe(self, seconds: float, *, pushed_back: bool) -> bool:
        """Take in an answer: its latency, and whether the server asked for less. Say whether the limit changed."""
        before = self.limit
        if pushed_back or self._is_slow(seconds):
            self._limit = max(1.0, self._limit * DECREASE)
        else:
            self._limit = min(self._most, self._limit + 1.0 / self._limit)
        if not pushed_back:
            self._usual = seconds if self._usual is None else self._usual + _WEIGHT * (seconds - self._usual)
        return self.limit != before

    def _is_slow(self, seconds: float) -> bool:
        if self._usual is None:
            return False
        return seconds > SLACK_SECONDS and seconds > SLOWER_THAN_USUAL * self._usual
