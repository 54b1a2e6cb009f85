"""This package's import alone, with ledger and summary: what remains when nothing of Airflow is loaded."""

from __future__ import annotations

import sys

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.import_job import ImportJob
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.settings import import_settings
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from measuring import measured


def main(dataset: str, api: str, batch_size: int, state: str) -> None:
    """Send the dataset."""

    def work() -> int:
        client = BadgeClient(ClientSettings(base_url=api, login="till", password="x"))
        ledger = Ledger(f"sqlite:///{state}/ledger.db")
        settings = import_settings(batch_size=batch_size, verify_after=0)
        scope = JobScope("bench", "import_badges", "1")
        job = ImportJob(open_dataset(dataset), Organisation(client, "bench"), ledger, scope, settings)
        return job.run().summary.accepted

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
