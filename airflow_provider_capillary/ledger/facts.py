"""The structs that go into the ledger and come out of it. Times are epoch seconds by the ledger's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.reply import GivenId
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import CapillaryError


class Proof(StrEnum):
    """The proof that a row was granted, or was not."""

    REPLY = "reply"  #: the API's reply to the import
    READ = "read"  #: the badge was read back
    PERSON = "person"  #: a person said so
    SEED = "seed"  #: recorded as granted outside this ledger


# -- jobs ------------------------------------------------------------------------------------------------------------


class JobScope(msgspec.Struct, frozen=True):
    """The task that a job belongs to. The same scope resumes the job; a clear changes ``max_tries``, so the scope."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    max_tries: int = 0
    dry_run: bool = False
    purpose: str = "import"  #: a task may do several things; each is a job of its own


class JobPlan(msgspec.Struct, frozen=True):
    """What the job imports. ``settings`` are those that may not change between two tries of one job."""

    organisation: str
    host: str
    dataset_fingerprint: str
    rows: int
    settings: Mapping[str, str]
    sources: tuple[str, ...] = ()


class OrganisationRecord(msgspec.Struct, frozen=True):
    """A name that the ledger knows."""

    name: str
    host: str  #: of its first job; empty if none has begun
    jobs: int
    last_job: float | None  #: when it began
    holds_grants: bool  #: badges were granted under it, or may have been


class Job(msgspec.Struct, frozen=True):
    """An open job: this process holds its lease as number ``fence``."""

    key: int  #: the ledger's own number
    job_id: str
    organisation_key: int
    fence: int
    resumed: bool


class JobRecord(msgspec.Struct, frozen=True):
    """A job as the ledger has it on record."""

    job_id: str
    organisation: str
    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    state: str  #: open, dead (its process is gone, and the job did not end), finished, failed
    started_at: float
    finished_at: float | None
    rows: int
    sources: tuple[str, ...]
    summary: Mapping[str, Any] | None  #: the last summary, ``None`` while the first try runs or after it died
    commits: int  #: how many commits the job has made; only grows
    max_tries: int = 0  #: of its task when it began; after a clear a new job has more
    dry_run: bool = False
    lease_left: float = 0.0  #: seconds for which its process still holds it

    @property
    def has_account(self) -> bool:
        """Whether ``summary`` is that of the job's end. For other jobs ``Ledger.standing`` counts the rows."""
        return self.summary is not None and self.state in ("finished", "failed")


# -- what a job records ----------------------------------------------------------------------------------------------


class Intent(msgspec.Struct, frozen=True):
    """A batch is about to be sent."""

    badges: EarnedBadges
    fingerprint: str
    request_id: str
    attempt: int
    once_per_customer: bool = False
    #: numbers of the rows that the job knows to be in doubt; another row in doubt is a conflict
    doubted: frozenset[int] = frozenset()
    unseen: bool = False  #: the rows were not looked up, so any of them in the ledger, in any state, is a conflict


class RowChange(msgspec.Struct, frozen=True, gc=False):
    """A row's new state."""

    badge: EarnedBadge
    state: RowState
    earned_badge_id: str | None = None


class RowIssue(msgspec.Struct, frozen=True):
    """Why a row was not accepted, with the row as the dataset gave it. A row has one; a later one replaces it.

    The ledger keeps a new field as it is (``ledger/issues.py``); ``reports/errors_csv.py`` shows it.
    """

    row_number: int
    state: RowState
    stage: str  #: validate, plan, badge_check, send, verify
    message: str
    source: str
    line: int
    original: Mapping[str, Any]
    code: int | None = None
    request_id: str | None = None
    attempt: int = 0
    badge_meta_id: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a batch: its verdict, the rows' new states, and issues for those that were not accepted.

    Every id that the API gave is in ``ids``, in ``rows`` or in ``given``. Without a verdict it is about some rows only,
    such as the finding of a read. The recorded time of the reply then stays.
    """

    batch: int
    verdict: str
    status: int | None
    rows: Sequence[RowChange] = ()
    issues: Sequence[RowIssue] = ()
    accepted: Sequence[EarnedBadge] = ()  #: rows that the reply proves to be accepted
    ids: Sequence[str] = ()  #: one for each row of ``accepted``
    given: Sequence[GivenId] = ()  #: ids that the reply gave and that accept no row
    doubt: str | None = None  #: why its unknown rows may be granted twice from now on; never cleared

    @property
    def proof(self) -> Proof:
        """The proof of its accepted rows."""
        return Proof.REPLY if self.verdict else Proof.READ


class Adoption(msgspec.Struct, frozen=True):
    """Rows that a dead job left unproven; they become this job's unknown rows."""

    rows: Sequence[tuple[EarnedBadge, Held]]


