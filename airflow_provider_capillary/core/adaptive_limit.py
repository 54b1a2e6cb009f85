"""How many requests may be in flight: up by little, down by much, as the server's answers tell. Pure.

Additive increase, multiplicative decrease: the rule that lets many senders share one server without
talking to each other. Latencies are compared only between requests of about as many rows: canaries and parts of a
batch that was split are answered sooner, which says nothing about the server.
"""

from __future__ import annotations

DECREASE = 0.7
SLOWER_THAN_USUAL = 3.0  #: times the usual latency of a row-full request, before it counts as pressure
SLACK_SECONDS = 0.5  #: latency below this is never pressure, however fast the server usually is
MORE_ROWS = 2.0  #: times the rows of the usual request, and latencies can no longer be compared
_WEIGHT = 0.1  # of a new latency in the usual one


class AdaptiveLimit:
    """Starts at the most that is allowed; never below one. Not thread-safe: the caller guards it."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._usual: float | None = None
        self._usual_rows = 0

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight."""
        return int(self._limit)

    @property
    def usual_seconds(self) -> float | None:
        """How long an answer usually takes; ``None`` before the first."""
        return self._usual

    def observe(self, seconds: float, rows: int, *, pushed_back: bool, judged: bool = True) -> bool:
        """Take in an answer; say whether the limit changed.

        :param seconds: its latency.
        :param rows: of the request.
        :param pushed_back: the server asked for less.
        :param judged: the server worked on the rows, so that the latency is one to compare others with. A refusal of
            the whole request comes sooner.
        """
        before = self.limit
        if pushed_back or self._is_slow(seconds, rows):
            self._limit = max(1.0, self._limit * DECREASE)
        else:
            self._limit = min(self._most, self._limit + 1.0 / self._limit)
        if judged and not pushed_back:
            self._learn(seconds, rows)
        return self.limit != before

    def _is_slow(self, seconds: float, rows: int) -> bool:
        if self._usual is None or rows > MORE_ROWS * self._usual_rows:
            return False
        return seconds > SLACK_SECONDS and seconds > SLOWER_THAN_USUAL * self._usual

    def _learn(self, seconds: float, rows: int) -> None:
        if self._usual is None or rows > MORE_ROWS * self._usual_rows:
            self._usual, self._usual_rows = seconds, rows
        elif rows * MORE_ROWS >= self._usual_rows:
            self._usual += _WEIGHT * (seconds - self._usual)
            self._usual_rows = max(self._usual_rows, rows)
