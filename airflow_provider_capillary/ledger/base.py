"""What a ledger is: the durable account of what was submitted and what became of it.

A ledger writes ahead: the intent to send a batch is committed before its first byte leaves, the outcome
before the batch counts as done. Everything that is told to it at once is committed at once or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.given_ids import GivenId
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import CapillaryError


class JobScope(msgspec.Struct, frozen=True):
    """Whose job it is. The same scope resumes the job; a clear in Airflow changes ``max_tries`` and so the scope."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    max_tries: int = 0
    dry_run: bool = False


class JobPlan(msgspec.Struct, frozen=True):
    """What the job is about. ``settings`` are those that may not change between two tries of one job."""

    organisation: str
    host: str
    dataset_fingerprint: str
    rows: int
    settings: Mapping[str, str]
    sources: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """An open job: this process holds its lease as number ``fence``."""

    key: int  #: the ledger's own number
    job_id: str
    organisation_key: int
    fence: int
    resumed: bool
    warnings: tuple[str, ...] = ()


class Intent(msgspec.Struct, frozen=True):
    """A batch is about to be sent."""

    badges: Sequence[EarnedBadge]
    fingerprint: str
    request_id: str
    attempt: int
    once_per_customer: bool = False
    doubted: frozenset[int] = (
        frozenset()
    )  #: numbers of the rows that the job knows to be in doubt; no other such row is claimed
    unseen: bool = False  #: the rows were not looked up: any that the ledger has in any state is a conflict


class RowChange(msgspec.Struct, frozen=True, gc=False):
    """A row's new state."""

    badge: EarnedBadge
    state: RowState
    earned_badge_id: str | None = None


class RowIssue(msgspec.Struct, frozen=True):
    """Why a row was not accepted, with the row as the dataset gave it. One a row; a later one replaces it."""

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
    """What became of a batch: its verdict, the rows' new states, and issues for those not accepted.

    ``accepted`` and ``ids``, one for each: rows that its reply proves to be accepted. They are written together.
    Every id that the API gave is in ``ids``, in ``rows`` or in ``given``.
    """

    batch: int
    verdict: str
    status: int | None
    rows: Sequence[RowChange] = ()
    issues: Sequence[RowIssue] = ()
    accepted: Sequence[EarnedBadge] = ()
    ids: Sequence[str] = ()
    given: Sequence[GivenId] = ()  #: ids that the reply gave and that accept no row
    doubt: str | None = None  #: why its rows, unknown until now, may be granted twice from now on; kept for ever


class Adoption(msgspec.Struct, frozen=True):
    """Rows that a dead job, or a dead try of this one, left unproven; they become this job's unknown rows."""

    rows: Sequence[tuple[EarnedBadge, Held]]


class Issues(msgspec.Struct, frozen=True):
    """Rows that end without being sent."""

    rows: Sequence[RowIssue]
    only_if_untold: bool = False  #: a row that has its story already keeps it


Note = Intent | Outcome | Adoption | Issues


class JobRecord(msgspec.Struct, frozen=True):
    """A job as the ledger tells of it afterwards."""

    job_id: str
    organisation: str
    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    state: str  #: open, finished, failed
    started_at: float  #: epoch seconds
    finished_at: float | None
    rows: int
    sources: tuple[str, ...]
    summary: Mapping[str, Any] | None  #: the last summary, ``None`` while the first try runs or after it died


class IntentConflictError(CapillaryError):
    """Another job took some of the rows in the meantime; nothing of these notes was committed. Plan the rows anew."""


class Ledger(Protocol):
    """A durable account. Used by one thread at a time."""

    description: str  #: where it is, without credentials

    def open_job(self, scope: JobScope, plan: JobPlan) -> Job:
        """Begin a job, or resume it, and take its lease.

        Intents of a dead try become unknown. Raises ``JobIsRunningError`` (``retry_after`` seconds) while
        another copy holds the lease, ``JobMismatchError`` where a try differs from the job it resumes.
        """
        ...

    def renew_lease(self, job: Job) -> None:
        """Say that this process is alive; raise ``LeaseLostError`` where another copy took over."""
        ...

    def find(
        self, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool = False
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held of these rows' identities (all occurrences), by ``(customer_id, badge_meta_id)``.

        ``any_date``: of whatever earn instant.
        """
        ...

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        """Commit the notes durably, all or none; give the batch key of each intent, in order.

        Outcomes count even where another copy took the job over, for they are true whoever tells them; of such a
        copy the issues do not count, and a refused row becomes planned. Of notes told together, intents come last.

        Raises ``LeaseLostError``, ``IntentConflictError`` or ``LedgerUnavailableError``; then nothing was committed.
        (One exception: a connection that broke in the very commit leaves open whether all was committed or nothing.)
        """
        ...

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """Take one request out of the organisation's budget; give the seconds until its turn.

        The turns of all who share the ledger are ``60 / per_minute`` seconds apart, so that no minute holds more.
        """
        ...

    def counts(self, job: Job) -> dict[RowState, int]:
        """How many sent rows of the job stand in which state."""
        ...

    def finish_job(self, job: Job, state: str, summary: Mapping[str, Any] | None) -> None:
        """Keep the summary and give the lease back; raise ``LeaseLostError`` where another copy took over."""
        ...

    def job(self, job_id: str) -> JobRecord:
        """Tell of one job; raise ``LookupError`` where there is none."""
        ...

    def jobs(self, limit: int = 50) -> list[JobRecord]:
        """Tell of the latest jobs, latest first."""
        ...

    def issues(self, job_id: str) -> Iterator[RowIssue]:
        """Stream why rows of a job were not accepted, in dataset order."""
        ...

    def now(self) -> float:
        """The ledger's clock, epoch seconds: one clock for all who share the ledger."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
