"""Rows without proof, as a ledger tells of them outside an import, and what settles them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.base import Job, Ledger


class Proof(StrEnum):
    """What a settlement rests on."""

    READ = "read"  #: the badge was read back
    PERSON = "person"  #: somebody said so


class UnprovenRow(msgspec.Struct, frozen=True):
    """A row of a job that was sent, or was about to be, and nothing proves what became of it. Times: epoch seconds."""

    badge: EarnedBadge
    badge_key: int  #: the ledger's number of the badge
    batch: int
    state: RowState  #: unknown, or intent: in flight, or left by a process that died
    sent_at: float
    since: float  #: when it was given up, or sent where nobody lived to give it up
    request_id: str
    message: str | None  #: what the job's report says of it, ``None`` where the job died before it could
    earned_badge_id: str | None  #: what a reply claimed whose other proofs did not hold
    is_cut_off: bool = False  #: no process recorded how its exchange ended: ``since`` is when its intent was noted


class Settled(msgspec.Struct, frozen=True):
    """A row and what it is now: accepted, or planned (free to be sent). ``told``: why, for the job's report.

    ``doubt``: why it may be granted twice from now on, where it is set free without proof.
    """

    row: UnprovenRow
    state: RowState
    told: str
    earned_badge_id: str | None = None
    doubt: str | None = None


class Hearsay(msgspec.Struct, frozen=True):
    """A row that the job's report tells as unknown, but that the job does not hold itself."""

    row_number: int
    original: Mapping[str, Any]


class SettlingLedger(Ledger, Protocol):
    """A ledger whose rows can be settled outside an import. Jobs that live settle theirs themselves."""

    def take_stock(self, job_id: str) -> Job:
        """Close the job if its process is dead; its intents become unknown.

        Raises ``LookupError`` where there is no such job, ``JobIsRunningError`` where it lives.
        """
        ...

    def unproven(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[UnprovenRow]:
        """Rows of a job without proof, by row number, from the first one after ``after``."""
        ...

    def settle(self, job: Job, rows: Sequence[Settled], *, proof: Proof, by: str) -> list[Settled]:
        """Settle rows, with their story in the job's report and their place in its summary, all or none.

        Gives those that were still as they were seen; others were taken over or settled in the meantime. Raises
        ``JobIsRunningError`` where the import goes on again.
        """
        ...

    def hearsay(self, job: Job, *, after: int = 0, limit: int = 500) -> list[Hearsay]:
        """Rows told as unknown that repeat another row, or that another job has taken over."""
        ...

    def retell(self, job: Job, ends: Sequence[tuple[int, RowState, str]]) -> int:
        """Tell anew how such rows ended: row number, state, why. Gives how many are told anew."""
        ...

    def job_settings(self, job_id: str) -> dict[str, str]:
        """The settings that the job began with."""
        ...
