"""Jobs and their leases: which process may write for a job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.exceptions import JobIsRunningError, JobMismatchError, LeaseLostError
from airflow_provider_capillary.ledger import lease, statements
from airflow_provider_capillary.ledger.base import Job, JobPlan, JobScope

_JOB_IDS = uuid.UUID("6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10")


class Jobs:
    """Works within the caller's transaction; ``now`` is the ledger's clock.

    :param owner: the name of the process that takes leases here.
    """

    def __init__(self, owner: str, lease_seconds: float) -> None:
        self._owner = owner
        self._lease_seconds = lease_seconds

    def open(self, connection: sa.Connection, scope: JobScope, plan: JobPlan, now: float) -> Job:
        """Begin the scope's job, or resume it; see ``Ledger.open_job``."""
        connection.execute(statements.ADD_ORGANISATION, {"name": plan.organisation, "host": plan.host})
        organisation = connection.execute(statements.FIND_ORGANISATION, {"name": plan.organisation}).scalar_one()
        warnings = _warnings(connection, organisation, plan)
        job_id = str(uuid.uuid5(_JOB_IDS, msgspec.json.encode([organisation, scope]).decode()))
        # Added before it is looked for: of two that begin at once, the second finds the first.
        key = self._add(connection, job_id, organisation, scope, plan, now)
        if key is not None:
            return Job(key, job_id, organisation, 1, False, warnings)
        found = connection.execute(statements.FIND_JOB, {"job_id": job_id}).one()
        _refuse_mismatch(job_id, found, plan)
        fence = self._take_lease(connection, job_id, found, now)
        connection.execute(statements.CUT_OFF_JOB, {"job": found.id})
        connection.execute(statements.INTENTS_ARE_UNKNOWN, {"job": found.id})
        connection.execute(statements.FORGET_ISSUES, {"job": found.id})
        return Job(found.id, job_id, organisation, fence, True, warnings)

    def renew(self, connection: sa.Connection, job: Job, now: float) -> bool:
        """Renew the lease; ``False`` where another copy took it, or it was given back."""
        values = {"job": job.key, "fence": job.fence, "until": now + self._lease_seconds}
        return connection.execute(statements.RENEW_LEASE, values).rowcount == 1

    def is_latest(self, connection: sa.Connection, job: Job) -> bool:
        """Whether no other copy took the job over, be it running or finished."""
        return connection.execute(statements.IS_LATEST, {"job": job.key, "fence": job.fence}).first() is not None

    def finish(
        self, connection: sa.Connection, job: Job, state: str, summary: Mapping[str, Any] | None, now: float
    ) -> None:
        """Keep the summary and give the lease back."""
        values = {"job": job.key, "fence": job.fence, "state": state, "now": now}
        values["summary"] = None if summary is None else msgspec.json.encode(summary).decode()
        if connection.execute(statements.FINISH_JOB, values).rowcount != 1:
            raise lease_lost(job)

    def _add(
        self, connection: sa.Connection, job_id: str, organisation: int, scope: JobScope, plan: JobPlan, now: float
    ) -> int | None:
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
        key: int | None = connection.execute(statements.ADD_JOB, values).scalar_one_or_none()
        return key

    def _take_lease(self, connection: sa.Connection, job_id: str, found: sa.Row[Any], now: float) -> int:
        if found.lease_until > now and not lease.is_certainly_dead(found.lease_owner):
            raise JobIsRunningError(
                f"another copy of job {job_id} is running (its lease holds for {found.lease_until - now:.0f} s more)",
                retry_after=found.lease_until - now,
            )
        values = {
            "job": found.id,
            "fence": found.fence,
            "seen": found.lease_until,
            "owner": self._owner,
            "until": now + self._lease_seconds,
        }
        if connection.execute(statements.TAKE_LEASE, values).rowcount != 1:
            raise JobIsRunningError(f"another copy of job {job_id} has just begun", retry_after=self._lease_seconds)
        return int(found.fence) + 1


def lease_lost(job: Job) -> LeaseLostError:
    """The error for a copy that may write no more."""
    return LeaseLostError(f"this copy no longer holds job {job.job_id}: another one took it over; this one stops")


def _warnings(connection: sa.Connection, organisation: int, plan: JobPlan) -> tuple[str, ...]:
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


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
