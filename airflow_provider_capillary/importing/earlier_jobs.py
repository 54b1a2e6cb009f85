"""The jobs of earlier imports, for a job that works on what they left: looked up, closed, and their API asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from airflow_provider_capillary.core.backoff import Backoff
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError
from airflow_provider_capillary.importing.pace import Pace
from airflow_provider_capillary.importing.patience import Patience
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.ledger.facts import Job, JobRecord
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)


class Organisation(Protocol):
    """Whose badges the API shows, and how often it may be asked."""

    @property
    def organisation(self) -> str:
        """As the ledger knows it."""
        ...

    @property
    def requests_per_minute(self) -> int | None:
        """The budget that all tasks on the ledger share; ``None``: no budget."""
        ...


def held_job(ledger: Ledger, job_id: str) -> JobRecord:
    """What the ledger tells of a job.

    :raises ConfigurationError: it holds no such job.
    """
    try:
        return ledger.job(job_id)
    except LookupError as error:
        raise ConfigurationError(
            f"the ledger {ledger.description} holds no job {job_id!r}. Give the job that the import returned, "
            "and the same ledger_conn_id as to the import"
        ) from error


class EarlierJobs:
    """Jobs of a ledger, as one sees them who comes after their import.

    :param monotonic: the clock for durations, in seconds.
    :param jitter: the randomness of waits, 0 <= value < 1.
    """

    def __init__(
        self,
        ledger: Ledger,
        stop: StopSignal,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._stop = stop
        self._monotonic = monotonic
        self._backoff = Backoff(jitter)

    def record(self, job_id: str, asked: Organisation | None, *, harm: str = "") -> JobRecord:
        """What the ledger tells of a job of the organisation that is to be asked (``None``: none is).

        :param harm: what would come of asking another one.
        :raises ConfigurationError: there is no such job, or it is of another organisation.
        """
        record = held_job(self._ledger, job_id)
        if asked is not None and asked.organisation != record.organisation:
            raise ConfigurationError(
                f"job {job_id} is of organisation {record.organisation!r}, the connection of "
                f"{asked.organisation!r}{harm}. Give the import's connection"
            )
        return record

    def take_stock(self, job_id: str) -> Job:
        """Close the job if its process is dead.

        :raises JobIsRunningError: it lives.
        """
        try:
            return self._ledger.take_stock(job_id)
        except JobIsRunningError as error:
            # one that died holds its lease a little longer; one that lives renews it, and then this one gives up
            log.info("%s; waiting for it to run out", error)
            self._stop.pause((error.retry_after or 0.0) + 1.0)
            return self._ledger.take_stock(job_id)

    def patience(self, asked: Organisation) -> Patience:
        """For calls to the API, one at a time, within its budget."""
        per_minute, reserve = asked.requests_per_minute, None
        if per_minute is not None:
            reserve = partial(self._ledger.reserve_request, asked.organisation, per_minute)
        return Patience(Pace(1, reserve, self._stop, self._monotonic), self._backoff, self._stop)
