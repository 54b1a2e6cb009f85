"""Records the rows of a dataset as granted outside this ledger: by another tool, or under a ledger that was lost.

The dataset is read twice. The first pass only checks. If too many rows are invalid, nothing is recorded, because a
wrong column would fill the ledger with grants that never happened. Nothing is sent, and the API is not called.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from airflow_provider_capillary.clocks import steady
from airflow_provider_capillary.core.budget import Budget, parse_budget
from airflow_provider_capillary.core.earned_badge import InvalidRow
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.seeding import SeedColumns, SeedPlan, SeedReader, plan_seed, seed_choices
from airflow_provider_capillary.core.summary import Summary, Tally
from airflow_provider_capillary.core.timestamps import UNITS, named_zone
from airflow_provider_capillary.datasets.base import Dataset, DatasetFacts, Window
from airflow_provider_capillary.exceptions import (
    BudgetExceededError,
    CapillaryError,
    ImportInterruptedError,
    JobIsRunningError,
)
from airflow_provider_capillary.jobs.account import issue_of
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.jobs.pacing import STOPPED, StopSignal, once_the_lease_ran_out
from airflow_provider_capillary.jobs.progress import ProgressLine
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.equal_rows import RepeatedRows
from airflow_provider_capillary.ledger.facts import IntentConflictError, Issues, Job, JobPlan, JobScope, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.seeding import Seed

log = logging.getLogger(__name__)

WINDOW_ROWS = 4_000
MOST_ISSUES = 10_000  #: invalid rows that the ledger keeps with their columns; all are counted
MOST_CONFLICTS = 20  #: each one means that another job got on, so few follow each other
IN_FLIGHT = "a running import has just sent this row, and settles it"


class SeedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments, as ``BadgeSeedOperator`` explains them."""

    field_mapping: Mapping[str, str] | None = None
    timezone: str | None = None
    timestamp_unit: str = "s"
    max_invalid: Budget = parse_budget("max_invalid", 0)
    dry_run: bool = False

    def fixed_for_a_job(self) -> dict[str, str]:
        """The settings that decide what the dataset's rows mean."""
        mapping = msgspec.json.encode(sorted((self.field_mapping or {}).items())).decode()
        return {"field_mapping": mapping, "timezone": self.timezone or "", "timestamp_unit": self.timestamp_unit}


def seed_settings(*, max_invalid: int | str = 0, **values: Any) -> SeedSettings:
    """Check raw values, as they come from templates and DAG files.

    :raises ConfigurationError: a value is wrong; the message says which, what was given and what is allowed.
    """
    given = import_settings(**values)
    return SeedSettings(
        field_mapping=given.field_mapping,
        timezone=given.timezone,
        timestamp_unit=given.timestamp_unit.value,
        max_invalid=parse_budget("max_invalid", max_invalid),
        dry_run=given.dry_run,
    )


