"""What all who work on one job share."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_capillary.core.backoff import Backoff
from airflow_provider_capillary.importing.account import Account
from airflow_provider_capillary.importing.pace import Pace
from airflow_provider_capillary.importing.planner import Planner
from airflow_provider_capillary.importing.settings import ImportSettings
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.ledger.writer import LedgerWriter


@dataclass(frozen=True)
class Shared:
    """The parts that delivery and verification both need; all of them are thread-safe."""

    ledger: LedgerWriter
    planner: Planner
    account: Account
    settings: ImportSettings
    stop: StopSignal
    backoff: Backoff
    pace: Pace
