"""A disk and an object storage answer the same calls alike, and a written file is never seen in part."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_capillary.datasets import storage
from airflow_provider_capillary.datasets.dataset_files import FileFinder
from airflow_provider_capillary.datasets.storage import Folder, whole_file
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError, RetryableError


def on_disk(tmp_path: Path) -> str:
    return str(tmp_path / "on disk, 50%25~")


def by_uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/by uri#1"


def remote(tmp_path: Path) -> str:
    attach("memory", conn_id="lake", fs=MemoryFileSystem())
    return f"memory://lake@{uuid4().hex}/folder"


@pytest.fixture(params=[on_disk, by_uri, remote])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place: Callable[[Path], str] = request.param
    return place(tmp_path)


def test_disk_and_object_storage_answer_the_same_calls_alike(uri: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"first, and longer")
    folder = Folder(uri)
    with pytest.raises(DatasetError, match="no such file"):
        folder.children()
    for content in (b"first, and longer", b"second"):
        source.unlink()  # it may be one file with what was put before
        source.write_bytes(content)
        folder.put(source, "put")
        folder.write("written", content)
        assert (folder.read("put"), folder.read("written")) == (content, content)
    Folder(f"{uri}/below").write("deep.csv", b"x")
    assert folder.children() == {"put": False, "written": False, "below": True}
    assert Folder(f"{uri}/put").children() is None
    assert [one.rpartition("/")[2] for one in storage.matching(f"{uri}/**/*.csv")] == ["deep.csv"]
    folder.remove(["put", "written", "never there"])
    assert folder.children() == {"below": True}
    with pytest.raises(DatasetError, match=r"put: no such file|no such file"):
        folder.read("put")


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    mounted, real = tmp_path / "mounted", tmp_path / "real"
    (real / "dt=1").mkdir(parents=True)
    (real / "a.csv").write_text("a\n1\n")
    (real / "dt=1" / "b.csv").write_text("a\n2\n")
    mounted.mkdir()
    (mounted / "..data").symlink_to(real)  # as Kubernetes mounts what a config map holds
    (mounted / "a.csv").symlink_to(Path("..data", "a.csv"))
    (mounted / "dt=1").symlink_to(Path("..data", "dt=1"))
    expected = [f"{mounted}/a.csv", f"{mounted}/dt=1/b.csv"]
    assert FileFinder().files_at(str(mounted)).uris == expected
    assert FileFinder().files_at(f"{mounted}/**").uris == expected
    assert FileFinder().files_at(f"{mounted}/dt=*/*.csv").uris == expected[1:]


def test_a_file_that_is_not_finished_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("earlier")

    def killed() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert path.read_text() == "earlier"
    with whole_file(path) as unfinished:
        unfinished.write_text("later")
        assert path.read_text() == "earlier"
    assert path.read_text() == "later"
    assert os.listdir(tmp_path) == ["report"]


def test_a_full_disk_leaves_the_earlier_file_and_allows_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path))
    folder.write("report", b"earlier")

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RetryableError, match="no room on this worker's disk"):
        folder.write("report", b"later")
    assert folder.read("report") == b"earlier"
    assert os.listdir(tmp_path) == ["report"]


def test_a_folder_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"taken/below: cannot be written .*Correct report_path"):
        Folder(str(tmp_path / "taken" / "below"), "report_path").write("a", b"")
