"""Holds what all parts of a running import work with, and ends its rows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.jobs.account import Account
from airflow_provider_capillary.jobs.pacing import Pace, StopSignal
from airflow_provider_capillary.jobs.planner import Planner
from airflow_provider_capillary.jobs.settings import ImportSettings
from airflow_provider_capillary.ledger.facts import Job, Outcome
from airflow_provider_capillary.ledger.writer import LedgerWriter


class RunningImport(msgspec.Struct, frozen=True):
    """One for all lanes."""

    client: BadgeClient
    ledger: LedgerWriter
    job: Job
    planner: Planner
    account: Account
    settings: ImportSettings
    stop: StopSignal
    pace: Pace
    monotonic: Callable[[], float]  #: the clock for durations, in seconds

    def record(self, outcome: Outcome) -> None:
        """Commit an outcome; then count the rows that end with an issue, and forget their doubts."""
        self.ledger.record(outcome)
        self.account.close_rows(outcome.issues)
        self.planner.forget_doubts(issue.row_number for issue in outcome.issues)
