"""Describes the organisation that a job works on: its API, its name in the ledger, and its budget of requests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.core.earned_badge import organisation_key
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.jobs.pacing import Backoff, Pace, StopSignal
from airflow_provider_capillary.ledger.facts import JobRecord


class Organisation(msgspec.Struct, frozen=True):
    """One organisation of the API."""

    client: BadgeClient
    name: str  #: in the ledger
    requests_per_minute: int | None = None  #: for all tasks on the ledger together; ``None``: no budget

    def pace(
        self,
        reserve: Callable[[str, int], float],
        stop: StopSignal,
        jitter: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        most_in_flight: int = 1,
    ) -> Pace:
        """Give the pace for the requests of one job.

        :param reserve: takes a turn out of the budget; see ``Ledger.reserve_request``.
        :param jitter: the randomness of waits, 0 <= value < 1.
        """
        per_minute = self.requests_per_minute
        turn = None if per_minute is None else partial(reserve, organisation_key(self.name), per_minute)
        return Pace(most_in_flight, turn, stop, Backoff(jitter), monotonic)

    def check_owns(self, job: JobRecord, *, harm: str = "") -> None:
        """Refuse a job of another organisation.

        :param harm: for the message: what would happen otherwise, as a clause after the sentence.
        :raises ConfigurationError: the job belongs to another organisation.
        """
        if organisation_key(job.organisation) != organisation_key(self.name):
            raise ConfigurationError(
                f"job {job.job_id} is of organisation {job.organisation!r}, the connection of "
                f"{self.name!r}{harm}. Give the import's connection"
            )