class Issues(msgspec.Struct, frozen=True):
    """Rows that end without being sent."""

    rows: Sequence[RowIssue]
    keep_earlier: bool = False  #: a row that has an issue of that state keeps it; a new reason is appended


Note = Intent | Outcome | Adoption | Issues


class IntentConflictError(CapillaryError):
    """Another job took some of the rows in the meantime. None of these notes was committed; plan the rows again."""


class SentRow(msgspec.Struct, frozen=True, gc=False):
    """A row of a job, with the batch that it is in and its state."""

    badge: EarnedBadge
    badge_key: int  #: the ledger's number of the badge
    batch: int
    state: RowState

    @property
    def key(self) -> tuple[int, int, int, int]:
        """The row's identity in the ledger: customer, badge, earn instant, occurrence."""
        return self.badge.customer_id, self.badge_key, self.badge.earned_at, self.badge.occurrence


class LedgerRow(SentRow, frozen=True, gc=False):
    """A row of a job as the ledger holds it."""

    request_id: str
    sent_at: float
    earned_badge_id: str | None
    proof: Proof | None  #: of an accepted row


class Age(msgspec.Struct, frozen=True):
    """How old a batch without proof is."""

    seconds: float  #: the least time that can have passed since its exchange ended, or since its intent
    is_cut_off: bool  #: no process recorded the end of its exchange, so it counts from its intent


class Controls(msgspec.Struct, frozen=True):
    """Badges that are known to be there, so that reads must show them; the best first.

    Each was accepted by a reply with an id, is not revoked, and is the latest one that the ledger holds for its
    customer and badge.
    """

    badges: tuple[EarnedBadge, ...]
    next_at: float | None = None  #: when the first further one was accepted, which is not old enough yet


# -- rows without proof, settled outside an import -------------------------------------------------------------------


class UnprovenRow(SentRow, frozen=True):
    """A row of a job that was sent, or was about to be, without proof of its outcome.

    Its state is unknown; or intent, if it is in flight, or left by a process that died.
    """

    sent_at: float
    request_id: str
    message: str | None  #: of its issue; ``None`` if the job died before it wrote one
    earned_badge_id: str | None  #: from a reply whose other proofs did not hold


class Settled(msgspec.Struct, frozen=True):
    """A row and its new state: accepted, or planned (free to be sent). ``reason``: why, for the job's report.

    ``doubt``: why it may be granted twice from now on, if it is freed without proof.
    """

    row: UnprovenRow
    state: RowState
    reason: str
    earned_badge_id: str | None = None
    doubt: str | None = None


class RowEnd(msgspec.Struct, frozen=True):
    """The end of a row that its job's report calls unknown."""

    row_number: int
    state: RowState
    reason: str  #: why
    doubt: str | None = None  #: why it may be granted twice although it is accepted


class DependentRow(msgspec.Struct, frozen=True):
    """A row that the job's report calls unknown because of another row; the job has no such row in the ledger."""

    row_number: int
    original: Mapping[str, Any]


# -- revoking --------------------------------------------------------------------------------------------------------


class Answer(StrEnum):
    """The API's answer to a request to revoke an earned badge."""

    REVOKED = "revoked"  #: this request revoked it
    NOT_ACTIVE = "not_active"  #: it was not active before the request: expired, or revoked elsewhere
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"  #: the API neither refused nor confirmed


class GrantedRow(SentRow, frozen=True):
    """A row of a job whose earned badge has a known id.

    Its state is accepted; or unknown, if the id comes from a reply whose other proofs did not hold.
    """

    earned_badge_id: str
    asked_before: bool  #: an earlier try asked for it and died before it recorded the answer
    is_proven: bool = True  #: the id comes from a reply that held every proof, or from a read
    is_second: bool = False  #: the id is not the row's own, but a second one, so the row keeps its state


class Grants(msgspec.Struct, frozen=True):
    """What a job granted, counted."""

    with_id: Mapping[str, int]  #: rows that can be revoked, by ``badgeMetaId``
    without_id: int  #: accepted, but the API never gave an id, so they cannot be revoked by id
    unknown: int  #: without proof and without id
    revoked: int  #: by an earlier revocation