class Seeded(msgspec.Struct, frozen=True):
    """The result. ``error``: why it is no success.

    ``rows_read == seeded + already_held + in_flight + invalid + not_seeded``.
    """

    summary: Summary
    seeded: int  #: accepted by this seed: new to the ledger, or unknown, rejected or planned until now
    settled: int  #: of these, rows that an earlier import had left without proof
    already_held: int
    repeated: int  #: of these, rows that repeat an earlier row of the dataset
    in_flight: int  #: a running import has sent them; its own outcome counts
    not_seeded: int  #: nothing was recorded, because too many rows are invalid
    assumed: Mapping[str, Any] = {}
    error: CapillaryError | None = None

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON-ready values for XCom."""
        names = ("seeded", "settled", "already_held", "repeated", "in_flight", "not_seeded")
        return self.summary.as_dict() | {name: getattr(self, name) for name in names} | {"assumed": dict(self.assumed)}


class SeedJob:
    """One seeding of one dataset. ``run`` it once; repeating it changes nothing.

    :param organisation: its name in the ledger, and ``host`` its address, which is not called.
    :param by: who asks for it, for the ledger.
    :param witness: what Airflow remembers of the ledger. A seed is allowed whatever the witness expects, because it is
        the way out after a ledger was lost or restored. Once rows are recorded, this ledger is the expected one.
    :param stop: lets another thread or a signal handler stop it; what was recorded stays.
    :param clock: epoch seconds, for the times in the result.
    :param monotonic: the clock for durations, in seconds.
    """

    def __init__(
        self,
        dataset: Dataset,
        organisation: str,
        host: str,
        ledger: Ledger,
        scope: JobScope,
        settings: SeedSettings,
        *,
        by: str,
        witness: LedgerWitness | None = None,
        stop: StopSignal | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = steady,
    ) -> None:
        self._dataset = dataset
        self._organisation = organisation
        self._host = host
        self._ledger = ledger
        self._scope = scope
        self._settings = settings
        self._by = by
        self._witness = witness
        self._stop = stop or StopSignal()
        self._clock = clock
        self._monotonic = monotonic
        self._progress = ProgressLine(monotonic)
        self._tally = Tally()
        self._counts: Counter[SeedPlan] = Counter()
        self._repeated = self._invalid = 0

    def run(self) -> Seeded:
        """Check all rows, then record them.

        :raises DatasetError: the dataset cannot be read as it is; nothing was recorded.
        :raises JobIsRunningError: another process records the same rows.
        :raises WitnessUnavailableError: the rows are recorded, but Airflow cannot write that this is the ledger now.
        """
        started = self._clock()
        choices, zone = seed_choices(self._settings.field_mapping), named_zone(self._settings.timezone)
        facts = self._dataset.inspect()
        columns = choices.resolve(facts.columns)
        checker = _Checker(columns, SeedReader(columns, zone, self._settings.timestamp_unit), self._settings)
        self._progress.begin(facts.rows)
        issues = self._check(checker)
        job = self._open_job(facts)
        try:
            for start in range(0, len(issues), WINDOW_ROWS):
                self._ledger.record(job, [Issues(issues[start : start + WINDOW_ROWS])])
            refused = self._settings.max_invalid.exceeded(self._invalid, facts.rows)
            if not refused:
                self._note_all(checker, job)
            assumed = facts.assumed | {"columns": columns.as_dict() if facts.columns else {}}
            result = self._result(job, facts, started, assumed, refused=refused)
            self._ledger.finish_job(job, "failed" if result.error else "finished", result.as_dict())
        except BaseException:
            with suppress(CapillaryError):
                self._ledger.finish_job(job, "failed", None)
            raise
        # Last, so that the witness has every commit of the seed. A seed without rows makes no ledger the right one.
        is_done = result.error is None and not self._settings.dry_run and result.seeded + result.already_held > 0
        if self._witness is not None and is_done:
            self._witness.accept_seeded(self._by)
        return result

    def _open_job(self, facts: DatasetFacts) -> Job:
        settings = self._settings.fixed_for_a_job()
        # Other rows, or the same rows read in another way, are another job, so no retry goes on with the wrong one.
        purpose = f"seed {facts.fingerprint} {msgspec.json.encode(settings, order='sorted').decode()}"
        scope = msgspec.structs.replace(self._scope, dry_run=self._settings.dry_run, purpose=purpose)
        plan = JobPlan(
            organisation=self._organisation,
            host=self._host,
            dataset_fingerprint=facts.fingerprint,
            rows=facts.rows,
            settings=settings | {"purpose": "seed"},
            sources=facts.sources,
        )
        job = once_the_lease_ran_out(partial(self._ledger.open_job, scope, plan), self._stop, self._monotonic)
        log.info("Seeding job %s: %s rows; ledger %s", job.job_id, f"{facts.rows:,}", self._ledger.description)
        if not facts.rows:
            log.warning("The dataset has no rows, so nothing is recorded as granted")
        return job

    # -- the two passes ----------------------------------------------------------------------------------------------

    def _check(self, checker: _Checker) -> list[RowIssue]:
        """Count the invalid rows; give the issues of the first of them."""
        issues: list[RowIssue] = []
        for window in self._windows():
            for row in checker.check(window)[2]:
                self._invalid += 1
                self._tally.explain("validate", None, row.message)
                if len(issues) < MOST_ISSUES:
                    issues.append(issue_of(row, [window], RowState.INVALID, "validate", row.message))
        return issues

    def _note_all(self, checker: _Checker, job: Job) -> None:
        done = 0
        with closing(RepeatedRows()) as repeated:
            for window in self._windows():
                badges, ids, _ = checker.check(window)
                occurrences = repeated.number(badges, ids)
                if 0 in occurrences:
                    is_new = [occurrence > 0 for occurrence in occurrences]
                    self._repeated += is_new.count(False)
                    badges, ids = badges.where(is_new), [one for one, new in zip(ids, is_new, strict=True) if new]
                    occurrences = [occurrence for occurrence in occurrences if occurrence]
                if badges:
                    self._note(job, Seed(badges.numbered(occurrences), ids, self._by))
                done += len(window)
                self._progress.write(done)

    def _note(self, job: Job, given: Seed) -> None:
        if self._settings.dry_run:
            self._counts.update(self._preview(job, given.badges))
            return
        for _ in range(MOST_CONFLICTS):
            with suppress(IntentConflictError):
                self._counts.update(self._ledger.seed(job, given))
                return
        self._counts.update(self._ledger.seed(job, given))

    def _preview(self, job: Job, badges: EarnedBadges) -> Iterator[SeedPlan]:
        found = self._ledger.find(job, badges)
        for badge in badges:
            every = found.get((badge.customer_id, badge.badge_meta_id), ())
            same = (h for h in every if h.earned_at == badge.earned_at and h.occurrence == badge.occurrence)
            held = next(same, None)
            yield plan_seed(held.state if held else None, job_is_alive=held is not None and held.job_is_alive)

    def _windows(self) -> Iterator[Window]:
        for window in self._dataset.windows(WINDOW_ROWS):
            if self._stop.requested:
                raise ImportInterruptedError(STOPPED)
            yield window

    # -- the end -----------------------------------------------------------------------------------------------------

    def _result(
        self, job: Job, facts: DatasetFacts, started: float, assumed: Mapping[str, Any], *, refused: bool
    ) -> Seeded:
        counts = self._counts
        seeded = counts[SeedPlan.NOTE] + counts[SeedPlan.SETTLE]
        held, in_flight = counts[SeedPlan.HELD] + self._repeated, counts[SeedPlan.IN_FLIGHT]
        not_seeded = facts.rows - self._invalid if refused else 0
        if in_flight:
            self._tally.explain("plan", None, IN_FLIGHT, in_flight)
        dry_run = self._settings.dry_run
        own = self._ledger.counts(job).get(RowState.ACCEPTED, 0)  # of all tries of the job, as in an import
        summary = Summary(
            job_id=job.job_id,
            rows_read=facts.rows,
            accepted=own,
            already_accepted=held if dry_run else held + seeded - own,
            rejected=0,
            invalid=self._invalid,
            unknown=0,
            not_sent=not_seeded + in_flight + (seeded if dry_run else 0),
            requests=0,
            batches=0,
            started_at=_iso(started),
            finished_at=_iso(self._clock()),
            reasons=self._tally.reasons(),
            ledger=self._ledger.description,
            dry_run=dry_run,
        )
        error = self._shortfall(summary, in_flight, refused=refused)
        return Seeded(
            summary, seeded, counts[SeedPlan.SETTLE], held, self._repeated, in_flight, not_seeded, assumed, error
        )

    def _shortfall(self, summary: Summary, in_flight: int, *, refused: bool) -> CapillaryError | None:
        if refused:
            reasons = "; ".join(f"{reason.rows:,} x {reason.message}" for reason in summary.reasons[:3])
            allowed = self._settings.max_invalid.text
            return BudgetExceededError(
                f"{self._invalid:,} of {summary.rows_read:,} rows are invalid; allowed: {allowed}. "
                f"Nothing was recorded. Top reasons: {reasons}. Correct the rows, or check that field_mapping, "
                f"timezone and timestamp_unit fit the dataset; or set max_invalid, to record the others. Invalid rows: "
                f"`airflow capillary errors {summary.job_id} --output FILE`"
            )
        if in_flight and not self._settings.dry_run:
            return JobIsRunningError(
                f"{in_flight} of {summary.rows_read:,} rows were left alone: {IN_FLIGHT}. "
                "The others are recorded; a retry looks at these again"
            )
        return None


class _Checker:
    """Gives the good rows of a window, the id of each, and the invalid rows."""

    def __init__(self, columns: SeedColumns, reader: SeedReader, settings: SeedSettings) -> None:
        self._columns = columns
        self._reader = reader
        self._scale = UNITS[settings.timestamp_unit]

    def check(self, window: Window) -> tuple[EarnedBadges, list[str | None], list[InvalidRow]]:
        names = self._columns
        return self._reader.read(
            window.first_row_number,
            window.column(names.badge_meta_id),
            window.column(names.customer_id),
            self._instants(window, names.earned_at),
            self._instants(window, names.earned_at_iso) if names.earned_at_iso else (),
            window.column(names.earned_badge_id) if names.earned_badge_id else (),
        )

    def _instants(self, window: Window, name: str) -> Sequence[Any]:
        values = window.column(name)
        if self._scale == 1 or not window.is_in_seconds(name):
            return values
        return [value * self._scale if isinstance(value, int) else value for value in values]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
