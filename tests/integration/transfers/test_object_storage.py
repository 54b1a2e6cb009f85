"""Datasets on an object storage: published whole, read as a frozen local copy, refused while they are incomplete."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError, RetryableError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, BadgeTaskInterrupted

from .conftest import Extract, LakeFileSystem

URI = "memory://lake@bucket/badges/20260101"
ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i AS customer_id FROM n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def customers(dataset: Any) -> list[Any]:
    opened = open_dataset(dataset)
    try:
        return sorted(value for window in opened.windows(100) for value in window.column("customer_id"))
    finally:
        opened.close()


def names(lake: LakeFileSystem) -> set[str]:
    return {path.removeprefix("/bucket/badges/20260101/") for path in lake.find("/")}


@pytest.mark.usefixtures("warehouse")
def test_an_extract_is_read_from_storage_in_every_form(extract: Extract, lake: LakeFileSystem) -> None:
    result = extract(ROWS.format(100), URI, partitions=2)
    for form in (result, URI, f"{URI}/", result["parts"]):
        assert customers(form) == list(range(1, 101))
    assert names(lake) == {"_manifest.json", *(part.removeprefix(f"{URI}/") for part in result["parts"])}


@pytest.mark.usefixtures("warehouse")
def test_second_run_replaces_everything_of_the_first(extract: Extract, lake: LakeFileSystem) -> None:
    extract(ROWS.format(100), URI, partitions=5)
    extract(ROWS.format(10), URI, partitions=2)
    assert customers(URI) == list(range(1, 11))
    assert len(names(lake)) == 3


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(("operation", "times"), [("put_file", 0), ("put_file", 2), ("pipe_file", 0)])
def test_a_failed_upload_keeps_the_earlier_dataset(
    extract: Extract, lake: LakeFileSystem, operation: str, times: int
) -> None:
    extract(ROWS.format(10), URI, partitions=3)
    before = names(lake)
    lake.failing[operation] = times
    with pytest.raises(BadgeTaskInterrupted, match=f"ConnectionResetError: lost in {operation}"):
        extract(ROWS.format(20), URI, partitions=3)
    assert customers(URI) == list(range(1, 11))
    assert names(lake) == before


@pytest.mark.usefixtures("warehouse")
def test_leftovers_that_stay_are_reported_and_not_read(
    extract: Extract, lake: LakeFileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    extract(ROWS.format(10), URI, partitions=3)
    lake.failing["rm_file"] = 1
    extract(ROWS.format(20), URI, partitions=3)
    assert "no part of the dataset could not be removed" in caplog.text
    assert customers(URI) == list(range(1, 21))
    assert len(names(lake)) == 1 + 3 + 2
    lake.failing.clear()
    extract(ROWS.format(20), URI, partitions=3)
    assert len(names(lake)) == 1 + 3


@pytest.mark.usefixtures("warehouse")
def test_foreign_files_and_whole_buckets_are_left_alone(extract: Extract, lake: LakeFileSystem) -> None:
    lake.pipe_file("/bucket/badges/20260101/precious.txt", b"x")
    for target, reason in ((URI, "'precious.txt'"), ("memory://lake@bucket", "top folder")):
        with pytest.raises(BadgeTaskFailed, match=reason):
            extract(ROWS.format(10), target)
    assert lake.find("/") == ["/bucket/badges/20260101/precious.txt"]


def test_remote_files_are_copied_once_and_removed(lake: LakeFileSystem, temporary: Path) -> None:
    lake.pipe_file("/bucket/in/a.csv", b"customer_id\n1\n2\n")
    lake.pipe_file("/bucket/in/b.csv", b"customer_id\n3\n")
    dataset = open_dataset("memory://lake@bucket/in")
    facts = dataset.inspect()
    assert facts.sources == ("memory://lake@bucket/in/a.csv", "memory://lake@bucket/in/b.csv")
    assert len([path for path in temporary.rglob("*.csv")]) == 2
    # From here on the storage may change: the snapshot does not.
    lake.pipe_file("/bucket/in/a.csv", b"customer_id\n9\n")
    lake.rm("/bucket/in/b.csv")
    read = [(window.source, list(window.column("customer_id"))) for window in dataset.windows(10)]
    assert read == [(facts.sources[0], ["1", "2"]), (facts.sources[1], ["3"])]
    dataset.close()
    dataset.close()
    assert list(temporary.iterdir()) == []


def test_remote_and_local_fingerprints_agree(lake: LakeFileSystem, tmp_path: Path) -> None:
    content = b"customer_id\n1\n2\n"
    (tmp_path / "a.csv").write_bytes(content)
    lake.pipe_file("/bucket/in/a.csv", content)
    remote = open_dataset("memory://lake@bucket/in/a.csv")
    assert remote.inspect().fingerprint == open_dataset(str(tmp_path / "a.csv")).inspect().fingerprint
    remote.close()


def test_broken_remote_file_leaves_no_copy_behind(lake: LakeFileSystem, temporary: Path) -> None:
    lake.pipe_file("/bucket/in/a.csv.gz", b"no gzip")
    dataset = open_dataset("memory://lake@bucket/in/a.csv.gz")
    with pytest.raises(DatasetError, match=r"memory://lake@bucket/in/a.csv.gz: broken or truncated gzip"):
        dataset.inspect()
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("lake")
def test_missing_remote_file_is_named() -> None:
    with pytest.raises(DatasetError, match=r"memory://lake@bucket/none.csv: no such file"):
        open_dataset("memory://lake@bucket/none.csv").inspect()


def test_remote_file_without_permission_is_named(lake: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.pipe_file("/bucket/a.csv", b"x")

    def refuse(*arguments: Any, **named: Any) -> None:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(lake, "open", refuse)
    with pytest.raises(DatasetError, match=r"a.csv: no permission"):
        open_dataset("memory://lake@bucket/a.csv").inspect()


def test_an_unknown_storage_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)  # with credentials from elsewhere it would go on with these
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"no filesystem for nosuch://.*Install"):
        open_dataset("nosuch://bucket/a.csv")
    with pytest.raises(ConfigurationError, match=r"`there_is_none` isn't defined\. Create the connection"):
        open_dataset("s3://there_is_none@bucket/a.csv")


def test_passing_trouble_can_be_retried(lake: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.pipe_file("/bucket/a.csv", b"x")

    def break_off(*arguments: Any, **named: Any) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(lake, "open", break_off)
    with pytest.raises(RetryableError, match=r"a.csv: .*TimeoutError: timed out.*endpoint of connection 'lake'"):
        open_dataset("memory://lake@bucket/a.csv").inspect()


def test_a_file_ending_early_is_not_whole(lake: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.pipe_file("/bucket/a.csv", b"customer_id\n1\n")

    class Shortened(io.BytesIO):
        size = 14

    monkeypatch.setattr(lake, "open", lambda *arguments, **named: Shortened(b"customer_id\n"))
    with pytest.raises(RetryableError, match="12 of 14 bytes came"):
        open_dataset("memory://lake@bucket/a.csv").inspect()
