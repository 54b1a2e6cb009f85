"""Where many work on one ledger and one organisation at once."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.core.column_choice import column_choices
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ImportInterruptedError, JobIsRunningError
from airflow_provider_capillary.jobs.import_job import ImportJob, ImportResult
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.pacing import StopSignal
from airflow_provider_capillary.jobs.reconcile import Reconciled, ReconcileJob, ReconcileSettings
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.simulator.server import RunningSimulator

from .backends import Backend

ROWS: list[dict[str, Any]] = [
    {"badgeMetaId": "654e08f2041fd452b3ef5b2e", "customerId": 9_000_000 + number}
    | {"earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}
    for number in range(1, 25)
]


class Office:
    """One ledger and one organisation, on which many work at once."""

    def __init__(self, backend: Backend, simulator: RunningSimulator) -> None:
        self.backend = backend
        self.simulator = simulator
        self.line = threading.Barrier(3)

    def client(self) -> BadgeClient:
        caller = self.simulator.settings
        return BadgeClient(ClientSettings(base_url=self.simulator.url, login=caller.username, password=caller.password))

    def run(
        self, run_id: str, *, rows: list[dict[str, Any]] = ROWS, together: bool = False, **settings: Any
    ) -> ImportResult:
        # at most five batches: as many as may come back without proof in a row before a job gives up
        chosen = {"verify_after": 0, "canary": False, "check_badges": False, "batch_size": 8, "concurrency": 2}
        with (
            closing(open_dataset(rows, required_columns=column_choices(None))) as dataset,
            closing(self.client()) as client,
            closing(self.backend.open(owner=f"machine of {run_id}/7/1")) as ledger,
        ):
            scope = JobScope("nightly", "import_badges", run_id)
            job = ImportJob(
                dataset, Organisation(client, "shop"), ledger, scope, import_settings(**{**chosen, **settings})
            )
            if together:
                self.line.wait(60)
            return job.run()

    def reconcile(self, job_id: str) -> Reconciled | None:
        """``None``: refused, because the import is running."""
        # A lease is not waited for: it would take a minute. The wait must not just return early: a lease that was
        # not renewed during a whole wait counts as over.
        stop = StopSignal(wait=lambda seconds: stop.request(ImportInterruptedError("nothing is waited for")))
        with closing(self.client()) as client, closing(self.backend.open()) as ledger:
            settings = ReconcileSettings(by="a person", verify_after=0)
            job = ReconcileJob(ledger, [job_id], settings, Organisation(client, "shop"), stop=stop)
            self.line.wait(60)
            try:
                return job.run()
            except (JobIsRunningError, ImportInterruptedError):
                return None

    def states(self) -> Counter[str]:
        with self.backend.look() as connection:
            return Counter(connection.execute(sa.text("SELECT state FROM capillary_row")).scalars())
