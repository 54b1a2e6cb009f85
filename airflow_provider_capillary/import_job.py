"""The main path: rows -> earned badges -> batches -> intent -> send -> outcome -> summary.

Read ``ImportJob.run`` from top to bottom; ``importing/delivery.py`` is what happens to one batch.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial

import msgspec

from airflow_provider_capillary.core.backoff import Backoff
from airflow_provider_capillary.core.batching import RAMP, Batcher, BatchLimits
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.field_mapping import Columns, column_choices, resolve_columns
from airflow_provider_capillary.core.planning import Plan
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import Summary
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.datasets.base import Dataset, DatasetFacts, Window
from airflow_provider_capillary.exceptions import (
    CapillaryError,
    DatasetError,
    ImportInterruptedError,
    JobIsRunningError,
    LeaseLostError,
    LedgerUnavailableError,
    LedgerUnusableError,
)
from airflow_provider_capillary.importing.api import Api
from airflow_provider_capillary.importing.badge_check import badges_of, missing_badges
from airflow_provider_capillary.importing.delivery import Delivery, Work
from airflow_provider_capillary.importing.ending import Ending
from airflow_provider_capillary.importing.hand_over import HandOver
from airflow_provider_capillary.importing.pace import Pace, lanes_for
from airflow_provider_capillary.importing.planner import Planner
from airflow_provider_capillary.importing.progress import LiveAccount, LiveLanes, Progress, Show
from airflow_provider_capillary.importing.reading import RowCheck
from airflow_provider_capillary.importing.settings import ImportSettings, OnDuplicate
from airflow_provider_capillary.importing.shared import Shared
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.importing.verdict import compare, count_unread, shortfall, summarised
from airflow_provider_capillary.importing.verifier import Verifier
from airflow_provider_capillary.ledger.facts import Job, JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.writer import LedgerWriter

log = logging.getLogger(__name__)

WINDOW_ROWS = 4_000


class ImportResult(msgspec.Struct, frozen=True):
    """The account of the job, and why it is no success (``None``: it is one)."""

    summary: Summary
    error: CapillaryError | None = None


class ImportJob:
    """One import of one dataset. ``run`` it once.

    :param scope: whose job it is; the same scope goes on with the same job.
    :param stop: lets another thread or a signal handler stop the job.
    :param monotonic: the clock for durations, in seconds.
    :param heartbeat_seconds: how often the lease is renewed; well below the ledger's ``lease_seconds``.
    :param jitter: the randomness of waits, 0 <= value < 1.
    :param on_progress: told how far the job is, now and then, on the thread that called ``run``; it may fail.
    """

    def __init__(
        self,
        dataset: Dataset,
        api: Api,
        ledger: Ledger,
        scope: JobScope,
        settings: ImportSettings,
        *,
        stop: StopSignal | None = None,
        heartbeat_seconds: float = 15.0,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_progress: Show | None = None,
    ) -> None:
        self._dataset = dataset
        self._api = api
        self._ledger = ledger
        self._scope = msgspec.structs.replace(scope, dry_run=settings.dry_run)
        self._settings = settings
        self._stop = stop or StopSignal()
        self._heartbeat_seconds = heartbeat_seconds
        self._monotonic = monotonic
        self._backoff = Backoff(jitter)
        self._account = LiveAccount()
        self._progress = Progress(self._account, monotonic, on_progress)
        self._rows_read = 0

    def run(self) -> ImportResult:
        """Import the dataset.

        Raises a ``CapillaryError`` where nothing could be begun or the ledger failed; what went wrong after
        that comes back as the result's ``error``, beside the account of every row.
        """
        choices = column_choices(self._settings.field_mapping)
        zone = named_zone(self._settings.timezone)
        facts = self._dataset.inspect()
        columns = resolve_columns(choices, facts.columns)
        rows = RowCheck(columns, zone, self._missing_badges(columns), self._settings.timestamp_unit)
        started = time.time()
        job = self._open_job(facts)
        try:
            with closing(LedgerWriter(self._ledger, job, heartbeat_seconds=self._heartbeat_seconds)) as book:
                self._progress.begin(job.job_id, facts.rows)
                if self._settings.on_duplicate is OnDuplicate.FAIL:
                    self._refuse_duplicates(rows, book, job)
                self._read_and_deliver(rows, book, job)
            return self._result(job, facts, started)
        except BaseException:
            with suppress(CapillaryError):
                self._ledger.finish_job(job, "failed", None)
            self._progress.end(well=False)
            raise

    def _missing_badges(self, columns: Columns) -> frozenset[str]:
        if not self._settings.check_badges:
            return frozenset()
        badges = badges_of(self._dataset, columns.badge_meta_id, WINDOW_ROWS)
        pace = self._pace(self._ledger.reserve_request)
        return missing_badges(badges, self._api.has_badge, self._backoff, self._stop, pace)

    def _open_job(self, facts: DatasetFacts) -> Job:
        plan = JobPlan(
            organisation=self._api.organisation,
            host=self._api.host,
            dataset_fingerprint=facts.fingerprint,
            rows=facts.rows,
            settings=self._settings.fixed_for_a_job() | self._api.wire_settings,
            sources=facts.sources,
        )
        try:
            job = self._ledger.open_job(self._scope, plan)
        except JobIsRunningError as error:
            # a try that died holds its lease a little longer; one that lives renews it, and then this one gives up
            log.info("%s; waiting for it to run out", error)
            self._stop.pause((error.retry_after or 0.0) + 1.0)
            job = self._ledger.open_job(self._scope, plan)
        for warning in job.warnings:
            log.warning("%s", warning)
        begun = "Going on with" if job.resumed else "Beginning"
        log.info("%s job %s: %s rows; ledger %s", begun, job.job_id, f"{facts.rows:,}", self._ledger.description)
        return job

    def _refuse_duplicates(self, rows: RowCheck, book: LedgerWriter, job: Job) -> None:
        found: list[tuple[EarnedBadge, Plan]] = []
        with closing(Planner.on(book, job.key, self._settings)) as planner:
            for window in self._dataset.windows(WINDOW_ROWS):
                done = planner.preview(rows.check(window)[0]).done
                planner.doubtful.forget(badge.row_number for badge, _ in done)
                found += [pair for pair in done if pair[1] in (Plan.DUPLICATE, Plan.ALREADY_ACCEPTED)]
                if len(found) > WINDOW_ROWS:
                    break
        if found:
            badge, plan = found[0]
            raise DatasetError(
                f"on_duplicate='fail': {len(found):,} or more rows are duplicates, the first is row "
                f"{badge.row_number} ({plan.value}). Nothing was sent; take them out, or set on_duplicate='skip'"
            )

    def _read_and_deliver(self, rows: RowCheck, book: LedgerWriter, job: Job) -> None:
        settings, account = self._settings, self._account
        with closing(Planner.on(book, job.key, settings)) as planner:
            ending = Ending(book, account, planner.doubtful)
            delivery = self._delivery(planner, ending, book, job)
            with closing(
                LiveLanes[Work](lanes_for(settings.concurrency), delivery.deliver, self._stop, self._progress)
            ) as lanes:
                hand_over = HandOver(delivery, lanes, self._batcher(), account)
                try:
                    for window in self._windows():
                        badges, issues = rows.check(window)
                        ending.keep(issues)
                        planned = planner.preview(badges) if settings.dry_run else planner.sort_new(badges)
                        ending.close(planned.done, [window])
                        if settings.dry_run:
                            account.count(RowState.NOT_SENT, len(planned.send) + len(planned.settle))
                        else:
                            hand_over.rows(planned, window)
                        self._progress.tell()
                    hand_over.rest()
                except BaseException as error:
                    self._stop.request(error)  # or the lanes would first send all that waits
                    raise
            self._end_repeats(rows, planner, ending)

    def _end_repeats(self, rows: RowCheck, planner: Planner, ending: Ending) -> None:
        """Rows that repeat an earlier one end as that one did, which need not be well."""
        if ending.repeats.all_well(self._account, hope=self._settings.dry_run):
            return
        if self._must_leave():
            return ending.repeats.none_sent(self._account)
        for window in self._dataset.windows(WINDOW_ROWS):
            badges = rows.check(window)[0]
            ending.keep(ending.repeats.ends_of(window, badges, planner.states_of_equals, self._account))

    def _must_leave(self) -> bool:
        error = self._stop.error
        return isinstance(error, ImportInterruptedError) or (error is not None and _cannot_be_recorded(error))

    def _windows(self) -> Iterator[Window]:
        """The dataset's windows, up to where the job must leave at once."""
        for window in self._dataset.windows(WINDOW_ROWS):
            if self._must_leave():
                return
            self._rows_read += len(window)
            yield window

    def _batcher(self) -> Batcher:
        settings, api = self._settings, self._api
        most_rows, most_bytes = settings.batch_size, settings.max_batch_bytes
        limits = BatchLimits(most_rows, most_bytes, lanes_for(settings.concurrency), api.row_size, api.largest_row)
        return Batcher(limits, RAMP if settings.canary else ())

    def _delivery(self, planner: Planner, ending: Ending, book: LedgerWriter, job: Job) -> Delivery:
        pace = self._pace(book.reserve_request)
        shared = Shared(book, planner, self._account, self._settings, self._stop, self._backoff, pace)
        return Delivery(shared, self._api, job, Verifier(shared, self._api), ending, self._monotonic)

    def _pace(self, reserve: Callable[[str, int], float]) -> Pace:
        organisation, per_minute = self._api.organisation, self._api.requests_per_minute
        budget = None if per_minute is None else partial(reserve, organisation, per_minute)
        return Pace(self._settings.concurrency, budget, self._stop, self._monotonic)

    def _result(self, job: Job, facts: DatasetFacts, started: float) -> ImportResult:
        stopped = self._stop.error
        if stopped is not None and _cannot_be_recorded(stopped):
            raise stopped
        in_ledger = self._ledger.counts(job)
        count_unread(self._account, facts.rows - self._rows_read, in_ledger)
        summary = summarised(
            self._account,
            job_id=job.job_id,
            ledger=self._ledger.description,
            started=started,
            finished=time.time(),
            dry_run=self._settings.dry_run,
        )
        compare(summary, facts.rows, in_ledger)
        error = stopped if isinstance(stopped, CapillaryError) else shortfall(summary, self._settings)
        self._ledger.finish_job(job, "failed" if error else "finished", summary.as_dict())
        self._progress.end(well=error is None)
        return ImportResult(summary, error)


def _cannot_be_recorded(error: BaseException) -> bool:
    no_ledger = (LeaseLostError, LedgerUnavailableError, LedgerUnusableError)
    return isinstance(error, no_ledger) or not isinstance(error, CapillaryError)
