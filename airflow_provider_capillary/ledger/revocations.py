"""What a job granted, and what became of taking it back, as a ledger tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.base import Job
from airflow_provider_capillary.ledger.doubts import SettlingLedger


class Answer(StrEnum):
    """What the API said of one earned badge that was to be revoked."""

    REVOKED = "revoked"  #: it is not active any more, by our doing
    NOT_ACTIVE = "not_active"  #: it was not active before we asked: expired, or revoked elsewhere
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"  #: no refusal, but no word that it is not active either


class GrantedRow(msgspec.Struct, frozen=True):
    """A row of a job whose earned badge has a known id."""

    badge: EarnedBadge
    badge_key: int  #: the ledger's number of the badge
    state: RowState  #: accepted; or unknown, where the id comes from a reply whose other proofs did not hold
    earned_badge_id: str
    asked_before: bool  #: an earlier try asked for it and did not live to note the answer
    is_proven: bool = True  #: the id comes from a reply that held every proof, or from a read
    is_second: bool = False  #: the API gave another id besides the row's own, so the row stays what it is


class Grants(msgspec.Struct, frozen=True):
    """What a job granted, counted."""

    with_id: Mapping[str, int]  #: rows that can be revoked, by ``badgeMetaId``
    without_id: int  #: accepted, but the API never told an id: they cannot be undone by id
    unknown: int  #: without proof and without id
    revoked: int  #: by an earlier revocation


class RevokingLedger(SettlingLedger, Protocol):
    """A ledger that knows what was granted under which id, and keeps what is done to take it back."""

    def grants(self, job_id: str) -> Grants:
        """Count what a job granted."""
        ...

    def granted(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[GrantedRow]:
        """Rows of a job that can be revoked, by row number, from the first one after ``after``."""
        ...

    def second_grants(self, job_id: str) -> list[GrantedRow]:
        """Ids that the API gave for rows of a job besides their own, as far as no revocation has settled them.

        Also ids of its batches that name a customer and a badge, but no row for certain: their row number is 0.
        """
        ...

    def earned_badge_ids(self) -> Iterator[str]:
        """Every ``earnedBadgeId`` that the API gave, of all jobs: of rows, and of replies that accept no row."""
        ...

    def note_revocation(self, job: Job, row: GrantedRow, *, by: str) -> None:
        """Note durably that the API is about to be asked. Raises ``JobIsRunningError`` where the import goes on."""
        ...

    def free_revoked(self, job: Job, *, by: str, limit: int = 500) -> int:
        """Let revoked rows of the job be imported again, at most ``limit`` at once; give how many were set free.

        They are set aside under an occurrence below 0, so that their identities are free and their story stays.
        """
        ...

    def answer_revocation(self, job: Job, row: GrantedRow, answer: Answer) -> bool:
        """Note the answer; give whether the row was revoked by it (and was not before)."""
        ...
