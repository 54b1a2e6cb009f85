"""Keeps the durable account of what was sent and its outcome: in SQLite on one machine, in PostgreSQL for many workers.

A ledger writes ahead. The intent to send a batch is committed before its first byte leaves, the outcome before the
batch counts as done. Notes that are recorded together are committed together or not at all.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_capillary import clocks
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import UNPROVEN, RowState
from airflow_provider_capillary.core.seeding import SeedPlan
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger import listing
from airflow_provider_capillary.ledger.ages_and_controls import Ages, find_controls
from airflow_provider_capillary.ledger.changes import Transaction
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.engine import PATIENCE_SECONDS, make_engine
from airflow_provider_capillary.ledger.facts import Age, Controls, Job, JobPlan, JobScope, Note, Outcome
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS, Jobs, Lease, lease_lost, this_process
from airflow_provider_capillary.ledger.migrations.upgrade import current_revision, upgrade
from airflow_provider_capillary.ledger.overview import LedgerOverview
from airflow_provider_capillary.ledger.packing import Key, unpack_rows
from airflow_provider_capillary.ledger.probing import Probes
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.recording import Recording
from airflow_provider_capillary.ledger.revoking import Revocations
from airflow_provider_capillary.ledger.seeding import Seed, Seeding
from airflow_provider_capillary.ledger.settling import Settlements

_Result = TypeVar("_Result")
_BATCHES_IN_MEMORY = 64  # a window's rows come from few batches of the try before
_STATES = {state.value: state for state in RowState}
_NOT_SETTLED = UNPROVEN | {RowState.PLANNED}  # only for these rows it matters whether their job lives


class Ledger(LedgerOverview):
    """One ledger, used by one thread at a time. Tables are created or upgraded on first use.

    Every method raises ``LedgerUnavailableError`` if the database cannot be used; then nothing was committed. (One
    exception: if the connection breaks during the commit, either all was committed or nothing.)

    ``settlements``, ``revocations`` and ``probes`` are the parts that an import does not need.

    :param url: a SQLAlchemy URL of a SQLite file or a PostgreSQL database.
    :param clock: epoch seconds, ``time.time`` by default. On PostgreSQL the database's own clock counts, so that
        workers whose clocks differ agree on leases; this one is only kept beside it, for ages.
    :param boot_id: names this boot of this machine, for ages; gives ``None`` if the system does not name its boots.
    :param steady: seconds by a clock that is never set, and that all processes of this boot share.
    :param lease_seconds: how long a lease holds without renewal.
    :param owner: the name under which leases are taken; this process by default.
    :param patience: seconds to wait for what another process has locked.
    :param without_wal: a person said that nothing is missing although an SQLite file has lost its ``-wal``.
    :param must_exist: if there is no ledger, raise ``ConfigurationError`` instead of making one.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Callable[[], float] | None = None,
        boot_id: Callable[[], str | None] = clocks.boot_id,
        steady: Callable[[], float] = clocks.steady,
        lease_seconds: float = LEASE_SECONDS,
        owner: str | None = None,
        patience: float = PATIENCE_SECONDS,
        without_wal: bool = False,
        must_exist: bool = False,
    ) -> None:
        engine = make_engine(url, patience=patience)
        super().__init__(Database(engine, clock=clock, boot_id=boot_id(), steady=steady, without_wal=without_wal))
        self.owner = owner or this_process()  #: the name under which this process takes leases
        self.settlements = Settlements(self.database)
        self.revocations = Revocations(self.database)
        self.probes = Probes(self.database, self.owner)
        self._badge_keys: dict[int, dict[str, int]] = {}  #: name -> number, committed ones only, by organisation
        self._row_numbers: dict[int, dict[Key, int]] = {}  #: by batch, of the batches that were read last
        self._ages = Ages(steady)
        self._jobs = Jobs(self.owner, lease_seconds)
        self._lease_seconds = lease_seconds
        #: Numbers of rows that replies accepted, but that another job took over after this job's lease had run out.
        self.accepted_elsewhere: set[int] = set()
        try:
            if must_exist:
                self._refuse_absence()
            self._refuse_encoding()
            self.was_upgraded = self.database.durably(upgrade)  #: whether tables were made or changed just now
        except BaseException:
            self.close()  # the caller gets no ledger, so it cannot close it
            raise

    def open_job(self, scope: JobScope, plan: JobPlan, outwaited: Lease | None = None) -> Job:
        """Begin a job, or resume it, and take its lease. Intents of a dead try become unknown.

        :param outwaited: a lease of the job that was not renewed for as long as a lease holds; it counts as over.
        :raises JobIsRunningError: another copy holds the lease, for ``retry_after`` seconds.
        :raises JobMismatchError: the dataset or a fixed setting differs from those that the job began with.
        """

        def work(connection: sa.Connection) -> Job:
            job = self._jobs.open(connection, scope, plan, self.database.now(connection), outwaited)
            if job.resumed:
                connection.execute(QUERIES["intents_are_unknown"], {"job": job.key})
                self._forget_issues(connection, job)
            return job

        return self.database.durably(work)

    def renew_lease(self, job: Job) -> None:
        """Renew the lease of this process.

        :raises LeaseLostError: another copy took the job over.
        """
        _, holds_lease = self.database.durably(lambda connection: self._renew(connection, job))
        if not holds_lease:
            raise lease_lost(job)

    def find(
        self, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool = False
    ) -> dict[tuple[int, str], list[Held]]:
        """The ledger's rows of these identities, all occurrences, by ``(customer_id, badge_meta_id)``.

        :param any_date: whatever the earn instant.
        """
        rows = EarnedBadges.of(badges)
        dates = repeat(0) if any_date else rows.earned_at
        with self.database.reading() as connection:
            ids = self._known_badges(connection, job, set(rows.badge_meta_ids))
            every = zip(rows.customer_ids, map(ids.get, rows.badge_meta_ids), dates, strict=False)
            keys = {(customer, badge, date) for customer, badge, date in every if badge is not None}
            found = self.database.rows.find(connection, sorted(keys), any_date=any_date)
            return self._held(connection, job, found, {key: name for name, key in ids.items()})

    def find_controls(self, job: Job, near: EarnedBadge, *, before: float) -> Controls:
        """Controls for a row: badges of the organisation that are known to be there.

        :param near: the row; its own badge comes first.
        :param before: epoch seconds; they were accepted no later than this.
        """
        with self.database.reading() as connection:
            return find_controls(
                connection, self.database.rows, job, near, before=before, now=self.database.now(connection)
            )

    def ages(self, batches: Collection[int]) -> dict[int, Age]:
        """How long ago batches without proof were given up; if their process died, since their intents."""
        with self.database.reading() as connection:
            return self._ages.of(connection, batches, self.database.moment(connection))

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        """Commit the notes durably, all or none; give the batch key of each intent, in order.

        Outcomes are stored even if another process now owns the job: what the server replied is a fact. In that case
        issues are dropped and rejected rows become ``planned``. Intents are written last.

        :raises LeaseLostError: another copy took the job over.
        :raises IntentConflictError: another job took some of the rows in the meantime.
        """

        def work(connection: sa.Connection, badge_keys: dict[str, int]) -> tuple[list[int], set[int]]:
            now, holds_lease = self._renew(connection, job)
            keeps_issues = holds_lease
            if not holds_lease:
                if not all(isinstance(note, Outcome) for note in notes):
                    raise lease_lost(job)
                keeps_issues = self._jobs.count_commit(connection, job)
            transaction = Transaction(connection, self.database.rows, job, badge_keys, now, keeps_issues)
            recording = Recording(transaction)
            return recording.write(notes), recording.accepted_elsewhere

        batches, elsewhere = self._numbering_badges(job, work)
        self.accepted_elsewhere |= elsewhere
        return batches

    def seed(self, job: Job, given: Seed) -> Counter[SeedPlan]:
        """Commit rows durably as granted outside this ledger; give how many ended in which way.

        Repeating it changes nothing. Rows that other jobs left without proof are accepted in those jobs' summaries.

        :raises LeaseLostError: another copy took the job over.
        :raises IntentConflictError: an import took some of the rows in the meantime; nothing was recorded.
        """

        def work(connection: sa.Connection, badge_keys: dict[str, int]) -> Counter[SeedPlan]:
            now, holds_lease = self._renew(connection, job)
            if not holds_lease:
                raise lease_lost(job)
            transaction = Transaction(connection, self.database.rows, job, badge_keys, now)
            Recording(transaction).learn(set(given.badges.badge_meta_ids))
            return Seeding(transaction, functools.cache(lambda owner: self._is_living(connection, owner))).seed(given)

        return self._numbering_badges(job, work)

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """Take one request of the organisation's budget; give the seconds until its turn.

        The turns of all tasks that share the ledger are ``60 / per_minute`` seconds apart.
        """

        def work(connection: sa.Connection) -> float:
            now = self.database.now(connection)
            values = {"organisation": organisation, "now": now, "apart": 60.0 / per_minute}
            return float(connection.execute(QUERIES["reserve_request"], values).scalar_one()) - now

        return max(0.0, self.database.durably(work))

    def counts(self, job: Job) -> dict[RowState, int]:
        """How many rows of the job that were sent are in which state."""
        with self.database.reading() as connection:
            counted = connection.execute(QUERIES["count_states"], {"job": job.key}).all()
        return {RowState(state): int(rows) for state, rows in counted if rows}

    def finish_job(self, job: Job, state: str, summary: Mapping[str, Any] | None) -> None:
        """Keep the summary and give the lease back.

        :param state: ``finished`` or ``failed``.
        :raises LeaseLostError: another copy took the job over.
        """
        self.database.durably(
            lambda connection: self._jobs.finish(connection, job, state, summary, self.database.now(connection))
        )

    # -- the ledger's rows ---------------------------------------------------------------------------------------------

    def _numbering_badges(self, job: Job, work: Callable[[sa.Connection, dict[str, int]], _Result]) -> _Result:
        """Do the work durably, with the numbers of badges. Those that it adds count only after the commit."""
        badge_keys: dict[str, int] = {}

        def numbering(connection: sa.Connection) -> _Result:
            nonlocal badge_keys
            badge_keys = dict(self._badge_keys.get(job.organisation_key, {}))
            return work(connection, badge_keys)

        result = self.database.durably(numbering)
        self._badge_keys[job.organisation_key] = badge_keys
        return result

    def _is_living(self, connection: sa.Connection, job: int) -> bool:
        """Whether a process may be working on a job."""
        values = {"job": job, "now": self.database.now(connection)}
        return connection.execute(QUERIES["living_job"], values).first() is not None

    def _known_badges(self, connection: sa.Connection, job: Job, names: set[str]) -> dict[str, int]:
        """The numbers of those badges that the ledger has numbered for the organisation."""
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
        """The rows by customer and badge. One loop without named fields, because there are many rows."""
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

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _refuse_encoding(self) -> None:
        """Refuse a PostgreSQL database that cannot store every text, because outcomes with it would be lost."""
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
                f"there is no ledger at {self.description}, and none was made. Check that ledger_conn_id and "
                "AIRFLOW_HOME are those of the imports"
            )

    def _forget_issues(self, connection: sa.Connection, job: Job) -> None:
        """Delete the issues of earlier tries, because each try writes them again. Keep those that are still true."""
        connection.execute(QUERIES["forget_unconfirmed_issues"], {"job": job.key})
        for state in (RowState.ACCEPTED, RowState.UNKNOWN):
            values = {"job": job.key, "state": state.value}
            wanted = set(connection.execute(QUERIES["issues_about_batches"], values).scalars())
            still = listing.plain_numbers(connection, self.database.rows, job.key, (state,), wanted)[state]
            if wanted - still:
                numbers = [{"job": job.key, "row_number": number} for number in sorted(wanted - still)]
                connection.execute(QUERIES["forget_issue"], numbers)

    def _renew(self, connection: sa.Connection, job: Job) -> tuple[Moment, bool]:
        """Renew the lease; give the moment, and ``False`` if another copy took the lease, or it was given back."""
        values: dict[str, Any] = {"job": job.key, "fence": job.fence}
        if self.database.is_sqlite:
            now = self.database.moment(connection)
            values["until"] = now.at + self._lease_seconds
            return now, connection.execute(QUERIES["renew_lease"], values).rowcount == 1
        values["seconds"] = self._lease_seconds  # by the server's clock, in one trip
        row = connection.execute(QUERIES["renew_lease_by_server"], values).one_or_none()
        if row is None:
            return self.database.moment(connection), False
        return self.database.moment_at(row.at, row.server), True
