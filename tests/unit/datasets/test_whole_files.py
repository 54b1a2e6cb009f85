"""What is no whole file, or a part of a table, is never read as a dataset."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]

from airflow_provider_capillary.datasets.formats import read_options

from .files import CSV, customers, parquet, problem_of, written, zstd


def delta(root: Path) -> None:
    parquet(root / "dt=2025-01-31" / "part-0.parquet", 1)
    written(root / "_delta_log" / "00000000000000000000.json", b"{}")


def hudi(root: Path) -> None:
    parquet(root / "dt=2025-01-31" / "part-0.parquet", 1)
    written(root / ".hoodie" / "hoodie.properties", b"")


def iceberg(root: Path) -> None:
    parquet(root / "data" / "part-0.parquet", 1)
    written(root / "metadata" / "00000-5f.metadata.json", b"{}")


def hive(root: Path) -> None:
    parquet(root / "delta_0000001_0000001_0000" / "bucket_00000.parquet", 1)


TABLES = [(delta, "Delta Lake"), (hudi, "Apache Hudi"), (iceberg, "Apache Iceberg"), (hive, "Hive ACID")]


@pytest.mark.parametrize(("make", "name"), TABLES)
def test_a_tables_files_are_refused(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    make(tmp_path / "lake" / "badges")
    files = [path for path in (tmp_path / "lake").rglob("*.parquet")]
    assert files
    for dataset in (tmp_path / "lake" / "badges", tmp_path / "lake", files[0].parent, files[0], files):
        problem = problem_of(dataset)
        assert f"a table of {name}" in problem
        assert "SqlToBadgeDatasetOperator" in problem
    assert f"a table of {name}" in problem_of(f"{tmp_path}/lake/*/*/*.parquet")


def test_a_folder_named_metadata_is_no_table(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "a.parquet", 1)
    written(tmp_path / "metadata" / "_notes.txt", b"x")
    assert customers(tmp_path) == [1]


# ------------------------------------------------------------------------------------------------------ cut at the end


def test_a_csv_without_last_line_end_needs_permission(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", CSV[:-1])
    problem = problem_of(path)
    assert "a.csv: the last line has no line end" in problem
    assert "'customer_id'" in problem
    assert "allow_cut_end=True" in problem
    assert customers(path, read_options(allow_cut_end=True)) == [1, 2]
    assert customers(written(tmp_path / "b.csv", b"badge_meta_id,customer_id,note\nb1,1,x")) == [1]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_csv_cut_before_compression_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert "no line end" in problem_of(written(tmp_path / "a.csv", pack(CSV[:-1])))


def test_a_json_line_ends_with_its_object(tmp_path: Path) -> None:
    content = b'{"badge_meta_id": "b", "customer_id": 1234}'
    assert customers(written(tmp_path / "a.jsonl", content)) == [1234]
    for size in range(1, len(content)):
        problem_of(written(tmp_path / "a.jsonl", content[:size]))


class Served(MemoryFileSystem):  # type: ignore[misc] # without types
    """A storage that states another size, or an encoding, than what it gives."""

    stated: ClassVar[dict[str, Any]] = {}

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return {**super().info(path, **kwargs), **self.stated}


class AzureSettings:
    """As adlfs has them: an object within what it states."""

    def __init__(self) -> None:
        self.content_encoding = "gzip"


@pytest.mark.parametrize(
    "stated", [{"contentEncoding": "gzip"}, {"ContentEncoding": "gzip"}, {"content_settings": AzureSettings()}]
)
def test_content_a_storage_decompresses_is_refused(stated: dict[str, Any]) -> None:
    filesystem = Served()
    Served.stated = {**stated, "size": 20}
    filesystem.pipe_file("/bucket/a.csv", CSV)
    attach("memory", conn_id="served", fs=filesystem)
    problem = problem_of("memory://served@bucket/a.csv")
    assert "Content-Encoding gzip" in problem
    Served.stated = {**dict.fromkeys(stated), "size": 20}
    assert customers("memory://served@bucket/a.csv") == [1, 2]


class Stated(AbstractBufferedFile):  # type: ignore[misc] # without types
    """A file whose stated size is that of its compressed form."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return CSV[start:end]


class Compressing(Served):
    """A storage of such files."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "rb":
            return super()._open(path, mode, **kwargs)
        return Stated(self, path, mode, size=self.stated["size"])


@pytest.mark.parametrize("size", range(1, len(CSV)))
def test_an_object_longer_than_stated_is_refused(size: int) -> None:
    filesystem = Compressing()
    Served.stated = {"size": size}
    filesystem.pipe_file("/bucket/longer.csv", CSV)
    attach("memory", conn_id="compressing", fs=filesystem)
    assert f"gives more than the {size} bytes that its storage states" in problem_of(
        "memory://compressing@bucket/longer.csv"
    )
    Served.stated = {"size": len(CSV)}
    assert customers("memory://compressing@bucket/longer.csv") == [1, 2]
