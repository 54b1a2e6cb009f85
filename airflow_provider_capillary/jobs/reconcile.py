"""Settles the rows that earlier imports left unknown, by reading them back or as a person decides.

It sends nothing. A row that is proven absent becomes free, and the next import of the row sends it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from functools import partial

import msgspec

from airflow_provider_capillary.clocks import steady
from airflow_provider_capillary.core.budget import Budget, parse_budget
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Reason, Tally
from airflow_provider_capillary.core.verification import Finding
from airflow_provider_capillary.exceptions import BudgetExceededError, CapillaryError, ConfigurationError
from airflow_provider_capillary.jobs.account import no_control
from airflow_provider_capillary.jobs.dependent_rows import settle_dependent_rows
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal, once_the_lease_ran_out
from airflow_provider_capillary.jobs.progress import ProgressLine
from airflow_provider_capillary.jobs.read_back import FOUND, Read, ReadBack
from airflow_provider_capillary.ledger.facts import Job, JobRecord, Proof, Settled, UnprovenRow
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

ABSENT = "reading back proved that the badge is not there; the next import of the row sends it"
BY_WORD = "accepted by the word of"
FREED_BY_WORD = "not granted by the word of"
MAY_BE_TWICE = "the next import of the row sends it, and it may be granted twice"
DOUBT = "set free without proof by the word of {by}: may be granted twice"
ELSEWHERE = "taken over or settled by another job in the meantime"


class Action(StrEnum):
    """What to do with rows that are unknown."""

    VERIFY = "verify"  #: read them back
    ACCEPT = "accept"  #: a person says that they were granted
    RESEND = "resend"  #: a person says that they were not, or takes the risk
    LEAVE = "leave"  #: nothing, only count them


class ReconcileSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and who decides. ``verify_after`` in seconds."""

    action: Action = Action.VERIFY
    by: str
    verify_after: float = 60
    max_unknown: Budget = parse_budget("max_unknown", 0)
    rows: frozenset[int] | None = None  #: numbers of the rows that a person decides; ``None``: all unknown rows


