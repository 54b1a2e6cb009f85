"""Begins jobs and takes their leases: which process may write for a job, and whether it can still be alive."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.clocks import boot_id
from airflow_provider_capillary.exceptions import JobIsRunningError, JobMismatchError, LeaseLostError
from airflow_provider_capillary.ledger import names
from airflow_provider_capillary.ledger.facts import Job, JobPlan, JobScope
from airflow_provider_capillary.ledger.queries import QUERIES

LEASE_SECONDS = 60.0
_UNKNOWN = "unknown"
#: A lease as it was seen: its number, and until when it holds.
Lease = tuple[int, float]
_JOB_IDS = uuid.UUID("6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10")


class Jobs:
    """Works within the caller's transaction; ``now`` is the ledger's clock.

    :param owner: the name of the process that takes leases here.
    """

    def __init__(self, owner: str, lease_seconds: float) -> None:
        self.owner = owner
        self._lease_seconds = lease_seconds

    def open(
        self, connection: sa.Connection, scope: JobScope, plan: JobPlan, now: float, outwaited: Lease | None
    ) -> Job:
        """Begin the scope's job, or take the lease of the existing one; see ``Ledger.open_job``."""
        organisation = names.claim_organisation(connection, plan.organisation, plan.host)
        job_id = str(uuid.uuid5(_JOB_IDS, msgspec.json.encode([organisation, scope]).decode()))
        # Added before it is looked for: of two that begin at once, the second finds the first.
        key = self._add(connection, job_id, organisation, scope, plan, now)
        if key is not None:
            return Job(key, job_id, organisation, 1, False)
        found = connection.execute(QUERIES["find_job"], {"job_id": job_id}).one()
        _refuse_mismatch(job_id, found, plan)
        fence = self._take_lease(connection, job_id, found, now, outwaited)
        return Job(found.id, job_id, organisation, fence, True)

    def count_commit(self, connection: sa.Connection, job: Job) -> bool:
        """Count a commit without the lease; give whether no other copy took the job over, running or finished."""
        return connection.execute(QUERIES["count_commit"], {"job": job.key}).scalar() == job.fence

    def finish(
        self, connection: sa.Connection, job: Job, state: str, summary: Mapping[str, Any] | None, now: float
    ) -> None:
        """Keep the summary and give the lease back."""
        values = {"job": job.key, "fence": job.fence, "state": state, "now": now}
        values["summary"] = None if summary is None else msgspec.json.encode(summary).decode()
        if connection.execute(QUERIES["finish_job"], values).rowcount != 1:
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
            "owner": self.owner,
            "until": now + self._lease_seconds,
        }
        key: int | None = connection.execute(QUERIES["add_job"], values).scalar_one_or_none()
        return key

    def _take_lease(
        self, connection: sa.Connection, job_id: str, found: sa.Row[Any], now: float, outwaited: Lease | None
    ) -> int:
        left = _seconds_left(found, now, outwaited, self._lease_seconds)
        if left > 0:
            raise JobIsRunningError(
                f"another copy of job {job_id} is running (its lease holds for {left:.0f} s more)",
                retry_after=left,
                lease=(found.fence, found.lease_until),
            )
        values = {
            "job": found.id,
            "fence": found.fence,
            "seen": found.lease_until,
            "owner": self.owner,
            "until": now + self._lease_seconds,
        }
        if connection.execute(QUERIES["take_lease"], values).rowcount != 1:
            raise JobIsRunningError(f"another copy of job {job_id} has just begun", retry_after=self._lease_seconds)
        return int(found.fence) + 1


def lock_resting(connection: sa.Connection, job_id: str, now: float, outwaited: Lease | None = None) -> sa.Row[Any]:
    """Lock a job at which no process is at work; no import takes it up before the transaction is over.

    :param outwaited: a lease of the job that was not renewed for as long as it held.
    :raises LookupError: there is no such job.
    :raises JobIsRunningError: the job lives.
    """
    found = connection.execute(QUERIES["lock_job"], {"job_id": job_id}).one_or_none()
    if found is None:
        raise LookupError(job_id)
    left = _seconds_left(found, now, outwaited, LEASE_SECONDS) if found.state == "open" else 0.0
    if left > 0:
        raise JobIsRunningError(
            f"job {job_id} is running, and settles its rows itself (its lease holds for {left:.0f} s more)",
            retry_after=left,
            lease=(found.fence, found.lease_until),
        )
    return found


def _seconds_left(found: sa.Row[Any], now: float, outwaited: Lease | None, lease_seconds: float) -> float:
    """How long a lease still holds. No lease is longer than ``lease_seconds``: if it seems so, the clock was set."""
    if outwaited == (found.fence, found.lease_until) or is_certainly_dead(found.lease_owner):
        return 0.0
    return min(float(found.lease_until) - now, lease_seconds)


def lease_lost(job: Job) -> LeaseLostError:
    """The error for a copy that may write no more."""
    return LeaseLostError(f"this copy no longer holds job {job.job_id}: another one took it over; this one stops")


def this_process() -> str:
    """Name this process: machine boot and process namespace, process id, start time."""
    return f"{_machine()}/{os.getpid()}/{_status('self').start_time or _UNKNOWN}"


def is_certainly_dead(owner: str) -> bool:
    """Whether the process of that name is gone for sure.

    ``False`` where it may live: of a process elsewhere nothing is known, nor of one that ``/proc`` hides (another
    user's, with ``hidepid``). Its lease then says when it is taken for gone.
    """
    machine, _, rest = owner.partition("/")
    process_id, _, start_time = rest.partition("/")
    if machine != _machine() or _UNKNOWN in machine or not process_id.isdigit() or not int(process_id):
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return True  # no process of this namespace has the number, whichever process asks
    except (OSError, OverflowError):
        pass  # there is one, of another user
    found = _status(process_id)
    if found.start_time is None or start_time == _UNKNOWN:
        return False
    return found.has_ended or found.start_time != start_time  # another process has the number by now


class _Status(NamedTuple):
    """What ``/proc`` says of a process."""

    start_time: str | None = None  #: none: it cannot be read
    has_ended: bool = False


def _machine() -> str:
    """One boot of one machine, as one process namespace (a container has its own) sees it."""
    try:
        return f"{boot_id() or _UNKNOWN}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return _UNKNOWN


def _status(process: str) -> _Status:
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return _Status()  # the /proc of another namespace, where the same number is another process
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return _Status(fields[19], fields[0] in ("Z", "X"))
    except (OSError, IndexError):
        return _Status()


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
