"""The ledger in a SQL database: SQLite on one machine, PostgreSQL for many workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import given_ids, lease, revoking, settling, statements
from airflow_provider_capillary.ledger.base import Job, JobPlan, JobRecord, JobScope, Note, Outcome, RowIssue
from airflow_provider_capillary.ledger.bulk import bulk_for
from airflow_provider_capillary.ledger.doubts import Hearsay, Proof, Settled, UnprovenRow
from airflow_provider_capillary.ledger.engine import PATIENCE_SECONDS, durably, make_engine, reading, shown
from airflow_provider_capillary.ledger.jobs import Jobs, lease_lost
from airflow_provider_capillary.ledger.migrations.upgrade import upgrade
from airflow_provider_capillary.ledger.recording import Recording
from airflow_provider_capillary.ledger.revocations import Answer, GrantedRow, Grants

LEASE_SECONDS = 60.0
_LATEST_OF_DAG = sa.text(str(statements.LATEST_JOBS).replace("ORDER BY", "WHERE j.dag_id = :dag_id ORDER BY"))


class SqlLedger:
    """See ``Ledger``. Tables are created or upgraded on first use.

    :param url: a SQLAlchemy URL of a SQLite file or a PostgreSQL database.
    :param clock: epoch seconds, ``time.time`` by default. For SQLite only: with PostgreSQL the database's own clock
        is used, whatever is given here, so that workers whose clocks differ agree on leases.
    :param owner: who holds the leases taken here; this process by default.
    :param patience: seconds to wait for what another process has locked.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Callable[[], float] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        owner: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._engine = make_engine(url, patience=patience)
        self._bulk = bulk_for(self._engine.dialect.name)
        self._clock = clock or time.time
        self._jobs = Jobs(owner or lease.this_process(), lease_seconds)
        self._badge_keys: dict[str, int] = {}  #: committed ones only
        self.description = shown(self._engine.url)
        try:
            self.was_upgraded = durably(self._engine, upgrade)  #: whether tables were made or changed just now
        except BaseException:
            self._engine.dispose()  # nobody gets this ledger, so nobody could close it
            raise

    def open_job(self, scope: JobScope, plan: JobPlan) -> Job:
        """Begin a job, or resume it, and take its lease."""
        return durably(self._engine, lambda connection: self._jobs.open(connection, scope, plan, self._now(connection)))

    def renew_lease(self, job: Job) -> None:
        """Say that this process is alive."""
        if not durably(self._engine, lambda connection: self._jobs.renew(connection, job, self._now(connection))):
            raise lease_lost(job)

    def find(
        self, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool = False
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held of these rows' identities."""
        with reading(self._engine) as connection:
            names = {badge.badge_meta_id for badge in badges}
            ids = {name: key for name in names if (key := self._badge_key(connection, name))}
            known = badges if len(ids) == len(names) else [b for b in badges if b.badge_meta_id in ids]
            if not known:
                return {}
            keys = {(b.customer_id, ids[b.badge_meta_id], 0 if any_date else b.earned_at) for b in known}
            values = {"organisation": job.organisation_key, "job": job.key, "now": self._now(connection)}
            rows = self._bulk.find(connection, sorted(keys), any_date=any_date, **values)
        names_of = {key: name for name, key in ids.items()}
        held: dict[tuple[int, str], list[Held]] = {}
        for found in rows:
            customer, badge, owner, row, state, earned, occurrence, attempt, batch, alive, since, doubt, cut = tuple(
                found
            )
            one = Held(
                owner, row, RowState(state), earned, occurrence, attempt, batch, bool(alive), since, bool(cut), doubt
            )
            held.setdefault((customer, names_of[badge]), []).append(one)
        return held

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        """Commit the notes durably, all or none."""
        badge_keys: dict[str, int] = {}

        def work(connection: sa.Connection) -> list[int]:
            nonlocal badge_keys
            badge_keys = self._badge_keys.copy()  # what is added counts only once it is committed
            now = self._now(connection)
            holds_lease = self._jobs.renew(connection, job, now)
            # what became of a batch is true whoever tells it; all else is for the holder of the lease
            if not holds_lease and not all(isinstance(note, Outcome) for note in notes):
                raise lease_lost(job)
            keeps_issues = holds_lease or self._jobs.is_latest(connection, job)
            return Recording(connection, self._bulk, job, badge_keys, now=now, keeps_issues=keeps_issues).write(notes)

        batches = durably(self._engine, work)
        self._badge_keys = badge_keys
        return batches

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """Take one request out of the organisation's budget."""

        def work(connection: sa.Connection) -> float:
            now = self._now(connection)
            values = {"organisation": organisation, "now": now, "apart": 60.0 / per_minute}
            return float(connection.execute(statements.RESERVE_REQUEST, values).scalar_one()) - now

        return max(0.0, durably(self._engine, work))

    def counts(self, job: Job) -> dict[RowState, int]:
        """How many sent rows of the job stand in which state."""
        with reading(self._engine) as connection:
            told = _counted(connection, statements.COUNT_TOLD, job)
            if told.pop("batches"):
                told = _counted(connection, statements.COUNT_STATES, job)
        every = told.pop("every")
        counts = Counter({RowState(state): rows for state, rows in told.items()})
        counts[RowState.ACCEPTED] += every - counts.total()  # the others were accepted with their batch
        return {state: count for state, count in counts.items() if count}

    def finish_job(self, job: Job, state: str, summary: Mapping[str, Any] | None) -> None:
        """Keep the summary and give the lease back."""
        durably(
            self._engine, lambda connection: self._jobs.finish(connection, job, state, summary, self._now(connection))
        )

    def job(self, job_id: str) -> JobRecord:
        """Tell of one job."""
        with reading(self._engine) as connection:
            row = connection.execute(statements.ONE_JOB, {"job_id": job_id}).one_or_none()
        if row is None:
            raise LookupError(f"the ledger {self.description} holds no job {job_id}")
        return _job_record(row)

    def jobs(self, limit: int = 50, *, dag_id: str | None = None) -> list[JobRecord]:
        """Tell of the latest jobs, latest first; of one DAG or of all."""
        statement = statements.LATEST_JOBS if dag_id is None else _LATEST_OF_DAG
        with reading(self._engine) as connection:
            return [_job_record(row) for row in connection.execute(statement, {"limit": limit, "dag_id": dag_id})]

    def issues(self, job_id: str) -> Iterator[RowIssue]:
        """Stream why rows of a job were not accepted, in dataset order."""
        with (
            reading(self._engine) as connection,
            connection.execution_options(yield_per=1000).execute(statements.ISSUES, {"job_id": job_id}) as rows,
        ):
            for row in rows:
                values = dict(row._mapping)
                values["state"] = RowState(values["state"])
                values["original"] = msgspec.json.decode(values["original"])
                yield RowIssue(**values)

    def take_stock(self, job_id: str) -> Job:
        """Close a job whose process is dead, so that its rows without proof can be settled."""
        return durably(self._engine, lambda c: settling.take_stock(c, job_id, self._now(c)))

    def unproven(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[UnprovenRow]:
        """Rows of a job that nothing proves either way, by row number."""
        with reading(self._engine) as connection:
            return settling.unproven(connection, job_id, after, limit)

    def settle(self, job: Job, rows: Sequence[Settled], *, proof: Proof, by: str) -> list[Settled]:
        """Settle rows; gives those that were still as they were seen."""
        return durably(self._engine, lambda c: settling.settle(c, job, rows, proof=proof, by=by, now=self._now(c)))

    def hearsay(self, job: Job, *, after: int = 0, limit: int = 500) -> list[Hearsay]:
        """Rows that the job's report tells as unknown, but that it does not hold itself."""
        with reading(self._engine) as connection:
            return settling.hearsay(connection, job.key, after, limit)

    def retell(self, job: Job, ends: Sequence[tuple[int, RowState, str]]) -> int:
        """Tell anew how such rows ended."""
        return durably(self._engine, lambda c: settling.retell(c, job, ends, self._now(c)))

    def job_settings(self, job_id: str) -> dict[str, str]:
        """The settings that a job began with."""
        with reading(self._engine) as connection:
            return settling.job_settings(connection, job_id)

    def grants(self, job_id: str) -> Grants:
        """Count what a job granted."""
        with reading(self._engine) as connection:
            return revoking.grants(connection, job_id)

    def granted(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[GrantedRow]:
        """Rows of a job that can be revoked, by row number."""
        with reading(self._engine) as connection:
            return revoking.granted(connection, job_id, after, limit)

    def second_grants(self, job_id: str) -> list[GrantedRow]:
        """Ids that the API gave for rows of a job besides their own."""
        with reading(self._engine) as connection:
            return revoking.second_grants(connection, job_id)

    def earned_badge_ids(self) -> Iterator[str]:
        """Every id that the API gave, of all jobs."""
        with reading(self._engine) as connection:
            yield from given_ids.all_ids(connection)

    def note_revocation(self, job: Job, row: GrantedRow, *, by: str) -> None:
        """Note durably that the API is about to be asked."""
        durably(self._engine, lambda c: revoking.note(c, job, row, by=by, now=self._now(c)))

    def free_revoked(self, job: Job, *, by: str, limit: int = 500) -> int:
        """Let revoked rows of the job be imported again."""
        return durably(self._engine, lambda c: revoking.free(c, job, by=by, limit=limit, now=self._now(c)))

    def answer_revocation(self, job: Job, row: GrantedRow, answer: Answer) -> bool:
        """Note the answer; give whether the row was revoked by it."""
        return durably(self._engine, lambda c: revoking.answer(c, job, row, answer, self._now(c)))

    def now(self) -> float:
        """The ledger's clock, epoch seconds."""
        with reading(self._engine) as connection:
            return self._now(connection)

    def close(self) -> None:
        """Give connections back."""
        self._engine.dispose()

    def _now(self, connection: sa.Connection) -> float:
        if connection.dialect.name == "sqlite":
            return self._clock()
        return float(connection.execute(statements.NOW).scalar_one())

    def _badge_key(self, connection: sa.Connection, name: str) -> int | None:
        key = self._badge_keys.get(name)
        if key is None:
            key = connection.execute(statements.FIND_BADGE, {"name": name}).scalar()
            if key is not None:
                self._badge_keys[name] = key
        return key


def _counted(connection: sa.Connection, statement: sa.TextClause, job: Job) -> dict[str, int]:
    return {told: rows for told, rows in connection.execute(statement, {"job": job.key})}


def _job_record(row: sa.Row[Any]) -> JobRecord:
    values = dict(row._mapping)
    values["sources"] = tuple(msgspec.json.decode(values["sources"]))
    values["summary"] = msgspec.json.decode(values["summary"]) if values["summary"] else None
    return JobRecord(**values)
