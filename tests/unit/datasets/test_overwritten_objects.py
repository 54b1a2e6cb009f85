"""An object that is replaced while it is read is refused: the copy could be of two versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_capillary.datasets import remote_files, storage
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError

OLD = b"badge_meta_id,customer_id\n" + b"b,1111\n" * 1_000


class Busy(MemoryFileSystem):  # type: ignore[misc] # without types
    """A storage on which another process overwrites an object after it was opened."""

    protocol = "busy"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    replacement: ClassVar[bytes | None] = None
    etag: ClassVar[int] = 0

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return {**super().info(path, **kwargs), "etag": Busy.etag, "created": None}

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        opened = super().open(path, mode, **kwargs)
        opened.details = self.info(path)
        if self.replacement is not None:
            Busy.etag += 1  # the same size and name, as a nightly export has
        return opened


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("busy", Busy, clobber=True)
    monkeypatch.setattr(storage, "_attached", lambda uri: (Busy(), "/" + uri.split("://", 1)[1]))
    monkeypatch.setattr(Busy, "store", {})
    Busy().pipe_file("/bucket/a.csv", OLD)


def test_an_object_overwritten_between_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_AHEAD_BYTES", 1_000)
    monkeypatch.setattr(Busy, "replacement", OLD)
    with pytest.raises(DatasetError, match=r"a\.csv: was overwritten while it was read \(etag changed\)"):
        open_dataset("busy://bucket/a.csv").inspect()


def test_an_object_in_pieces_that_stays_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote_files, "_AHEAD_BYTES", 1_000)
    assert remote_files.copy_to_local("busy://bucket/a.csv", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == OLD
