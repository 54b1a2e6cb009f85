"""A report on S3: uploaded in bounded memory, and never into a bucket that it has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.reports.destination import publish_files

from .conftest import Lake


def report(folder: Path, size: int = 10) -> list[Path]:
    path = folder / "errors.csv"
    path.write_bytes(b"x" * size)
    return [path]


def test_a_report_in_a_wrong_bucket_is_refused(tmp_path: Path, lake: Lake) -> None:
    before = lake.server.buckets()
    with pytest.raises(ConfigurationError, match="there is no bucket 'badge-reprots'"):
        publish_files(report(tmp_path), lake.uri("night", bucket="badge-reprots"))
    assert lake.server.buckets() == before


def test_a_report_of_any_size_comes_in_pieces(tmp_path: Path, lake: Lake) -> None:
    size = 20 << 20
    uris = publish_files(report(tmp_path, size), lake.uri("night"))
    assert uris == [lake.uri("night/errors.csv")]
    assert len(lake.server.get(lake.bucket, "night/errors.csv")) == size
    pieces = [request for request in lake.faults.requests if request.startswith("PUT ") and "errors.csv" in request]
    assert len(pieces) == 3
