"""Runs one import: reads rows, checks and plans them, has the lanes send them, and accounts for each in a summary.

Read ``ImportJob.run`` from top to bottom. ``lane.py`` sends one batch, ``follow_up.py`` deals with a batch that was not
accepted as a whole, ``planner.py`` decides about rows that the ledger holds already.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial

import msgspec

from airflow_provider_capillary.client import wire
from airflow_provider_capillary.clocks import steady
from airflow_provider_capillary.core.batching import RAMP, Batcher, BatchLimits
from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import LARGEST, EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.planning import Plan
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Summary, UnaccountedRowsError
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.base import Dataset, DatasetFacts, Window
from airflow_provider_capillary.exceptions import (
    CapillaryError,
    DatasetError,
    ImportInterruptedError,
    WitnessUnavailableError,
)
from airflow_provider_capillary.jobs.account import (
    Account,
    compare,
    count_late,
    count_unread,
    report_unread,
    shortfall,
    summarised,
)
from airflow_provider_capillary.jobs.follow_up import Work
from airflow_provider_capillary.jobs.lane import BatchSender, Dealer, LaneThreads
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import (
    Pace,
    StopSignal,
    cannot_be_recorded,
    lanes_for,
    once_the_lease_ran_out,
)
from airflow_provider_capillary.jobs.planner import Planner
from airflow_provider_capillary.jobs.progress import Progress, Show
from airflow_provider_capillary.jobs.read_back import ReadBack, UnknownRows
from airflow_provider_capillary.jobs.row_check import RowChecker, badge_ids_of, in_customer_order, look_up_badges
from airflow_provider_capillary.jobs.running_import import RunningImport
from airflow_provider_capillary.jobs.settings import ImportSettings, OnDuplicate
from airflow_provider_capillary.ledger.facts import Job, JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.writer import LedgerWriter

log = logging.getLogger(__name__)

WINDOW_ROWS = 4_000
_DUPLICATES = (Plan.DUPLICATE, Plan.ALREADY_ACCEPTED, Plan.REVOKED)


class ImportResult(msgspec.Struct, frozen=True):
    """The job's summary, why it is no success (``None``: it is one), and how long this try took."""

    summary: Summary
    error: CapillaryError | None = None
    seconds: float = 0.0  #: from the first look at the dataset to the last outcome


