"""Compares three accounts of one import: the task's counts, the error report, and the simulator's grants.

The comparison proves something because none of the three is derived from another one here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

#: The summary's counts that must add up to ``rows_read``, in the order of the table.
PARTS = ("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
#: Those of them that the error report lists row by row.
REPORTED = ("rejected", "invalid", "unknown", "not_sent")


class SeenGrant(msgspec.Struct, frozen=True, order=True):
    """A badge that the simulator granted. The instant is in epoch seconds."""

    customer_id: int
    badge_meta_id: str
    earned_at: int


class Accounts(msgspec.Struct, frozen=True):
    """What the parties say of this demo, and what was granted in earlier ones (the simulator forgets, we noted it)."""

    rows_in_warehouse: int
    earned: frozenset[SeenGrant]  #: what the purchases alone say must be granted, each once
    summary: Mapping[str, Any]
    reported_rows: int
    granted_now: tuple[SeenGrant, ...]
    granted_before: tuple[SeenGrant, ...]


class Check(msgspec.Struct, frozen=True):
    """Two numbers that must be equal, and what that means."""

    meaning: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        """Whether the two are equal."""
        return self.left == self.right


def checks(accounts: Accounts) -> list[Check]:
    """Everything that must hold between the accounts."""
    said = {part: int(accounts.summary.get(part, -1)) for part in ("rows_read", *PARTS)}
    all_grants = accounts.granted_before + accounts.granted_now
    return [
        Check("every row of the warehouse was read", said["rows_read"], accounts.rows_in_warehouse),
        Check("every row read is accounted for", sum(said[part] for part in PARTS), said["rows_read"]),
        Check("accepted, says the import = granted, says the simulator", said["accepted"], len(accounts.granted_now)),
        Check("not accepted = rows in errors.csv", sum(said[part] for part in REPORTED), accounts.reported_rows),
        Check("no badge was granted twice, in this demo or an earlier one", twice(all_grants), 0),
        Check("no badge that a customer earned is missing", len(accounts.earned - set(all_grants)), 0),
        Check("no badge was granted that was not earned", len(set(all_grants) - accounts.earned), 0),
    ]


def twice(grants: Iterable[SeenGrant]) -> int:
    """How many grants are one too many."""
    return sum(times - 1 for times in Counter(grants).values())
