"""The durable account of what was sent and what became of it, in SQLite on one machine or PostgreSQL for many workers.

A ledger writes ahead: the intent to send a batch is committed before its first byte leaves, the outcome before the
batch counts as done. Notes that are recorded together are committed together or not at all.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_capillary import clocks
from airflow_provider_capillary.clocks import Boot
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.organisation_key import organisation_key
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.probing import Before, Way
from airflow_provider_capillary.core.row_state import UNPROVEN, RowState
from airflow_provider_capillary.core.seeding import SeedPlan
from airflow_provider_capillary.core.witness import LedgerState
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError, UnknownJobError
from airflow_provider_capillary.ledger import (
    badge_names,
    given_ids,
    listing,
    organisations,
    probing,
    revoking,
    settling,
)
from airflow_provider_capillary.ledger.ages import Ages
from airflow_provider_capillary.ledger.controls import find_controls
from airflow_provider_capillary.ledger.engine import (
    PATIENCE_SECONDS,
    durably,
    file_of,
    make_engine,
    reading,
    shown,
    snapshot,
)
from airflow_provider_capillary.ledger.facts import (
    Age,
    Answer,
    Controls,
    GrantedRow,
    Grants,
    Hearsay,
    Job,
    JobPlan,
    JobRecord,
    JobScope,
    LedgerRow,
    Note,
    OrganisationRecord,
    Outcome,
    Proof,
    RowEnd,
    RowIssue,
    Settled,
    UnprovenRow,
)
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS, Jobs, Lease, lease_lost, lock_resting, this_process
from airflow_provider_capillary.ledger.migrations.upgrade import current_revision, upgrade
from airflow_provider_capillary.ledger.packing import Key, unpack_rows
from airflow_provider_capillary.ledger.probing import ProbeGrant, ProbeRecord
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.recording import LATE_REPLY, Recording
from airflow_provider_capillary.ledger.rows import rows_for
from airflow_provider_capillary.ledger.seeding import Seed, Seeding
from airflow_provider_capillary.ledger.sqlite_file import refuse_unfit

_BATCHES_IN_MEMORY = 64  # a window's rows come from few batches of the try before
_STATES = {state.value: state for state in RowState}
_NOT_SETTLED = UNPROVEN | {RowState.PLANNED}  # of other rows it does not matter whether their job lives
_Page = TypeVar("_Page")


class Ledger:
    """Used by one thread at a time. Tables are created or upgraded on first use.

    Any method raises ``LedgerUnavailableError`` where the database cannot be used; then nothing was committed. (One
    exception: a connection that broke in the very commit leaves open whether all was committed or nothing.)

    :param url: a SQLAlchemy URL of a SQLite file or a PostgreSQL database.
    :param clock: epoch seconds, ``time.time`` by default. With PostgreSQL the database's own clock is used, so that
        workers whose clocks differ agree on leases; this one is only kept beside it, for ages.
    :param boot: the boot of this machine and the seconds since, for ages; ``None`` where there is no such clock.
    :param steady: seconds by a clock that is never set.
    :param owner: the name under which leases are taken; this process by default.
    :param patience: seconds to wait for what another process has locked.
    :param without_wal: a person said that nothing is missing where an SQLite file has lost the file beside it.
    :param must_exist: make no ledger where there is none, but raise ``ConfigurationError``.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Callable[[], float] | None = None,
        boot: Callable[[], Boot | None] = clocks.boot,
        steady: Callable[[], float] = clocks.steady,
        lease_seconds: float = LEASE_SECONDS,
        owner: str | None = None,
        patience: float = PATIENCE_SECONDS,
        without_wal: bool = False,
        must_exist: bool = False,
    ) -> None:
        self._engine = make_engine(url, patience=patience)
        self._file = file_of(self._engine)
        if self._file is not None:
            refuse_unfit(self._file, without_wal=without_wal)
        self._rows = rows_for(self._engine.dialect.name)
        self._clock = clock or time.time
        self._boot = boot
        self._ages = Ages(steady)
        self._jobs = Jobs(owner or this_process(), lease_seconds)
        self._badge_keys: dict[int, dict[str, int]] = {}  #: committed ones only, by organisation
        #: Rows of the job at work that its replies accept, and that another job took over when the lease had run out.
        self.accepted_elsewhere: set[int] = set()
        self._row_numbers: dict[int, dict[Key, int]] = {}  #: of the batches that were looked up last
        self.description = shown(self._engine.url)  #: where it is, without credentials
        try:
            if must_exist:
                self._refuse_absence()
            self.was_upgraded = durably(self._engine, upgrade)  #: whether tables were made or changed just now
        except BaseException:
            self.close()  # the caller gets no ledger that it could close
            raise

    @functools.cached_property
    def ledger_id(self) -> str:
        """The ledger's own random name, made with it; a copy of it keeps the name."""
        with reading(self._engine) as connection:
            return str(connection.execute(QUERIES["identity"]).one().ledger_id)

    @property
    def sealed_for(self) -> str | None:
        """Where the ledger was copied to, if it was: nothing more may be done with it."""
        with reading(self._engine) as connection:
            place: str | None = connection.execute(QUERIES["identity"]).one().sealed_for
        return place

    def seal(self, place: str | None) -> None:
        """Let nothing more be done with the ledger; ``None`` lets it be done again.

        :raises JobIsRunningError: a job runs.
        """

        def work(connection: sa.Connection) -> None:
            living = connection.execute(QUERIES["any_living_job"], {"now": self._now(connection)}).scalar()
            if living is not None and place is not None:
                raise JobIsRunningError(
                    f"job {living} is running; copy the ledger when it has ended. Nothing was copied"
                )
            connection.execute(QUERIES["seal"], {"place": place})

        durably(self._engine, work)

    @contextmanager
    def contents(self) -> Iterator[sa.Connection]:
        """A connection to read all tables as they are at one moment."""
        with snapshot(self._engine) as connection:
            yield connection

    def unguarded_replicas(self) -> int:
        """How many replicas of a PostgreSQL server may lack the last commits; 0 on SQLite."""
        if self._engine.dialect.name == "sqlite":
            return 0
        with reading(self._engine) as connection:
            return int(connection.execute(QUERIES["unguarded_replicas"]).scalar_one())

    def state(self, job_ids: Iterable[str] = ()) -> LedgerState:
        """The ledger's identity, and how often these jobs have committed to it."""
        with snapshot(self._engine) as connection:
            ledger = connection.execute(QUERIES["identity"]).one()
            wanted = list(job_ids)
            found = connection.execute(QUERIES["commits"], {"job_ids": wanted}).all() if wanted else []
        return LedgerState(ledger.ledger_id, bool(ledger.is_empty), {row.job_id: row.commits for row in found})

    def newest_jobs(self, organisation: str, limit: int) -> list[str]:
        """Ids of the newest jobs of an organisation, newest first."""
        with reading(self._engine) as connection:
            values = {"folded": organisation_key(organisation), "limit": limit}
            return list(connection.execute(QUERIES["newest_jobs"], values).scalars())

    def now(self) -> float:
        """The ledger's clock, epoch seconds: one clock for all who share the ledger."""
        with reading(self._engine) as connection:
            return self._now(connection)

    def close(self) -> None:
        """Give connections back."""
        self._engine.dispose()

    # -- an import ---------------------------------------------------------------------------------------------------

    def open_job(self, scope: JobScope, plan: JobPlan, outwaited: Lease | None = None) -> Job:
        """Begin a job, or resume it, and take its lease.

        Intents of a dead try become unknown. Raises ``JobIsRunningError`` (``retry_after`` seconds) while
        another copy holds the lease, ``JobMismatchError`` where a try differs from the job it resumes.

        :param outwaited: a lease of the job that was not renewed for as long as it held.
        """

        def work(connection: sa.Connection) -> Job:
            job = self._jobs.open(connection, scope, plan, self._now(connection), outwaited)
            if job.resumed:
                connection.execute(QUERIES["intents_are_unknown"], {"job": job.key})
                self._forget_issues(connection, job)
            return job

        return durably(self._engine, work)

    def renew_lease(self, job: Job) -> None:
        """Say that this process is alive; raise ``LeaseLostError`` where another copy took over."""
        _, holds_lease = durably(self._engine, lambda connection: self._renew(connection, job))
        if not holds_lease:
            raise lease_lost(job)

    def find(
        self, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool = False
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held of these rows' identities (all occurrences), by ``(customer_id, badge_meta_id)``.

        ``any_date``: of whatever earn instant.
        """
        with reading(self._engine) as connection:
            rows = EarnedBadges.of(badges)
            ids = self._known_badges(connection, job, set(rows.badge_meta_ids))
            dates = repeat(0) if any_date else rows.earned_at
            every = zip(rows.customer_ids, map(ids.get, rows.badge_meta_ids), dates, strict=False)
            keys = {(customer, badge, date) for customer, badge, date in every if badge is not None}
            names = {key: name for name, key in ids.items()}
            return self._held(connection, job, self._rows.find(connection, sorted(keys), any_date=any_date), names)

    def find_controls(self, job: Job, near: EarnedBadge, *, before: float) -> Controls:
        """Badges of the organisation that are known to be there since ``before``, such as ``near`` may be."""
        with reading(self._engine) as connection:
            return find_controls(connection, self._rows, job, near, before=before, now=self._now(connection))

    def ages(self, batches: Collection[int]) -> dict[int, Age]:
        """How long ago batches without proof were given up, or noted as intents where their process died."""
        with reading(self._engine) as connection:
            return self._ages.of(connection, batches, self._moment(connection))

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        """Commit the notes durably, all or none; give the batch key of each intent, in order.

        Outcomes are stored even if another process now owns the job: what the server replied is a fact. In that case
        issues are dropped and rejected rows become ``planned``. Intents are written last.

        :raises LeaseLostError: another copy took the job over.
        :raises IntentConflictError: another job took some of the rows in the meantime.
        """
        badge_keys: dict[str, int] = {}
        elsewhere: set[int] = set()

        def work(connection: sa.Connection) -> list[int]:
            nonlocal badge_keys, elsewhere
            # what is added counts only once it is committed
            badge_keys = dict(self._badge_keys.get(job.organisation_key, {}))
            now, holds_lease = self._renew(connection, job)
            keeps_issues = holds_lease
            if not holds_lease:
                if not all(isinstance(note, Outcome) for note in notes):
                    raise lease_lost(job)
                keeps_issues = self._jobs.count_commit(connection, job)
            recording = Recording(connection, self._rows, job, badge_keys, now=now, keeps_issues=keeps_issues)
            keys = recording.write(notes)
            elsewhere = recording.accepted_elsewhere
            return keys

        batches = durably(self._engine, work)
        self._badge_keys[job.organisation_key] = badge_keys
        self.accepted_elsewhere |= elsewhere
        return batches

    def seed(self, job: Job, given: Seed) -> Counter[SeedPlan]:
        """Commit rows durably as granted outside this ledger; give how many ended in which way.

        Repeating it changes nothing. Rows that other jobs left without proof are accepted in those jobs' accounts.

        :raises LeaseLostError: another copy took the job over.
        :raises IntentConflictError: an import took some of the rows in the meantime; nothing was noted.
        """
        badge_keys: dict[str, int] = {}

        def work(connection: sa.Connection) -> Counter[SeedPlan]:
            nonlocal badge_keys
            badge_keys = dict(self._badge_keys.get(job.organisation_key, {}))
            moment, holds_lease = self._renew(connection, job)
            now = moment.at
            if not holds_lease:
                raise lease_lost(job)
            Recording(connection, self._rows, job, badge_keys, now=moment, keeps_issues=True).learn(
                set(given.badges.badge_meta_ids)
            )
            living = functools.cache(lambda owner: self._is_living(connection, owner))
            return Seeding(connection, self._rows, job, badge_keys, living, now).seed(given)

        counts = durably(self._engine, work)
        self._badge_keys[job.organisation_key] = badge_keys
        return counts

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """Take one request out of the organisation's budget; give the seconds until its turn.

        The turns of all who share the ledger are ``60 / per_minute`` seconds apart.
        """

        def work(connection: sa.Connection) -> float:
            now = self._now(connection)
            values = {"organisation": organisation, "now": now, "apart": 60.0 / per_minute}
            return float(connection.execute(QUERIES["reserve_request"], values).scalar_one()) - now

        return max(0.0, durably(self._engine, work))

    def counts(self, job: Job) -> dict[RowState, int]:
        """How many sent rows of the job stand in which state."""
        with reading(self._engine) as connection:
            counted = connection.execute(QUERIES["count_states"], {"job": job.key}).all()
        return {RowState(state): int(rows) for state, rows in counted if rows}

    def finish_job(self, job: Job, state: str, summary: Mapping[str, Any] | None) -> None:
        """Keep the summary and give the lease back; raise ``LeaseLostError`` where another copy took over."""
        durably(
            self._engine, lambda connection: self._jobs.finish(connection, job, state, summary, self._now(connection))
        )

    # -- names of badges ---------------------------------------------------------------------------------------------

    def name_badges(self, names: Mapping[str, str]) -> None:
        """Note what badges are called, by their ids. Where all of it is known nothing is written."""
        with reading(self._engine) as connection:
            news = badge_names.news_of(connection, names)
        if news:
            durably(self._engine, lambda connection: badge_names.note(connection, news))

    def badge_names(self, badge_ids: Iterable[str]) -> dict[str, str]:
        """The names of those badges whose name is known."""
        with reading(self._engine) as connection:
            return badge_names.names_of(connection, badge_ids)

    # -- organisations -----------------------------------------------------------------------------------------------

    def refuse_unknown_organisation(self, name: str) -> None:
        """Raise ``UnknownOrganisationError`` where the name is not known and badges were granted under another one."""
        with snapshot(self._engine) as connection:
            organisations.refuse_unknown(connection, name)

    def organisations(self) -> list[OrganisationRecord]:
        """Every name that the ledger knows."""
        with snapshot(self._engine) as connection:
            return organisations.listed(connection)

    def add_organisation(self, name: str) -> bool:
        """Take a person's word that a name is an organisation of its own; give whether that is news."""
        return durably(self._engine, lambda c: organisations.add(c, name))

    def rename_organisation(self, old: str, new: str) -> None:
        """Let another name stand for an organisation; see ``organisations.rename``."""
        durably(self._engine, lambda c: organisations.rename(c, old, new, self._now(c)))

    # -- what is shown of a job --------------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobRecord:
        """One job; raise ``UnknownJobError`` where there is none."""
        with reading(self._engine) as connection:
            row = connection.execute(QUERIES["one_job"], {"job_id": job_id}).one_or_none()
            now = self._now(connection)
        if row is None:
            raise UnknownJobError(
                f"the ledger {self.description} holds no job {job_id!r}. Give the job that the import returned, and "
                "the same ledger_conn_id as to the import; `airflow capillary jobs` lists the jobs of a ledger"
            )
        return listing.job_record(row, now)

    def jobs(self, limit: int = 50, *, dag_id: str | None = None) -> list[JobRecord]:
        """The latest jobs, latest first; of one DAG or of all."""
        with reading(self._engine) as connection:
            found = connection.execute(QUERIES["latest_jobs"], {"limit": limit, "dag_id": dag_id})
            now = self._now(connection)
            return [listing.job_record(row, now) for row in found]

    def jobs_of_run(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[JobRecord]:
        """The latest job of each task and map index of a Dag run, also of those that left no XCom; by task and index.

        A clear begins a new job, and the one before it is not given.
        """
        values = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with reading(self._engine) as connection:
            now = self._now(connection)
            latest: dict[tuple[str, int], JobRecord] = {}
            for row in connection.execute(QUERIES["jobs_of_run"], values):
                latest.setdefault((row.task_id, row.map_index), listing.job_record(row, now))
        return [latest[key] for key in sorted(latest)]

    def rows_of_customer(self, customer_id: int) -> list[dict[str, Any]]:
        """All that the ledger holds of one customer, of every organisation, in the order of the earn instants.

        Each row has its organisation, badge, instant (epoch seconds), occurrence (below 0: set aside after it was
        revoked), state, job, DAG, run, request id, and the doubt where it may be granted twice.
        """
        with reading(self._engine) as connection:
            found = connection.execute(QUERIES["all_rows_of_customer"], {"customer": customer_id})
            return [dict(row._mapping) for row in found]

    def standing(self, job_id: str) -> dict[str, int]:
        """Where the rows of a job stand now, for one that runs or died: ``rows_read`` and the states of a summary.

        ``batches`` besides. Rows in flight, or left so by a process that died, are ``unknown``; what the ledger holds
        nothing of is ``not_sent`` (rows that an earlier job had accepted are among them).
        """
        with snapshot(self._engine) as connection:
            return listing.standing(connection, job_id)

    def job_settings(self, job_id: str) -> dict[str, str]:
        """The settings that a job began with."""
        with reading(self._engine) as connection:
            settings: dict[str, str] = msgspec.json.decode(
                connection.execute(QUERIES["job_settings"], {"job_id": job_id}).scalar_one()
            )
        return settings

    def issues(self, job_id: str) -> Iterator[RowIssue]:
        """Stream why rows of a job were not accepted, in dataset order."""
        with (
            reading(self._engine) as connection,
            connection.execution_options(yield_per=1000).execute(QUERIES["issues"], {"job_id": job_id}) as rows,
        ):
            for row in rows:
                values = dict(row._mapping)
                values["state"] = RowState(values["state"])
                values["original"] = msgspec.json.decode(values["original"])
                yield RowIssue(**values)

    def rows(self, job_id: str, states: Sequence[RowState] = tuple(RowState)) -> Iterator[list[LedgerRow]]:
        """Pages of a job's rows in these states: those that differ from their batch first, then batch after batch."""
        return self._pages(job_id, states, lambda _connection, _key, rows: list(rows))

    # -- rows without proof, settled outside an import ---------------------------------------------------------------

    def take_stock(self, job_id: str, outwaited: Lease | None = None) -> Job:
        """Close a job whose process is dead, so that its rows without proof can be settled; its intents are unknown.

        :param outwaited: a lease of the job that was not renewed for as long as it held.
        :raises LookupError: there is no such job.
        :raises JobIsRunningError: the job lives, and settles its rows itself.
        """
        return durably(self._engine, lambda c: settling.take_stock(c, job_id, self._now(c), outwaited))

    def unproven(self, job_id: str) -> Iterator[list[UnprovenRow]]:
        """Pages of the rows of a job that nothing proves either way. Rows may be settled between two pages."""
        return self._pages(job_id, tuple(UNPROVEN), settling.unproven)

    def settle(self, job: Job, rows: Sequence[Settled], *, proof: Proof, by: str) -> list[Settled]:
        """Settle rows, with their issues in the job's report and their place in its summary, all or none.

        Gives those that were still as they were seen; others were taken over or settled in the meantime.

        :raises JobIsRunningError: the import goes on again.
        """

        def work(connection: sa.Connection) -> list[Settled]:
            return settling.settle(connection, self._rows, job, rows, proof=proof, by=by, now=self._now(connection))

        return durably(self._engine, work)

    def hearsay(self, job: Job, *, limit: int = 500) -> Iterator[list[Hearsay]]:
        """Rows that the job's report calls unknown, but that repeat another row, or that another job has taken over."""
        with snapshot(self._engine) as connection:
            values = {"job": job.key, "state": RowState.UNKNOWN.value}
            wanted = set(connection.execute(QUERIES["issues_about_batches"], values).scalars())
            own = listing.plain_numbers(connection, self._rows, job.key, tuple(UNPROVEN), wanted)
        strangers = sorted(wanted.difference(*own.values()))
        for numbers in (strangers[start : start + limit] for start in range(0, len(strangers), limit)):
            with reading(self._engine) as connection:
                values = {"job": job.key, "first": numbers[0], "last": numbers[-1]}
                found = connection.execute(QUERIES["unknown_issues"], values).all()
            named = set(numbers)
            rows = [Hearsay(r.row_number, msgspec.json.decode(r.original)) for r in found if r.row_number in named]
            if rows:
                yield rows

    def retell(self, job: Job, ends: Sequence[RowEnd]) -> int:
        """Report anew how such rows ended. Gives how many were changed."""

        def work(connection: sa.Connection) -> int:
            lock_resting(connection, job.job_id, self._now(connection))
            return settling.tell(connection, job, ends)

        return durably(self._engine, work)

    def retell_late(self, job: Job) -> None:
        """Report rows as accepted that the job's own report calls unknown, and that a late reply accepted since."""
        with reading(self._engine) as connection:
            values = {"job": job.key, "first": 1, "last": 2**63 - 1}
            told = {one.row_number for one in connection.execute(QUERIES["unknown_issues"], values)}
        pages = self.rows(job.job_id, (RowState.ACCEPTED,)) if told else iter(())
        late = [row for page in pages for row in page if row.badge.row_number in told]

        def work(connection: sa.Connection) -> None:
            ends = [
                RowEnd(row.badge.row_number, RowState.ACCEPTED, LATE_REPLY, settling.doubt_of(connection, row.key))
                for row in late
            ]
            settling.tell(connection, job, ends)

        if late:
            durably(self._engine, work)

    # -- revoking ----------------------------------------------------------------------------------------------------

    def grants(self, job_id: str) -> Grants:
        """Count what a job granted."""
        with snapshot(self._engine) as connection:
            key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
            return listing.count_granted(connection, self._rows, key or 0)

    def granted(self, job_id: str) -> Iterator[list[GrantedRow]]:
        """Pages of the rows of a job that can be revoked. Rows may be revoked between two pages."""
        return self._pages(job_id, (RowState.ACCEPTED, RowState.UNKNOWN), revoking.granted)

    def second_grants(self, job_id: str) -> list[GrantedRow]:
        """Ids that the API gave for rows of a job besides their own, as far as no revocation has settled them.

        Also ids of its batches that name a customer and a badge, but no row for certain: their row number is 0.
        """
        with snapshot(self._engine) as connection:
            return given_ids.second_grants(connection, job_id)

    def earned_badge_ids(self) -> Iterator[str]:
        """Every ``earnedBadgeId`` that the API gave, of all jobs: of rows, and of replies that accept no row."""
        with snapshot(self._engine) as connection:
            yield from given_ids.all_ids(connection)

    def note_revocation(self, job: Job, row: GrantedRow, *, by: str) -> None:
        """Note durably that the API is about to be asked; raise ``JobIsRunningError`` where the import goes on."""
        durably(self._engine, lambda c: revoking.note(c, job, row, by=by, now=self._now(c)))

    def answer_revocation(self, job: Job, row: GrantedRow, answer: Answer) -> bool:
        """Note the answer; give whether the row was revoked by it (and was not before)."""
        return durably(self._engine, lambda c: revoking.answer(c, self._rows, job, row, answer, self._now(c)))

    def free_revoked(self, job: Job, *, by: str, limit: int = 500) -> int:
        """Let revoked rows of the job be imported again, at most ``limit`` at once; give how many were set free.

        They are set aside under an occurrence below 0, so that their identities are free and their history stays.
        """
        return durably(self._engine, lambda c: revoking.free(c, job, by=by, limit=limit, now=self._now(c)))

    # -- probes ------------------------------------------------------------------------------------------------------

    def begin_probe(self, organisation: str, customer_id: int, badge_meta_id: str, before: Before, *, by: str) -> int:
        """Note that a probe begins, and what a read showed before it; give its number."""
        return durably(
            self._engine,
            lambda c: probing.begin(
                c, organisation, customer_id, badge_meta_id, before, by, self._jobs.owner, self._now(c)
            ),
        )

    def note_probe_grant(self, probe: int, earned_at: int, way: Way, request_id: str) -> int:
        """Note durably that a badge is about to be granted; give the note's number."""
        fields = msgspec.structs.asdict(way)
        return durably(self._engine, lambda c: probing.note(c, probe, earned_at, fields, request_id, self._now(c)))

    def answer_probe_grant(self, grant: int, state: str, earned_badge_id: str | None = None) -> None:
        """Note what became of it: ``granted``, ``revoked`` or ``absent``."""
        durably(self._engine, lambda c: probing.answer(c, grant, state, earned_badge_id, self._now(c)))

    def open_probe_grants(self, organisation: str) -> list[ProbeGrant]:
        """What probes of the organisation granted, or may have granted, and did not revoke; oldest first."""
        with reading(self._engine) as connection:
            return probing.open_grants(connection, organisation)

    def probe_ids(self, organisation: str, *, like: ProbeGrant | None = None) -> set[str]:
        """Ids of all that probes of the organisation granted; ``like``: of this badge to this customer, since then."""
        with reading(self._engine) as connection:
            return probing.known_ids(connection, organisation, like)

    @property
    def owner(self) -> str:
        """The name under which this process takes leases and notes what its probes grant."""
        return self._jobs.owner

    def finish_probe(self, probe: int, answers: dict[str, Any]) -> None:
        """Keep what a probe found out."""
        durably(self._engine, lambda c: probing.finish(c, probe, answers, self._now(c)))

    def latest_probe(self, organisation: str) -> ProbeRecord | None:
        """The answers of the organisation's latest probe that ended."""
        with reading(self._engine) as connection:
            return probing.latest(connection, organisation)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _refuse_absence(self) -> None:
        exists = self._file is None or self._file.exists()
        if exists:
            with reading(self._engine) as connection:
                exists = current_revision(connection) is not None
        if not exists:
            raise ConfigurationError(
                f"there is no ledger at {self.description}, and none was made. See ledger_conn_id and AIRFLOW_HOME: "
                "they must be those of the imports"
            )

    def _pages(
        self,
        job_id: str,
        states: Sequence[RowState],
        shaped: Callable[[sa.Connection, int, Sequence[LedgerRow]], list[_Page]],
    ) -> Iterator[list[_Page]]:
        """Pages of a job's rows, each read at once; no connection is held between two of them."""
        mark = listing.Mark()
        while True:
            with snapshot(self._engine) as connection:
                key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
                if key is None:
                    return
                rows, mark = listing.next_rows(connection, self._rows, key, states, mark)
                page = shaped(connection, key, rows)
            if not rows:
                return
            if page:
                yield page

    def _forget_issues(self, connection: sa.Connection, job: Job) -> None:
        """Each try writes its issues again. Those stay whose row is still in the reported state."""
        connection.execute(QUERIES["forget_unconfirmed_issues"], {"job": job.key})
        for state in (RowState.ACCEPTED, RowState.UNKNOWN):
            values = {"job": job.key, "state": state.value}
            wanted = set(connection.execute(QUERIES["issues_about_batches"], values).scalars())
            still = listing.plain_numbers(connection, self._rows, job.key, (state,), wanted)[state]
            if wanted - still:
                numbers = [{"job": job.key, "row_number": number} for number in sorted(wanted - still)]
                connection.execute(QUERIES["forget_issue"], numbers)

    def _now(self, connection: sa.Connection) -> float:
        if connection.dialect.name == "sqlite":
            return self._clock()
        return float(connection.execute(QUERIES["now"]).scalar_one())

    def _renew(self, connection: sa.Connection, job: Job) -> tuple[Moment, bool]:
        """Renew the lease; give the moment, and ``False`` where the lease is lost."""
        if connection.dialect.name == "sqlite":
            now = self._moment(connection)
            return now, self._jobs.renew(connection, job, now.at)
        renewed = self._jobs.renew_by_server(connection, job)
        if renewed is None:
            return self._moment(connection), False
        return self._beside(renewed.at, renewed.server), True

    def _moment(self, connection: sa.Connection) -> Moment:
        at, server = self._clock(), None
        if connection.dialect.name != "sqlite":
            at, server = connection.execute(QUERIES["now_by_server"]).one()
        return self._beside(at, server)

    def _beside(self, at: float, server: float | None) -> Moment:
        """The moment by the ledger's clock, and by this machine's clocks beside it."""
        time_of_day = None if server is None else self._clock()
        if (boot := self._boot()) is None:
            return Moment(at, server, time_of_day=time_of_day)
        return Moment(at, server, boot.boot_id, boot.seconds, time_of_day)

    def _known_badges(self, connection: sa.Connection, job: Job, names: set[str]) -> dict[str, int]:
        """The numbers of those badges that the organisation ever had a row of."""
        known = self._badge_keys.setdefault(job.organisation_key, {})
        for name in names - known.keys():
            values = {"organisation": job.organisation_key, "name": name}
            key = connection.execute(QUERIES["find_badge"], values).scalar()
            if key is not None:
                known[name] = key
        return {name: known[name] for name in names if name in known}

    def _held(
        self, connection: sa.Connection, job: Job, rows: Iterable[tuple[Any, ...]], names: Mapping[int, str]
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held, by customer and badge. One loop and no names for a row's fields: there are many rows."""
        held: dict[tuple[int, str], list[Held]] = {}
        living: dict[int, bool] = {job.key: False}
        for customer, badge, earned, occurrence, batch, said, owner, number, doubt, _, attempt in rows:
            state = _STATES[said]
            alive = False
            if state in _NOT_SETTLED:
                if owner not in living:
                    living[owner] = self._is_living(connection, owner)
                alive = living[owner]
            if number is None and owner == job.key:
                number = self._own_row_numbers(connection, batch)[(customer, badge, earned, occurrence)]
            one = Held(owner, number, state, earned, occurrence, attempt, batch, alive, doubt)
            name = (customer, names[badge])
            if name in held:
                held[name].append(one)
            else:
                held[name] = [one]
        return held

    def _is_living(self, connection: sa.Connection, job: int) -> bool:
        values = {"job": job, "now": self._now(connection)}
        return connection.execute(QUERIES["living_job"], values).first() is not None

    def _own_row_numbers(self, connection: sa.Connection, batch: int) -> dict[Key, int]:
        """The row numbers of a batch by key, for a retry that looks its own rows up."""
        numbers = self._row_numbers.get(batch)
        if numbers is None:
            found = connection.execute(QUERIES["batch_rows"], {"batch": batch}).one()
            columns = unpack_rows(found.rows, found.row_count)
            numbers = dict(zip(columns.keys(), columns.numbers, strict=True))
            while len(self._row_numbers) >= _BATCHES_IN_MEMORY:
                del self._row_numbers[next(iter(self._row_numbers))]
            self._row_numbers[batch] = numbers
        return numbers