class ImportJob:
    """One import of one dataset. ``run`` it once.

    :param scope: the task that the job belongs to; the same scope goes on with the same job.
    :param stop: lets another thread or a signal handler stop the job.
    :param clock: epoch seconds, for the times in the summary.
    :param monotonic: the clock for durations, in seconds.
    :param heartbeat_seconds: how often the lease is renewed; well below the ledger's ``lease_seconds``.
    :param jitter: the randomness of waits, 0 <= value < 1.
    :param on_progress: gets how far the job is, now and then, on the thread that called ``run``. It may raise.
    :param witness: what Airflow remembers of the ledger; ``None``: any ledger is accepted.
    """

    def __init__(
        self,
        dataset: Dataset,
        organisation: Organisation,
        ledger: Ledger,
        scope: JobScope,
        settings: ImportSettings,
        *,
        stop: StopSignal | None = None,
        heartbeat_seconds: float = 15.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = steady,
        jitter: Callable[[], float] = random.random,
        on_progress: Show | None = None,
        witness: LedgerWitness | None = None,
    ) -> None:
        self._dataset = dataset
        self._organisation = organisation
        self._ledger = ledger
        self._scope = msgspec.structs.replace(scope, dry_run=settings.dry_run)
        self._settings = settings
        self._stop = stop or StopSignal()
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._account = Account()
        self._witness = None if settings.dry_run else witness
        self._progress = Progress(self._account, monotonic, on_progress, self._note_progress, dry_run=settings.dry_run)
        self._rows_read = 0

    def run(self) -> ImportResult:
        """Import the dataset. A failure after the job has begun is the result's ``error``, beside the summary.

        :raises CapillaryError: the job could not begin, or the ledger failed. Nothing was sent that is not recorded.
        """
        started, begun = self._clock(), self._monotonic()
        settings = self._settings
        choices, zone = column_choices(settings.field_mapping), named_zone(settings.timezone)
        facts = self._dataset.inspect()
        columns = resolve_columns(choices, facts.columns)
        self._ledger.refuse_unknown_organisation(self._organisation.name)
        if self._witness is not None:
            self._witness.compare()
        badge_ids = badge_ids_of(self._dataset, columns.badge_meta_id, WINDOW_ROWS) if settings.check_badges else set()
        looked_up = look_up_badges(badge_ids, self._organisation.client, self._pace(self._ledger.reserve_request))
        checker = RowChecker(columns, zone, looked_up.missing, settings.timestamp_unit, badge_ids)
        job = self._open_job(facts)
        try:
            if self._witness is not None:
                self._witness.begin(job.job_id)
            self._ledger.name_badges(looked_up.names)
            with closing(
                LedgerWriter(self._ledger, job, heartbeat_seconds=self._heartbeat_seconds, on_loss=self._stop.request)
            ) as ledger:
                self._progress.begin(job.job_id, facts.rows)
                if self._settings.on_duplicate is OnDuplicate.FAIL:
                    self._refuse_duplicates(checker, ledger, job)
                self._read_and_send(checker, ledger, job)
            summary, error = self._end(job, facts, started)
            return ImportResult(summary, error, self._monotonic() - begun)
        except BaseException:
            with suppress(CapillaryError):
                self._ledger.finish_job(job, "failed", None)
                self._end_witness()
            self._progress.end(well=False)
            raise

    # -- before anything is sent -------------------------------------------------------------------------------------

    def _open_job(self, facts: DatasetFacts) -> Job:
        client = self._organisation.client.settings
        sent_as = {"timestamp_format": client.timestamp_format.value, "import_method": client.import_method.value}
        plan = JobPlan(
            organisation=self._organisation.name,
            host=client.base_url,
            dataset_fingerprint=facts.fingerprint,
            rows=facts.rows,
            settings=self._settings.fixed_for_a_job() | sent_as,
            sources=facts.sources,
        )
        job = once_the_lease_ran_out(partial(self._ledger.open_job, self._scope, plan), self._stop, self._monotonic)
        if job.resumed:
            self._warn_of_ended(job)
        begun = "Going on with" if job.resumed else "Beginning"
        log.info("%s job %s: %s rows; ledger %s", begun, job.job_id, f"{facts.rows:,}", self._ledger.description)
        return job

    def _warn_of_ended(self, job: Job) -> None:
        """Warn that the job had ended before: a run that was deleted and made again with its id counts as a retry."""
        refused = (self._ledger.job(job.job_id).summary or {}).get("rejected", 0)
        if refused:
            log.warning(
                "Job %s had come to its end before, with %s rejected rows. The same DAG, run, task and max_tries are a "
                "retry: it goes on with that job, and these rows are not sent again. To send them, clear the task, or "
                "use another run id",
                *(job.job_id, f"{refused:,}"),
            )

    def _refuse_duplicates(self, checker: RowChecker, ledger: LedgerWriter, job: Job) -> None:
        found: list[tuple[EarnedBadge, Plan]] = []
        with closing(Planner(ledger, job.key, self._settings, self._account)) as planner:
            for window in self._dataset.windows(WINDOW_ROWS):
                done = planner.preview(checker.check(window)[0]).done
                planner.forget_doubts(badge.row_number for badge, _ in done)
                found += [pair for pair in done if pair[1] in _DUPLICATES]
                if len(found) > WINDOW_ROWS:
                    break
        if found:
            badge, plan = found[0]
            raise DatasetError(
                f"on_duplicate='fail': {len(found):,} or more rows are duplicates, the first is row "
                f"{badge.row_number} ({plan.value}). Nothing was sent; take them out, or set on_duplicate='skip'"
            )

    # -- rows to batches to lanes ------------------------------------------------------------------------------------

    def _read_and_send(self, checker: RowChecker, ledger: LedgerWriter, job: Job) -> None:
        """Read and check rows, put them in order, plan them, and give them to their customers' lanes, which send them.

        ``ARCHITECTURE.md`` lists the calls for a row that is accepted.
        """
        settings, account = self._settings, self._account
        with closing(Planner(ledger, job.key, settings, account)) as planner:
            sender = self._sender(planner, ledger, job)
            with closing(
                LaneThreads[Work](lanes_for(settings.concurrency), sender.work_off, self._stop, self._progress)
            ) as threads:
                dealer = Dealer(sender, threads, self._batcher(), account)
                try:
                    for badges, windows in in_customer_order(self._checked(checker, planner)):
                        rows = planner.preview(badges) if settings.dry_run else planner.plan_new(badges)
                        planner.end_done(rows, windows)
                        if settings.dry_run:
                            account.count(RowState.NOT_SENT, len(rows.send) + len(rows.settle))
                        else:
                            dealer.deal(rows, windows)
                        self._progress.report()
                    dealer.deal_rest()
                except BaseException as error:
                    self._stop.request(error)  # else the lanes would first send all waiting batches
                    raise
            sender.work_off_aside(self._batcher())
            ledger.catch_up()  # the last outcomes are counted after their commit
            self._end_repeats(checker, planner)

    def _checked(self, checker: RowChecker, planner: Planner) -> Iterator[tuple[EarnedBadges, Window]]:
        """Each window's good rows; the others end here."""
        for window in self._windows():
            badges, issues = checker.check(window)
            planner.record(issues)
            yield badges, window

    def _windows(self) -> Iterator[Window]:
        """The dataset's windows, until the job must end at once."""
        for window in self._dataset.windows(WINDOW_ROWS):
            if self._must_leave():
                return
            self._rows_read += len(window)
            yield window

    def _sender(self, planner: Planner, ledger: LedgerWriter, job: Job) -> BatchSender:
        client, stop, pace = self._organisation.client, self._stop, self._pace(ledger.reserve_request)
        running = RunningImport(
            client, ledger, job, planner, self._account, self._settings, stop, pace, self._monotonic
        )
        read_back = ReadBack(
            client,
            ledger.find,
            ledger.find_controls,
            ledger.now,
            pace,
            stop,
            self._monotonic,
            verify_after=self._settings.verify_after,
            waiting=self._progress.waiting,
        )
        return BatchSender(running, UnknownRows(running, read_back))

    def _pace(self, reserve: Callable[[str, int], float]) -> Pace:
        concurrency = self._settings.concurrency
        return self._organisation.pace(reserve, self._stop, self._jitter, self._monotonic, most_in_flight=concurrency)

    def _batcher(self) -> Batcher:
        settings, form = self._settings, self._organisation.client.settings.timestamp_format
        limits = BatchLimits(
            settings.batch_size,
            settings.max_batch_bytes,
            lanes_for(settings.concurrency),
            partial(wire.row_size, timestamp_format=form),
            wire.row_size(LARGEST, form),
        )
        return Batcher(limits, RAMP if settings.canary else ())

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end_repeats(self, checker: RowChecker, planner: Planner) -> None:
        """End the rows that repeat an earlier one as that one ended."""
        if planner.repeats.end_well(self._account, hope=self._settings.dry_run):
            return
        if self._must_leave():
            return planner.repeats.end_unsent(self._account)
        for window in self._dataset.windows(WINDOW_ROWS):
            badges = checker.check(window)[0]
            planner.record(planner.repeats.end_as_equals(window, badges, planner.states_of_equals, self._account))

    def _must_leave(self) -> bool:
        error = self._stop.error
        return isinstance(error, ImportInterruptedError) or (error is not None and cannot_be_recorded(error))

    def _end(self, job: Job, facts: DatasetFacts, started: float) -> tuple[Summary, CapillaryError | None]:
        """Make the summary, compare it with the dataset and the ledger, and close the job."""
        stopped = self._stop.error
        if stopped is not None and cannot_be_recorded(stopped):
            raise stopped
        in_ledger = self._ledger.counts(job)
        if self._rows_read < facts.rows and job.resumed:
            report_unread(self._ledger, job, self._account, self._rows_read)
        count_unread(self._account, facts.rows - self._rows_read, in_ledger)
        if count_late(self._account, in_ledger, len(self._ledger.accepted_elsewhere)):
            self._ledger.settlements.report_late_replies(job)
        summary = summarised(
            self._account,
            job_id=job.job_id,
            ledger=self._ledger.description,
            started=started,
            finished=self._clock(),
            dry_run=self._settings.dry_run,
        )
        try:
            compare(summary, facts.rows, in_ledger)
        except UnaccountedRowsError:
            self._ledger.renew_lease(job)  # if another copy took the job over, this raises that as the true reason
            raise
        error = (
            stopped
            if isinstance(stopped, CapillaryError)
            else shortfall(summary, self._settings, self._account.lacks_control)
        )
        kept = summary.as_dict() | {"budgets": self._settings.budgets()}
        self._ledger.finish_job(job, "failed" if error else "finished", kept)
        error = error or self._end_witness()
        self._progress.end(well=error is None)
        return summary, error

    # -- the witness -------------------------------------------------------------------------------------------------

    def _note_progress(self) -> None:
        """Write the witness, and stop if it names another ledger now."""
        if self._witness is not None and (error := self._witness.beat()) is not None:
            self._stop.request(error)

    def _end_witness(self) -> CapillaryError | None:
        try:
            return self._witness.end() if self._witness is not None else None
        except WitnessUnavailableError as error:
            log.warning("%s", error)
            return error
