"""The durable account of what was sent and what became of it, in SQLite on one machine or PostgreSQL for many workers.

A ledger writes ahead: the intent to send a batch is committed before its first byte leaves, the outcome before the
batch counts as done. Notes that are recorded together are committed together or not at all.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_capillary import clocks
from airflow_provider_capillary.clocks import Boot
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.organisation_key import organisation_key
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.seeding import SeedPlan
from airflow_provider_capillary.core.witness import LedgerState
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError, UnknownJobError
from airflow_provider_capillary.ledger import (
    badge_names,
    given_ids,
    listing,
    organisations,
)
from airflow_provider_capillary.ledger.ages import Ages
from airflow_provider_capillary.ledger.controls import find_controls
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.engine import PATIENCE_SECONDS, make_engine
from airflow_provider_capillary.ledger.facts import (
    Age,
    Controls,
    Grants,
    Job,
    JobPlan,
    JobRecord,
    JobScope,
    LedgerRow,
    Note,
    OrganisationRecord,
    Outcome,
    RowIssue,
)
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS, Jobs, Lease, lease_lost, this_process
from airflow_provider_capillary.ledger.lookup import Lookup
from airflow_provider_capillary.ledger.migrations.upgrade import current_revision, upgrade
from airflow_provider_capillary.ledger.probing import Probes
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.recording import Recording
from airflow_provider_capillary.ledger.revoking import Revocations
from airflow_provider_capillary.ledger.seeding import Seed, Seeding
from airflow_provider_capillary.ledger.settling import Settlements


class Ledger:
    """Used by one thread at a time. Tables are created or upgraded on first use.

    Any method raises ``LedgerUnavailableError`` where the database cannot be used; then nothing was committed. (One
    exception: a connection that broke in the very commit leaves open whether all was committed or nothing.)

    ``settlements``, ``revocations`` and ``probes`` are the parts of it that an import does not need.

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
        self.database = Database(make_engine(url, patience=patience), clock=clock, boot=boot, without_wal=without_wal)
        self.description = self.database.description  #: where it is, without credentials
        self.owner = owner or this_process()  #: the name under which this process takes leases
        self.settlements = Settlements(self.database)
        self.revocations = Revocations(self.database)
        self.probes = Probes(self.database, self.owner)
        self._lookup = Lookup(self.database)
        self._ages = Ages(steady)
        self._jobs = Jobs(self.owner, lease_seconds)
        #: Rows of the job at work that its replies accept, and that another job took over when the lease had run out.
        self.accepted_elsewhere: set[int] = set()
        try:
            if must_exist:
                self._refuse_absence()
            self._refuse_encoding()
            self.was_upgraded = self.database.durably(upgrade)  #: whether tables were made or changed just now
        except BaseException:
            self.close()  # the caller gets no ledger that it could close
            raise

    @functools.cached_property
    def ledger_id(self) -> str:
        """The ledger's own random name, made with it; a copy of it keeps the name."""
        with self.database.reading() as connection:
            return str(connection.execute(QUERIES["identity"]).one().ledger_id)

    @property
    def sealed_for(self) -> str | None:
        """Where the ledger was copied to, if it was: nothing more may be done with it."""
        with self.database.reading() as connection:
            place: str | None = connection.execute(QUERIES["identity"]).one().sealed_for
        return place

    def seal(self, place: str | None) -> None:
        """Let nothing more be done with the ledger; ``None`` lets it be done again.

        :raises JobIsRunningError: a job runs.
        """

        def work(connection: sa.Connection) -> None:
            living = connection.execute(QUERIES["any_living_job"], {"now": self.database.now(connection)}).scalar()
            if living is not None and place is not None:
                raise JobIsRunningError(
                    f"job {living} is running; copy the ledger when it has ended. Nothing was copied"
                )
            connection.execute(QUERIES["seal"], {"place": place})

        self.database.durably(work)

    @contextmanager
    def contents(self) -> Iterator[sa.Connection]:
        """A connection to read all tables as they are at one moment."""
        with self.database.snapshot() as connection:
            yield connection

    def unguarded_replicas(self) -> int:
        """How many replicas of a PostgreSQL server may lack the last commits; 0 on SQLite."""
        if self.database.is_sqlite:
            return 0
        with self.database.reading() as connection:
            return int(connection.execute(QUERIES["unguarded_replicas"]).scalar_one())

    def state(self, job_ids: Iterable[str] = ()) -> LedgerState:
        """The ledger's identity, and how often these jobs have committed to it."""
        with self.database.snapshot() as connection:
            ledger = connection.execute(QUERIES["identity"]).one()
            wanted = list(job_ids)
            found = connection.execute(QUERIES["commits"], {"job_ids": wanted}).all() if wanted else []
        return LedgerState(ledger.ledger_id, bool(ledger.is_empty), {row.job_id: row.commits for row in found})

    def newest_jobs(self, organisation: str, limit: int) -> list[str]:
        """Ids of the newest jobs of an organisation, newest first."""
        with self.database.reading() as connection:
            values = {"folded": organisation_key(organisation), "limit": limit}
            return list(connection.execute(QUERIES["newest_jobs"], values).scalars())

    def now(self) -> float:
        """The ledger's clock, epoch seconds: one clock for all who share the ledger."""
        with self.database.reading() as connection:
            return self.database.now(connection)

    def close(self) -> None:
        """Give connections back."""
        self.database.close()

    # -- an import ---------------------------------------------------------------------------------------------------

    def open_job(self, scope: JobScope, plan: JobPlan, outwaited: Lease | None = None) -> Job:
        """Begin a job, or resume it, and take its lease.

        Intents of a dead try become unknown. Raises ``JobIsRunningError`` (``retry_after`` seconds) while
        another copy holds the lease, ``JobMismatchError`` where a try differs from the job it resumes.

        :param outwaited: a lease of the job that was not renewed for as long as it held.
        """

        def work(connection: sa.Connection) -> Job:
            job = self._jobs.open(connection, scope, plan, self.database.now(connection), outwaited)
            if job.resumed:
                connection.execute(QUERIES["intents_are_unknown"], {"job": job.key})
                self._forget_issues(connection, job)
            return job

        return self.database.durably(work)

    def renew_lease(self, job: Job) -> None:
        """Say that this process is alive; raise ``LeaseLostError`` where another copy took over."""
        _, holds_lease = self.database.durably(lambda connection: self._renew(connection, job))
        if not holds_lease:
            raise lease_lost(job)

    def find(
        self, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool = False
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held of these rows' identities (all occurrences), by ``(customer_id, badge_meta_id)``.

        ``any_date``: of whatever earn instant.
        """
        with self.database.reading() as connection:
            return self._lookup.find(connection, job, badges, any_date=any_date)

    def find_controls(self, job: Job, near: EarnedBadge, *, before: float) -> Controls:
        """Badges of the organisation that are known to be there since ``before``, such as ``near`` may be."""
        with self.database.reading() as connection:
            return find_controls(
                connection, self.database.rows, job, near, before=before, now=self.database.now(connection)
            )

    def ages(self, batches: Collection[int]) -> dict[int, Age]:
        """How long ago batches without proof were given up, or noted as intents where their process died."""
        with self.database.reading() as connection:
            return self._ages.of(connection, batches, self.database.moment(connection))

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
            badge_keys = dict(self._lookup.badge_keys.get(job.organisation_key, {}))
            now, holds_lease = self._renew(connection, job)
            keeps_issues = holds_lease
            if not holds_lease:
                if not all(isinstance(note, Outcome) for note in notes):
                    raise lease_lost(job)
                keeps_issues = self._jobs.count_commit(connection, job)
            recording = Recording(connection, self.database.rows, job, badge_keys, now=now, keeps_issues=keeps_issues)
            keys = recording.write(notes)
            elsewhere = recording.accepted_elsewhere
            return keys

        batches = self.database.durably(work)
        self._lookup.badge_keys[job.organisation_key] = badge_keys
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
            badge_keys = dict(self._lookup.badge_keys.get(job.organisation_key, {}))
            moment, holds_lease = self._renew(connection, job)
            now = moment.at
            if not holds_lease:
                raise lease_lost(job)
            Recording(connection, self.database.rows, job, badge_keys, now=moment, keeps_issues=True).learn(
                set(given.badges.badge_meta_ids)
            )
            living = functools.cache(lambda owner: self._lookup.is_living(connection, owner))
            return Seeding(connection, self.database.rows, job, badge_keys, living, now).seed(given)

        counts = self.database.durably(work)
        self._lookup.badge_keys[job.organisation_key] = badge_keys
        return counts

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """Take one request out of the organisation's budget; give the seconds until its turn.

        The turns of all who share the ledger are ``60 / per_minute`` seconds apart.
        """

        def work(connection: sa.Connection) -> float:
            now = self.database.now(connection)
            values = {"organisation": organisation, "now": now, "apart": 60.0 / per_minute}
            return float(connection.execute(QUERIES["reserve_request"], values).scalar_one()) - now

        return max(0.0, self.database.durably(work))

    def counts(self, job: Job) -> dict[RowState, int]:
        """How many sent rows of the job stand in which state."""
        with self.database.reading() as connection:
            counted = connection.execute(QUERIES["count_states"], {"job": job.key}).all()
        return {RowState(state): int(rows) for state, rows in counted if rows}

    def finish_job(self, job: Job, state: str, summary: Mapping[str, Any] | None) -> None:
        """Keep the summary and give the lease back; raise ``LeaseLostError`` where another copy took over."""
        self.database.durably(
            lambda connection: self._jobs.finish(connection, job, state, summary, self.database.now(connection))
        )

    # -- names of badges ---------------------------------------------------------------------------------------------

    def name_badges(self, names: Mapping[str, str]) -> None:
        """Note what badges are called, by their ids. Where all of it is known nothing is written."""
        with self.database.reading() as connection:
            news = badge_names.news_of(connection, names)
        if news:
            self.database.durably(lambda connection: badge_names.note(connection, news))

    def badge_names(self, badge_ids: Iterable[str]) -> dict[str, str]:
        """The names of those badges whose name is known."""
        with self.database.reading() as connection:
            return badge_names.names_of(connection, badge_ids)

    # -- organisations -----------------------------------------------------------------------------------------------

    def refuse_unknown_organisation(self, name: str) -> None:
        """Raise ``UnknownOrganisationError`` where the name is not known and badges were granted under another one."""
        with self.database.snapshot() as connection:
            organisations.refuse_unknown(connection, name)

    def organisations(self) -> list[OrganisationRecord]:
        """Every name that the ledger knows."""
        with self.database.snapshot() as connection:
            return organisations.listed(connection)

    def add_organisation(self, name: str) -> bool:
        """Take a person's word that a name is an organisation of its own; give whether that is news."""
        return self.database.durably(lambda c: organisations.add(c, name))

    def rename_organisation(self, old: str, new: str) -> None:
        """Let another name stand for an organisation; see ``organisations.rename``."""
        self.database.durably(lambda c: organisations.rename(c, old, new, self.database.now(c)))

    # -- what is shown of a job --------------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobRecord:
        """One job; raise ``UnknownJobError`` where there is none."""
        with self.database.reading() as connection:
            row = connection.execute(QUERIES["one_job"], {"job_id": job_id}).one_or_none()
            now = self.database.now(connection)
        if row is None:
            raise UnknownJobError(
                f"the ledger {self.description} holds no job {job_id!r}. Give the job that the import returned, and "
                "the same ledger_conn_id as to the import; `airflow capillary jobs` lists the jobs of a ledger"
            )
        return listing.job_record(row, now)

    def jobs(self, limit: int = 50, *, dag_id: str | None = None) -> list[JobRecord]:
        """The latest jobs, latest first; of one DAG or of all."""
        with self.database.reading() as connection:
            found = connection.execute(QUERIES["latest_jobs"], {"limit": limit, "dag_id": dag_id})
            now = self.database.now(connection)
            return [listing.job_record(row, now) for row in found]

    def jobs_of_run(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[JobRecord]:
        """The latest job of each task and map index of a Dag run, also of those that left no XCom; by task and index.

        A clear begins a new job, and the one before it is not given.
        """
        values = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with self.database.reading() as connection:
            now = self.database.now(connection)
            latest: dict[tuple[str, int], JobRecord] = {}
            for row in connection.execute(QUERIES["jobs_of_run"], values):
                latest.setdefault((row.task_id, row.map_index), listing.job_record(row, now))
        return [latest[key] for key in sorted(latest)]

    def rows_of_customer(self, customer_id: int) -> list[dict[str, Any]]:
        """All that the ledger holds of one customer, of every organisation, in the order of the earn instants.

        Each row has its organisation, badge, instant (epoch seconds), occurrence (below 0: set aside after it was
        revoked), state, job, DAG, run, request id, and the doubt where it may be granted twice.
        """
        with self.database.reading() as connection:
            found = connection.execute(QUERIES["all_rows_of_customer"], {"customer": customer_id})
            return [dict(row._mapping) for row in found]

    def standing(self, job_id: str) -> dict[str, int]:
        """Where the rows of a job stand now, for one that runs or died: ``rows_read`` and the states of a summary.

        ``batches`` besides. Rows in flight, or left so by a process that died, are ``unknown``; what the ledger holds
        nothing of is ``not_sent`` (rows that an earlier job had accepted are among them).
        """
        with self.database.snapshot() as connection:
            return listing.standing(connection, job_id)

    def job_settings(self, job_id: str) -> dict[str, str]:
        """The settings that a job began with."""
        with self.database.reading() as connection:
            settings: dict[str, str] = msgspec.json.decode(
                connection.execute(QUERIES["job_settings"], {"job_id": job_id}).scalar_one()
            )
        return settings

    def issues(self, job_id: str) -> Iterator[RowIssue]:
        """Stream why rows of a job were not accepted, in dataset order."""
        with (
            self.database.reading() as connection,
            connection.execution_options(yield_per=1000).execute(QUERIES["issues"], {"job_id": job_id}) as rows,
        ):
            for row in rows:
                values = dict(row._mapping)
                values["state"] = RowState(values["state"])
                values["original"] = msgspec.json.decode(values["original"])
                yield RowIssue(**values)

    def rows(self, job_id: str, states: Sequence[RowState] = tuple(RowState)) -> Iterator[list[LedgerRow]]:
        """Pages of a job's rows in these states: those that differ from their batch first, then batch after batch."""
        return listing.pages(self.database, job_id, states, lambda _connection, _key, rows: list(rows))

    def grants(self, job_id: str) -> Grants:
        """Count what a job granted."""
        with self.database.snapshot() as connection:
            key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
            return listing.count_granted(connection, self.database.rows, key or 0)

    def earned_badge_ids(self) -> Iterator[str]:
        """Every ``earnedBadgeId`` that the API gave, of all jobs: of rows, and of replies that accept no row."""
        with self.database.snapshot() as connection:
            yield from given_ids.all_ids(connection)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _refuse_encoding(self) -> None:
        """Refuse a PostgreSQL database that cannot keep every text: an outcome whose reason it lacks would be lost."""
        if self.database.is_sqlite:
            return
        with self.database.reading() as connection:
            encoding = connection.execute(QUERIES["server_encoding"]).scalar_one()
        if encoding not in ("UTF8", "SQL_ASCII"):
            raise ConfigurationError(
                f"the ledger's database {self.description} is encoded in {encoding}, which lacks characters that "
                "datasets and the API's texts may have. Nothing was sent. Give a database with the encoding UTF8"
            )

    def _refuse_absence(self) -> None:
        exists = self.database.file is None or self.database.file.exists()
        if exists:
            with self.database.reading() as connection:
                exists = current_revision(connection) is not None
        if not exists:
            raise ConfigurationError(
                f"there is no ledger at {self.description}, and none was made. See ledger_conn_id and AIRFLOW_HOME: "
                "they must be those of the imports"
            )

    def _forget_issues(self, connection: sa.Connection, job: Job) -> None:
        """Each try writes its issues again. Those stay whose row is still in the reported state."""
        connection.execute(QUERIES["forget_unconfirmed_issues"], {"job": job.key})
        for state in (RowState.ACCEPTED, RowState.UNKNOWN):
            values = {"job": job.key, "state": state.value}
            wanted = set(connection.execute(QUERIES["issues_about_batches"], values).scalars())
            still = listing.plain_numbers(connection, self.database.rows, job.key, (state,), wanted)[state]
            if wanted - still:
                numbers = [{"job": job.key, "row_number": number} for number in sorted(wanted - still)]
                connection.execute(QUERIES["forget_issue"], numbers)

    def _renew(self, connection: sa.Connection, job: Job) -> tuple[Moment, bool]:
        """Renew the lease; give the moment, and ``False`` where the lease is lost."""
        if self.database.is_sqlite:
            now = self.database.moment(connection)
            return now, self._jobs.renew(connection, job, now.at)
        renewed = self._jobs.renew_by_server(connection, job)
        if renewed is None:
            return self.database.moment(connection), False
        return self.database.moment_at(renewed.at, renewed.server), True
