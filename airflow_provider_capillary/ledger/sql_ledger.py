"""The ledger in a SQL database: SQLite on one machine, PostgreSQL for many workers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError, JobMismatchError, LeaseLostError
from airflow_provider_capillary.ledger import lease, statements
from airflow_provider_capillary.ledger.base import (
    Adoption,
    Intent,
    IntentConflictError,
    Job,
    JobPlan,
    JobRecord,
    JobScope,
    Note,
    Outcome,
    RowIssue,
)
from airflow_provider_capillary.ledger.bulk import bulk_for
from airflow_provider_capillary.ledger.engine import make_engine, reading, writing
from airflow_provider_capillary.ledger.migrations.upgrade import upgrade

LEASE_SECONDS = 60.0
_JOB_IDS = uuid.UUID("6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10")


class SqlLedger:
    """See ``Ledger``. Tables are created or upgraded on first use.

    :param url: a SQLAlchemy URL of a SQLite file or a PostgreSQL database.
    :param clock: epoch seconds. With PostgreSQL the database's clock is used instead, so that workers
        whose clocks differ agree on leases; ``None`` then means that clock, and ``time.time`` for SQLite.
    :param owner: who holds the leases taken here; this process by default.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Callable[[], float] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        owner: str | None = None,
    ) -> None:
        self._engine = make_engine(url)
        self._bulk = bulk_for(self._engine.dialect.name)
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._owner = owner or lease.this_process()
        self._badge_keys: dict[str, int] = {}
        self.description = self._engine.url.render_as_string(hide_password=True)
        with writing(self._engine) as connection:
            upgrade(connection)

    def open_job(self, scope: JobScope, plan: JobPlan) -> Job:
        """Begin a job, or resume it, and take its lease."""
        with writing(self._engine) as connection:
            connection.execute(statements.ADD_ORGANISATION, {"name": plan.organisation, "host": plan.host})
            organisation = connection.execute(statements.FIND_ORGANISATION, {"name": plan.organisation}).scalar_one()
            warnings = self._warnings(connection, organisation, plan)
            job_id = str(uuid.uuid5(_JOB_IDS, msgspec.json.encode([organisation, scope]).decode()))
            found = connection.execute(statements.FIND_JOB, {"job_id": job_id}).one_or_none()
            if found is None:
                key = self._add_job(connection, job_id, organisation, scope, plan)
                return Job(key, job_id, organisation, 1, False, warnings)
            _refuse_mismatch(job_id, found, plan)
            fence = self._take_lease(connection, job_id, found)
            connection.execute(statements.INTENTS_ARE_UNKNOWN, {"job": found.id})
            connection.execute(statements.FORGET_ISSUES, {"job": found.id})
            return Job(found.id, job_id, organisation, fence, True, warnings)

    def renew_lease(self, job: Job) -> None:
        """Say that this process is alive."""
        with writing(self._engine) as connection:
            self._renew(connection, job)

    def find(
        self, job: Job, badges: Sequence[EarnedBadge], *, any_date: bool = False
    ) -> dict[tuple[int, str], list[Held]]:
        """What is held of these rows' identities."""
        with reading(self._engine) as connection:
            ids = {
                name: key for name in {b.badge_meta_id for b in badges} if (key := self._badge_key(connection, name))
            }
            keys = {(b.customer_id, ids[b.badge_meta_id], b.earned_at) for b in badges if b.badge_meta_id in ids}
            if any_date:
                keys = {(customer, badge, 0) for customer, badge, _ in keys}
            if not keys:
                return {}
            rows = self._bulk.find(
                connection,
                sorted(keys),
                any_date=any_date,
                organisation=job.organisation_key,
                job=job.key,
                now=self._now(connection),
            )
        names = {key: name for name, key in ids.items()}
        held: dict[tuple[int, str], list[Held]] = {}
        for row_found in rows:
            customer, badge, owner, row, state, earned, occurrence, attempt, batch, alive, since = tuple(row_found)
            one = Held(owner, row, RowState(state), earned, occurrence, attempt, batch, bool(alive), since)
            held.setdefault((customer, names[badge]), []).append(one)
        return held

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        """Commit the notes durably, all or none."""
        intents: list[int] = []
        with writing(self._engine) as connection:
            now = self._now(connection)
            if not all(isinstance(note, Outcome) for note in notes):
                # what became of a batch is true whoever tells it; all else is for the holder of the lease
                self._renew(connection, job, now)
            for note in notes:
                if isinstance(note, Intent):
                    intents.append(self._record_intent(connection, job, note, now))
                elif isinstance(note, Outcome):
                    self._record_outcome(connection, job, note, now)
                elif isinstance(note, Adoption):
                    self._record_adoption(connection, job, note)
                else:
                    _record_issues(connection, job, note.rows)
        return intents

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """Take one request out of the organisation's budget."""
        with writing(self._engine) as connection:
            now = self._now(connection)
            values = {"organisation": organisation, "now": now, "apart": 60.0 / per_minute}
            turn = connection.execute(statements.RESERVE_REQUEST, values).scalar_one()
        return max(0.0, float(turn) - now)

    def counts(self, job: Job) -> dict[RowState, int]:
        """How many sent rows of the job stand in which state."""
        with reading(self._engine) as connection:
            rows = connection.execute(statements.COUNT_STATES, {"job": job.key}).all()
        return {RowState(state): count for state, count in rows}

    def finish_job(self, job: Job, state: str, summary: Mapping[str, Any] | None) -> None:
        """Keep the summary and give the lease back."""
        with writing(self._engine) as connection:
            values = {"job": job.key, "fence": job.fence, "state": state, "now": self._now(connection)}
            values["summary"] = None if summary is None else msgspec.json.encode(summary).decode()
            connection.execute(statements.FINISH_JOB, values)

    def job(self, job_id: str) -> JobRecord:
        """Tell of one job."""
        with reading(self._engine) as connection:
            row = connection.execute(statements.ONE_JOB, {"job_id": job_id}).one_or_none()
        if row is None:
            raise LookupError(f"the ledger {self.description} holds no job {job_id}")
        return _job_record(row)

    def jobs(self, limit: int = 50) -> list[JobRecord]:
        """Tell of the latest jobs, latest first."""
        with reading(self._engine) as connection:
            return [_job_record(row) for row in connection.execute(statements.LATEST_JOBS, {"limit": limit})]

    def issues(self, job_id: str) -> Iterator[RowIssue]:
        """Stream why rows of a job were not accepted, in dataset order."""
        with reading(self._engine) as connection:
            rows = connection.execution_options(yield_per=1000).execute(statements.ISSUES, {"job_id": job_id})
            for row in rows:
                values = dict(row._mapping)
                values["state"] = RowState(values["state"])
                values["original"] = msgspec.json.decode(values["original"])
                yield RowIssue(**values)

    def now(self) -> float:
        """The ledger's clock, epoch seconds."""
        with reading(self._engine) as connection:
            return self._now(connection)

    def close(self) -> None:
        """Give connections back."""
        self._engine.dispose()

    def _now(self, connection: sa.Connection) -> float:
        if self._clock is not None:
            return self._clock()
        if connection.dialect.name == "sqlite":
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def _warnings(self, connection: sa.Connection, organisation: int, plan: JobPlan) -> tuple[str, ...]:
        if connection.execute(statements.HAS_ROWS, {"organisation": organisation}).first():
            return ()
        values = {"host": plan.host, "name": plan.organisation}
        others = [row.name for row in connection.execute(statements.OTHER_ORGANISATIONS, values)]
        if not others:
            return ()
        return (
            f"the ledger holds nothing of organisation {plan.organisation!r}, but badges granted at the same host for "
            f"{', '.join(map(repr, others))}. If this is the same Capillary organisation, set the connection's extra "
            "'organisation' to that name, or badges will be granted again",
        )

    def _add_job(
        self, connection: sa.Connection, job_id: str, organisation: int, scope: JobScope, plan: JobPlan
    ) -> int:
        now = self._now(connection)
        values = msgspec.structs.asdict(scope) | {
            "job_id": job_id,
            "organisation": organisation,
            "dataset_fingerprint": plan.dataset_fingerprint,
            "settings": _encoded(plan.settings),
            "sources": _encoded(plan.sources),
            "row_count": plan.rows,
            "now": now,
            "owner": self._owner,
            "until": now + self._lease_seconds,
        }
        return int(connection.execute(statements.ADD_JOB, values).scalar_one())

    def _take_lease(self, connection: sa.Connection, job_id: str, found: sa.Row[Any]) -> int:
        now = self._now(connection)
        if found.lease_until > now and not lease.is_certainly_dead(found.lease_owner):
            raise JobIsRunningError(
                f"another copy of job {job_id} is running (its lease holds for {found.lease_until - now:.0f} s more)",
                retry_after=found.lease_until - now,
            )
        values = {"job": found.id, "fence": found.fence, "owner": self._owner, "until": now + self._lease_seconds}
        if connection.execute(statements.TAKE_LEASE, values).rowcount != 1:
            raise JobIsRunningError(f"another copy of job {job_id} has just begun", retry_after=self._lease_seconds)
        return int(found.fence) + 1

    def _renew(self, connection: sa.Connection, job: Job, now: float | None = None) -> None:
        until = (self._now(connection) if now is None else now) + self._lease_seconds
        values = {"job": job.key, "fence": job.fence, "owner": self._owner, "until": until}
        if connection.execute(statements.RENEW_LEASE, values).rowcount != 1:
            raise LeaseLostError(f"another copy took over job {job.job_id}; this one stops")

    def _badge_key(self, connection: sa.Connection, name: str) -> int | None:
        key = self._badge_keys.get(name)
        if key is None:
            key = connection.execute(statements.FIND_BADGE, {"name": name}).scalar()
            if key is not None:
                self._badge_keys[name] = key
        return key

    def _own_badge_key(self, connection: sa.Connection, name: str) -> int:
        key = self._badge_key(connection, name)
        if key is None:
            # not kept in the cache: this transaction may yet be rolled back
            connection.execute(statements.ADD_BADGE, {"name": name})
            key = int(connection.execute(statements.FIND_BADGE, {"name": name}).scalar_one())
        return key

    def _record_intent(self, connection: sa.Connection, job: Job, intent: Intent, now: float) -> int:
        badges = intent.badges
        keys = {name: self._own_badge_key(connection, name) for name in {b.badge_meta_id for b in badges}}
        if intent.once_per_customer:
            self._refuse_second_badge(connection, job, badges)
        values: dict[str, Any] = {
            "job": job.key,
            "fence": job.fence,
            "attempt": intent.attempt,
            "row_count": len(badges),
            "now": now,
        }
        values |= {"fingerprint": intent.fingerprint, "request_id": intent.request_id}
        batch = int(connection.execute(statements.ADD_BATCH, values).scalar_one())
        rows = [
            (
                job.organisation_key, b.customer_id, keys[b.badge_meta_id], b.earned_at, b.occurrence,
                job.key, b.row_number, batch, intent.attempt, b.expires_at,
            )
            for b in badges
        ]  # fmt: skip
        rows.sort()  # neighbours in the index are written together
        try:
            claimed = self._bulk.claim(connection, rows)
        except IntegrityError as error:
            raise IntentConflictError("a row of the batch is held by another batch") from error
        if claimed != len(rows):
            raise IntentConflictError(f"{len(rows) - claimed} rows of the batch are held by another job")
        return batch

    def _refuse_second_badge(self, connection: sa.Connection, job: Job, badges: Sequence[EarnedBadge]) -> None:
        connection.execute(statements.LOCK_ORGANISATION, {"organisation": job.organisation_key})
        keys = {(b.customer_id, self._own_badge_key(connection, b.badge_meta_id), 0) for b in badges}
        own = {(b.customer_id, b.earned_at, b.row_number) for b in badges}
        rows = self._bulk.find(
            connection, sorted(keys), any_date=True, organisation=job.organisation_key, job=job.key, now=0.0
        )
        for found in rows:
            customer, _badge, owner, row, state, earned = tuple(found)[:6]
            in_hand = owner == job.key and (customer, earned, row) in own
            if not in_hand and state in (RowState.ACCEPTED, RowState.INTENT, RowState.UNKNOWN):
                raise IntentConflictError(f"a badge of the batch is held by another row, in state {state}")

    def _record_outcome(self, connection: sa.Connection, job: Job, outcome: Outcome, now: float) -> None:
        rows = []
        for change in outcome.rows:
            b = change.badge
            key = self._own_badge_key(connection, b.badge_meta_id)
            identity = (job.organisation_key, b.customer_id, key, b.earned_at, b.occurrence)
            rows.append((change.state.value, change.earned_badge_id, *identity, outcome.batch))
        if rows:
            self._bulk.change(connection, rows)
        if outcome.verdict:
            values = {"batch": outcome.batch, "now": now, "status": outcome.status, "verdict": outcome.verdict}
            connection.execute(statements.SETTLE_BATCH, values)
        _record_issues(connection, job, outcome.issues)

    def _record_adoption(self, connection: sa.Connection, job: Job, adoption: Adoption) -> None:
        for b, held in adoption.rows:
            values = {
                "organisation": job.organisation_key,
                "customer_id": b.customer_id,
                "badge_id": self._own_badge_key(connection, b.badge_meta_id),
                "earned_at": b.earned_at,
                "occurrence": b.occurrence,
                "job": job.key,
                "row_number": b.row_number,
                "old_job": held.job,
                "batch": held.batch,
            }
            if connection.execute(statements.ADOPT, values).rowcount != 1:
                raise IntentConflictError("another job settled a row that was to be taken over")