class Reconciled(msgspec.Struct, frozen=True):
    """The result: ``unknown_before == accepted + resend + unknown``. ``error``: why it is no success."""

    jobs: int
    unknown_before: int
    accepted: int
    resend: int  #: rows now free: the next import sends them
    unknown: int
    customers: int  #: of the rows that stay unknown
    reasons: tuple[Reason, ...]  #: of the rows that stay unknown
    error: CapillaryError | None = None

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON-ready values for XCom."""
        plain: dict[str, object] = {name: getattr(self, name) for name in self.__struct_fields__ if name != "error"}
        return plain | {"reasons": msgspec.to_builtins(list(self.reasons))}


class ReconcileJob:
    """One reconciliation of one or many jobs. ``run`` it once. Each row is committed as soon as it is settled.

    :param organisation: whose API is read; needed for ``verify`` only.
    :param stop: lets another thread or a signal handler stop it.
    :param monotonic: the clock for durations, in seconds.
    :param jitter: the randomness of waits, 0 <= value < 1.
    """

    def __init__(
        self,
        ledger: Ledger,
        job_ids: Sequence[str],
        settings: ReconcileSettings,
        organisation: Organisation | None = None,
        *,
        stop: StopSignal | None = None,
        monotonic: Callable[[], float] = steady,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._job_ids = job_ids
        self._settings = settings
        self._organisation = organisation
        self._stop = stop or StopSignal()
        self._monotonic = monotonic
        self._jitter = jitter
        self._tally = Tally()
        self._read_back: ReadBack | None = None
        self._lacks_control = 0
        self._customers: set[int] = set()  #: of the rows that stay unknown

    def run(self) -> Reconciled:
        """Settle what can be settled.

        :raises JobIsRunningError: one of the imports is running, and settles its rows itself.
        :raises CapillaryError: the API or the ledger cannot be used. What was settled before stays settled.
        """
        records = [self._ledger.job(job_id) for job_id in self._job_ids]
        if self._organisation is not None:
            for record in records:
                self._organisation.check_owns(record, harm=": reading there would prove nothing")
        for record in records:
            if self._settings.action is Action.LEAVE:
                self._leave(record.job_id)
            else:
                self._settle_job(record)
        return self._result()

    def _leave(self, job_id: str) -> None:
        for rows in self._ledger.settlements.unproven(job_id):
            for row in rows:
                self._stays_unknown(row, row.message or "its job died before the outcome was known")

    def _settle_job(self, record: JobRecord) -> None:
        job = once_the_lease_ran_out(
            partial(self._ledger.settlements.take_stock, record.job_id), self._stop, self._monotonic
        )
        rows = sum(map(len, self._ledger.settlements.unproven(job.job_id)))
        if rows:
            log.info("Job %s: %s rows without proof; %s", job.job_id, f"{rows:,}", self._settings.action.value)
        if self._settings.action is Action.VERIFY:
            self._verify(job, rows)
        else:
            self._believe(job)
        settle_dependent_rows(self._ledger, job)

    # -- as a person decides -----------------------------------------------------------------------------

    def _believe(self, job: Job) -> None:
        granted = self._settings.action is Action.ACCEPT
        state = RowState.ACCEPTED if granted else RowState.PLANNED
        by = self._settings.by
        reason = f"{BY_WORD} {by}" if granted else f"{FREED_BY_WORD} {by}: {MAY_BE_TWICE}"
        doubt = None if granted else DOUBT.format(by=by)
        self._refuse_strangers(job)
        for rows in self._ledger.settlements.unproven(job.job_id):
            meant = [row for row in rows if self._is_meant(row)]
            self._record_settled(job, [Settled(row, state, reason, doubt=doubt) for row in meant], Proof.PERSON)
            for row in rows:
                if not self._is_meant(row):
                    self._stays_unknown(row, row.message or "not among the rows that were named")
        if not granted and self._tally.rows[RowState.PLANNED]:
            log.warning("%d rows are free to be sent again without proof", self._tally.rows[RowState.PLANNED])

    def _is_meant(self, row: UnprovenRow) -> bool:
        return self._settings.rows is None or row.badge.row_number in self._settings.rows

    def _refuse_strangers(self, job: Job) -> None:
        """Raise if a given row number is not an unknown row of this job; nothing is settled then."""
        named: Collection[int] = self._settings.rows or ()
        there = {row.badge.row_number for rows in self._ledger.settlements.unproven(job.job_id) for row in rows}
        strangers = sorted(set(named) - there)
        if strangers:
            listed = ", ".join(map(str, strangers[:10]))
            raise ConfigurationError(f"job {job.job_id} has no unknown row of number {listed}. Nothing was settled")

    # -- by reading back ---------------------------------------------------------------------------------

    def _verify(self, job: Job, rows: int) -> None:
        read_back = self._read_back = self._read_back or self._reader(job)
        progress, done = ProgressLine(self._monotonic), 0
        progress.begin(rows)
        for some in self._ledger.settlements.unproven(job.job_id):
            ages = self._ledger.ages({row.batch for row in some})
            due = {batch: read_back.due(age) for batch, age in ages.items()}
            for row in some:
                read = read_back.read(row.badge, due=due[row.batch], wait=True)
                self._settle_read(job, row, read)
                done += 1
                progress.write(done)

    def _reader(self, job: Job) -> ReadBack:
        """One for all jobs, because its look-ups and controls are about their organisation, not about one job."""
        organisation = self._organisation
        if organisation is None:
            raise ConfigurationError("action 'verify' needs a connection to Capillary to read with")
        pace = organisation.pace(self._ledger.reserve_request, self._stop, self._jitter, self._monotonic)
        return ReadBack(
            organisation.client,
            partial(self._ledger.find, job),
            partial(self._ledger.find_controls, job),
            self._ledger.now,
            pace,
            self._stop,
            self._monotonic,
            verify_after=self._settings.verify_after,
        )

    def _settle_read(self, job: Job, row: UnprovenRow, read: Read) -> None:
        by = f" ({self._settings.by})"
        if read.finding is Finding.GRANTED:
            found = Settled(row, RowState.ACCEPTED, FOUND + by, read.earned_badge_id)
            self._record_settled(job, [found], Proof.READ)
        elif read.finding is Finding.ABSENT:
            self._record_settled(job, [Settled(row, RowState.PLANNED, ABSENT + by)], Proof.READ)
        else:
            self._lacks_control += read.lacks_control
            self._stays_unknown(row, read.why, read.code)

    # -- the account -------------------------------------------------------------------------------------

    def _record_settled(self, job: Job, rows: Sequence[Settled], proof: Proof) -> None:
        done = self._ledger.settlements.settle(job, rows, proof=proof, by=self._settings.by)
        for one in done:
            self._tally.add(one.state)
        if len(done) < len(rows):
            log.info("Job %s: %d rows were %s", job.job_id, len(rows) - len(done), ELSEWHERE)

    def _stays_unknown(self, row: UnprovenRow, why: str, code: int | None = None) -> None:
        self._customers.add(row.badge.customer_id)
        self._tally.add(RowState.UNKNOWN)
        self._tally.explain("verify", code, why)

    def _result(self) -> Reconciled:
        rows = self._tally.rows
        unknown = rows[RowState.UNKNOWN]
        return Reconciled(
            len(self._job_ids),
            self._tally.total(),
            rows[RowState.ACCEPTED],
            rows[RowState.PLANNED],
            unknown,
            len(self._customers),
            self._tally.reasons(),
            self._shortfall(unknown),
        )

    def _shortfall(self, unknown: int) -> CapillaryError | None:
        budget, settings = self._settings.max_unknown, self._settings
        if settings.action is Action.LEAVE or not budget.exceeded(unknown, self._tally.total()):
            return None
        if not budget.exceeded(unknown - self._lacks_control, self._tally.total()):
            return no_control(self._lacks_control, self._tally.total(), budget.text, "JOB_ID")
        return BudgetExceededError(
            f"{unknown} of {self._tally.total()} rows stay unknown; allowed: {budget.text}. See `airflow capillary "
            "unknown JOB_ID`, look the customers up in Capillary, and settle the rows: `airflow capillary resolve "
            "JOB_ID --as accepted|resend`, or action='accept' or 'resend'"
        )
