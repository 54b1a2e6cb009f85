"""A lake on S3 and a warehouse in SQLite, as a worker sees them: by connections from the environment."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

from .s3 import S3Server

EARNED = "SELECT badge_meta_id, customer_id, earn_event_date, earn_expires_on FROM earned WHERE customer_id <= {}"


class Lake:
    """One bucket, behind a connection of its own: Airflow keeps the filesystem of each for the whole process."""

    def __init__(self, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.faults = server.faults
        self.bucket = server.make_bucket()
        self._monkeypatch = monkeypatch
        self.conn_id = self.connect()

    def connect(self, **fields: Any) -> str:
        """A connection to this server; gives its id."""
        conn_id = f"lake_{uuid4().hex}"
        self._monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", self.server.connection(**fields))
        return conn_id

    def uri(self, path: str, bucket: str | None = None, conn_id: str | None = None) -> str:
        """The URI of a path."""
        return f"s3://{conn_id or self.conn_id}@{bucket or self.bucket}/{path}"

    def keys(self) -> set[str]:
        """All that lies in the bucket."""
        return self.server.keys(self.bucket)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def own_settings_of_aws_are_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture
def lake(s3_server: S3Server, own_settings_of_aws_are_not_seen: None, monkeypatch: pytest.MonkeyPatch) -> Lake:
    s3_server.faults.heal()
    return Lake(s3_server, monkeypatch)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 customers with one badge each; the badge of every hundredth does not exist."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    badges = ("654e08f2041fd452b3ef5b2e", "0123456789abcdef01234567")
    rows = [
        (badges[number % 100 == 0], number, "2025-01-15T12:00:00Z", "2026-01-15T12:00:00Z")
        for number in range(1, 2_001)
    ]
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE earned (badge_meta_id, customer_id, earn_event_date, earn_expires_on)")
    connection.executemany("INSERT INTO earned VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()


@pytest.fixture
def extract(warehouse: None) -> Callable[..., dict[str, Any]]:
    """Extract the rows of the first ``customers`` customers."""

    def run(dataset_path: str, customers: int = 2_000, **arguments: Any) -> dict[str, Any]:
        operator = SqlToBadgeDatasetOperator(
            task_id="extract",
            sql=f"{EARNED.format(customers)} ORDER BY customer_id",
            conn_id="warehouse",
            dataset_path=dataset_path,
            **arguments,
        )
        return operator.execute({})

    return run
