"""For each rule, circumstances in which a promise breaks without it."""

from __future__ import annotations

import msgspec

from .rules import BLIND, COPIES, CUTTING, CUTTING_MORE, HONEST, JOBS, Bound, Mishaps, World


class Circumstances(msgspec.Struct, frozen=True):
    """What reads show, who works, what goes wrong, and which promise breaks."""

    world: World
    jobs: tuple[int, ...]
    mishaps: Mishaps
    breaks: str = "granted twice"
    rows: int = 3

    @property
    def bound(self) -> Bound:
        """As the search takes it."""
        return Bound(self.jobs, self.rows, mishaps=self.mishaps)


NEEDED = {
    "intent_first": Circumstances(HONEST, COPIES, Mishaps(crashes=1)),
    "fence": Circumstances(HONEST, COPIES, Mishaps(pauses=1, refusals=1), "reported as rejected and was granted"),
    "verify_after": Circumstances(HONEST, COPIES, Mishaps(lost_replies=1, late_commits=1)),
    "margin": Circumstances(HONEST, COPIES, Mishaps(pauses=1)),
    "age_at_body": Circumstances(HONEST, COPIES, Mishaps(pauses=1)),
    "age_counts_sleep": Circumstances(HONEST, COPIES, Mishaps(pauses=1, sleeps=1)),
    "steady_clock": Circumstances(HONEST, COPIES, Mishaps(crashes=1, late_commits=1, clock_steps=1)),
    "count": Circumstances(CUTTING, COPIES, Mishaps(lost_replies=1)),
    "count_first": Circumstances(CUTTING, JOBS, Mishaps(lost_replies=1)),
    "control": Circumstances(BLIND, COPIES, Mishaps(lost_replies=1)),
    "own_sign": Circumstances(
        CUTTING_MORE, JOBS, Mishaps(lost_replies=1), "accepted in the ledger, and not granted", rows=4
    ),
}
