from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.reports.destination import publish_files, report_folder
from airflow_provider_capillary.reports.error_report import survey


def files(folder: Path, text: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    made = [folder / "errors.csv", folder / "summary.json"]
    for file in made:
        file.write_text(text)
    return made


def test_each_job_has_a_folder_with_a_safe_name(ledger: Ledger, recorded: Callable[..., Job]) -> None:
    one, two = recorded([], map_index=0).job_id, recorded([], map_index=1).job_id
    alone, together = survey(ledger, [one]).facts, survey(ledger, [one, two]).facts
    below = "s3://c@bucket/r/badges.daily/manual__2025-01-15T12_00_00_00_00"
    assert report_folder("s3://c@bucket/r/", alone) == f"{below}/{one}"
    assert report_folder("s3://c@bucket/r", together).startswith(f"{below}/2-jobs-")
    assert report_folder("s3://c@bucket/r", together) == report_folder("s3://c@bucket/r", together)
    assert report_folder("r", together) != report_folder("r", survey(ledger, [two, one]).facts)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_retry_replaces_each_file_whole(tmp_path: Path, prefix: str) -> None:
    folder = tmp_path / "a folder" / "50%20off"
    for text in ("first, and longer", "second"):
        uris = publish_files(files(tmp_path / "made", text), f"{prefix}{folder}")
    assert uris == [f"file://{folder}/errors.csv", f"file://{folder}/summary.json"]
    assert sorted(os.listdir(folder)) == ["errors.csv", "summary.json"]
    assert [ObjectStoragePath(uri).read_text() for uri in uris] == ["second", "second"]


def test_a_reader_of_the_old_file_finishes(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    publish_files(files(tmp_path / "made", "old"), str(folder))
    with (folder / "errors.csv").open() as reader:
        publish_files(files(tmp_path / "made", "new"), str(folder))
        assert reader.read() == "old"


def test_files_go_to_any_storage_that_airflow_knows(tmp_path: Path) -> None:
    attach("memory", conn_id="reports", fs=MemoryFileSystem())
    folder = "memory://reports@bucket/badges/one"
    for text in ("first", "second"):
        uris = publish_files(files(tmp_path / "made", text), folder)
    assert uris == [f"{folder}/errors.csv", f"{folder}/summary.json"]
    assert [ObjectStoragePath(uri).read_text() for uri in uris] == ["second", "second"]


def test_an_impossible_report_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigurationError, match="report_path"):
        publish_files(files(tmp_path / "made", "x"), str(tmp_path / "taken" / "reports"))
    with pytest.raises(ConfigurationError, match="is relative"):
        publish_files(files(tmp_path / "made", "x"), "reports")
    with pytest.raises(ConfigurationError, match="no filesystem for nowhere://"):
        publish_files(files(tmp_path / "made", "x"), "nowhere://bucket/reports")