def _refuse_mismatch(job_id: str, found: sa.Row[Any], plan: JobPlan) -> None:
    changed = []
    if found.dataset_fingerprint != plan.dataset_fingerprint:
        changed.append("the dataset")
    before = msgspec.json.decode(found.settings)
    changed += sorted(name for name in before.keys() | plan.settings if before.get(name) != plan.settings.get(name))
    if changed:
        raise JobMismatchError(
            f"this retry would go on with job {job_id}, but {', '.join(changed)} changed since it began. "
            "Clear the task to begin a new job: what was accepted is not sent again"
        )


def _record_issues(connection: sa.Connection, job: Job, issues: Sequence[RowIssue]) -> None:
    if not issues:
        return
    rows = []
    for issue in issues:
        values = msgspec.structs.asdict(issue)
        values["state"] = issue.state.value
        rows.append(values | {"job": job.key, "original": msgspec.json.encode(issue.original).decode()})
    connection.execute(statements.ADD_ISSUE, rows)


def _job_record(row: sa.Row[Any]) -> JobRecord:
    values = dict(row._mapping)
    values["sources"] = tuple(msgspec.json.decode(values["sources"]))
    values["summary"] = msgspec.json.decode(values["summary"]) if values["summary"] else None
    return JobRecord(**values)


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
