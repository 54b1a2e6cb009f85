"""Settles the rows that earlier imports left unknown, by reading them back or as a person decides.

It sends nothing. A row that is proven absent becomes free, and the next import of the row sends it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import tzinfo
from enum import StrEnum
from functools import partial

import msgspec

from airflow_provider_capillary.clocks import steady
from airflow_provider_capillary.core.budget import Budget, parse_budget
from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Reason, Tally
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.core.verification import Finding
from airflow_provider_capillary.exceptions import BudgetExceededError, CapillaryError, ConfigurationError
from airflow_provider_capillary.jobs.account import no_control
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal, once_the_lease_ran_out
from airflow_provider_capillary.jobs.progress import ProgressLine
from airflow_provider_capillary.jobs.read_back import FOUND, Read, ReadBack
from airflow_provider_capillary.jobs.settings import OnDuplicate
from airflow_provider_capillary.ledger.facts import (
    DependentRow,
    Job,
    JobRecord,
    Proof,
    RowEnd,
    Settled,
    UnprovenRow,
)
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

ABSENT = "reading back proved that the badge is not there; the next import of the row sends it"
BY_WORD = "accepted by the word of"
FREED_BY_WORD = "not granted by the word of"
MAY_BE_TWICE = "the next import of the row sends it, and it may be granted twice"
DOUBT = "set free without proof by the word of {by}: may be granted twice"
ELSEWHERE = "taken over or settled by another job in the meantime"
#: State of the ledger's row of an identity -> how an unknown row of a report ends that has the same identity. The first
#: that is found counts.
_DEPENDENT_ENDS = {
    RowState.ACCEPTED: (RowState.ALREADY_ACCEPTED, "the same badge was accepted in the meantime"),
    RowState.REVOKED: (RowState.ALREADY_ACCEPTED, "the same badge was accepted, and revoked since"),
    RowState.UNKNOWN: None,
    RowState.INTENT: None,
    RowState.REJECTED: (RowState.REJECTED, "the same badge was rejected in the meantime"),
    RowState.PLANNED: (RowState.NOT_SENT, "the same badge is not granted; the next import of the row sends it"),
}


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


def settle_dependent_rows(ledger: Ledger, job: Job) -> int:
    """Update report entries that say "unknown" only because another row was unknown, once that one is settled.

    Such a row repeats an unknown row of its dataset, or a later job has taken it over. It ends in the same way as the
    ledger's row of the same identity.

    :return: how many entries were changed.
    """
    settings = ledger.job_settings(job.job_id)
    if settings.get("on_duplicate") == OnDuplicate.ALLOW:
        return 0  # the report does not say which of several equal rows is meant
    once = settings.get("once_per_customer") == "True"
    changed = 0
    for rows in ledger.settlements.dependent_rows(job):
        badges = list(_as_imported(rows, settings))
        held = ledger.find(job, badges, any_date=once) if badges else {}
        ends = [
            RowEnd(badge.row_number, *end)
            for badge in badges
            if (
                end := _end_like(
                    held.get((badge.customer_id, badge.badge_meta_id), ()), None if once else badge.earned_at
                )
            )
        ]
        changed += ledger.settlements.report_ends(job, ends) if ends else 0
    return changed


def _as_imported(rows: Sequence[DependentRow], settings: dict[str, str]) -> Iterator[EarnedBadge]:
    """The rows as the import read them, with the settings of the job."""
    try:
        choices = column_choices(dict(msgspec.json.decode(settings.get("field_mapping") or "[]")))
        zone: tzinfo | None = named_zone(settings.get("timezone") or None)
        columns = resolve_columns(choices, list(rows[0].original))
    except CapillaryError as error:
        log.warning("Rows reported as unknown stay so, because the report's columns cannot be read: %s", error)
        return
    reader = RowReader(columns, zone, settings.get("timestamp_unit") or "s")
    names: tuple[str, ...] = msgspec.structs.astuple(columns)
    for row in rows:
        for badge in reader.read(row.row_number, *([row.original.get(name)] for name in names)):
            if isinstance(badge, EarnedBadge):
                yield badge


def _end_like(held: Sequence[Held], earned_at: int | None) -> tuple[RowState, str] | None:
    states = {one.state for one in held if earned_at in (None, one.earned_at) and not one.is_set_aside}
    return next((end for state, end in _DEPENDENT_ENDS.items() if state in states), None)
