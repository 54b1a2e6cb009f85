"""An import and two reconciliations of the same rows at once, on every database: nothing twice, all accounts right."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.settings import ClientSettings
from airflow_provider_capillary.core.field_mapping import column_choices
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import JobIsRunningError
from airflow_provider_capillary.import_job import ImportJob, ImportResult
from airflow_provider_capillary.importing.api import CapillaryApi
from airflow_provider_capillary.importing.reading_back import Readings
from airflow_provider_capillary.importing.settings import import_settings
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.ledger.base import JobScope
from airflow_provider_capillary.reconcile_job import Reconciled, ReconcileJob, ReconcileSettings
from airflow_provider_capillary.simulator.server import RunningSimulator

from .backends import Backend

ROWS = [
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

    def run(self, run_id: str, *, together: bool = False, **settings: Any) -> ImportResult:
        # at most five batches: as many as may come back without proof in a row before a job gives up
        chosen = {"verify_after": 0, "canary": False, "check_badges": False, "batch_size": 8, "concurrency": 2}
        with (
            closing(open_dataset(ROWS, required_columns=column_choices(None))) as dataset,
            closing(self.client()) as client,
            closing(self.backend.open(owner=f"machine of {run_id}/7/1")) as ledger,
        ):
            scope = JobScope("nightly", "import_badges", run_id)
            job = ImportJob(
                dataset, CapillaryApi(client, "shop"), ledger, scope, import_settings(**{**chosen, **settings})
            )
            if together:
                self.line.wait(60)
            return job.run()

    def reconcile(self, job_id: str) -> Reconciled | None:
        """``None``: refused, because the import is running."""
        # a lease is not waited for: it would take a minute
        stop = StopSignal(wait=lambda seconds: None)
        with closing(self.client()) as client, closing(self.backend.open()) as ledger:
            settings = ReconcileSettings(by="a person", verify_after=0)
            readings = Readings(CapillaryApi(client, "shop"), "shop")
            job = ReconcileJob(ledger, [job_id], settings, readings, stop=stop)
            self.line.wait(60)
            try:
                return job.run()
            except JobIsRunningError:
                return None

    def states(self) -> Counter[str]:
        with self.backend.look() as connection:
            return Counter(connection.execute(sa.text("SELECT state FROM capillary_row")).scalars())


@pytest.fixture
def office(backend: Backend, start_capillary_simulator: Callable[..., RunningSimulator]) -> Office:
    return Office(backend, start_capillary_simulator())


@pytest.mark.parametrize("again", ["the same import", "another import"])
@pytest.mark.parametrize("attempt", range(3))
def test_an_import_and_two_reconciliations_of_the_same_rows_at_once(office: Office, again: str, attempt: int) -> None:
    lost = [{"kind": "drop", "at": "after_applying", "every": 2}, {"kind": "drop", "at": "after_reading"}]
    office.simulator.use_faults(lost)
    first = office.run("first", on_unknown="hold", max_unknown="100%")
    office.simulator.use_faults(None)
    assert first.summary.unknown == len(ROWS)
    office.backend.pass_time(3_600)

    with ThreadPoolExecutor(3) as pool:
        run_id = "first" if again == "the same import" else "second"
        later = pool.submit(office.run, run_id, together=True)
        reconciled = [pool.submit(office.reconcile, first.summary.job_id) for _ in range(2)]
        result, others = later.result(120), [one.result(120) for one in reconciled]

    # The import's account added up, or it would have raised; a row that it lost to others is not sent, never lost.
    assert result.summary.rows_read == len(ROWS)
    assert result.summary.unknown == 0
    settled = sum(one.accepted + one.resend for one in others if one is not None)
    assert settled <= len(ROWS)
    final = office.run("third")
    assert final.error is None
    assert office.states() == {"accepted": len(ROWS)}
    granted = Counter(grant.customer_id for grant in office.simulator.store.grants())
    assert granted == {row["customerId"]: 1 for row in ROWS}
