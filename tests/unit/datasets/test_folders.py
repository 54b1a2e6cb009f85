"""Folders, patterns and paths that stand for many files."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from .files import CSV, JSONL, customers, opened, parquet, problem_of, rows_of, written


def test_empty_folders_and_files_have_no_rows(tmp_path: Path) -> None:
    assert customers(tmp_path) == []
    written(tmp_path / "_SUCCESS", b"")
    assert customers(tmp_path) == []
    for name in ("a.csv", "b.csv", "0000_part_00"):
        assert customers(written(tmp_path / "alone" / name, b"")) == []
    assert customers(tmp_path) == []
    written(tmp_path / "c.csv")
    assert customers(tmp_path) == [1, 2]
    assert customers(written(tmp_path / "blank.csv", b"\n\n")) == []
    assert "broken Parquet" in problem_of(written(tmp_path / "other" / "a.parquet", b""))
    assert "no such file" in problem_of(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["x.csv.metadata", "manifest", "_manifest", "a.csv.crc", "_schema.json", "a_$folder$"])
def test_other_tools_files_are_skipped(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path / "a.csv")
    written(tmp_path / name, b'{"entries": []}')
    with caplog.at_level(logging.INFO):
        facts = opened(tmp_path).inspect()
    assert facts.rows == 2
    if not name.startswith("_"):
        assert facts.assumed["left_out"] == [f"{tmp_path}/{name}"]
        assert name in caplog.text


def test_data_of_another_format_is_never_left_out(tmp_path: Path) -> None:
    written(tmp_path / "a.csv")
    written(tmp_path / "0000_part_00", JSONL)
    assert "mixes formats" in problem_of(tmp_path)


def test_folder_values_become_columns(tmp_path: Path) -> None:
    parquet(tmp_path / "dt=2025-02-01" / "country=US%20A" / "part-0.parquet", 3)
    parquet(tmp_path / "dt=2025-01-31" / "country=__HIVE_DEFAULT_PARTITION__" / "part-1.parquet", 2)
    parquet(tmp_path / "dt=2025-01-31" / "country=IN" / "part-0.parquet", 1)
    parquet(tmp_path / "dt=2025-01-31" / "_temporary" / "part-9.parquet", 9)
    assert [(row["customer_id"], row["dt"], row["country"]) for row in rows_of(opened(tmp_path))] == [
        (1, "2025-01-31", "IN"), (2, "2025-01-31", None), (3, "2025-02-01", "US A"),
    ]  # fmt: skip
    assert customers(tmp_path / "dt=2025-02-01" / "country=US%20A" / "part-0.parquet") == [3]


def test_a_link_back_is_an_error(tmp_path: Path) -> None:
    written(tmp_path / "a.csv")
    (tmp_path / "again").symlink_to(tmp_path)
    assert "a link may lead back" in problem_of(tmp_path)


def test_a_folder_value_never_replaces_a_column(tmp_path: Path) -> None:
    path = tmp_path / "CUSTOMER_ID=7" / "badge_meta_id=x" / "a.csv"
    written(path, b"badge_meta_id,note\nb1,1\n")
    [row] = rows_of(opened(tmp_path))
    assert row == {"badge_meta_id": "b1", "note": "1", "CUSTOMER_ID": "7"}
    [window] = opened(tmp_path).windows(10)
    assert window.column("CUSTOMER_ID") == ["7"]
    assert (window.line(0), window.source, len(window)) == (2, str(path), 1)


def test_a_folder_s_value_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    prints = {
        opened(written(tmp_path / folder / "a.csv")).inspect().fingerprint for folder in ("dt=1", "dt=2", "x", "y")
    }
    assert len(prints) == 3


@pytest.mark.parametrize("pattern", ["*.csv", "**/*.csv", "**", "[ab].csv", "?.csv"])
def test_a_pattern_stands_for_its_files_by_name(tmp_path: Path, pattern: str) -> None:
    written(tmp_path / "in" / "b.csv", CSV.replace(b"1", b"3").replace(b"2", b"4"))
    written(tmp_path / "in" / "a.csv")
    written(tmp_path / "in" / ".hidden.csv")
    assert sorted(customers(f"{tmp_path}/in/{pattern}")) == [1, 2, 3, 4]
    assert customers(f"file://{tmp_path}/in/*.csv") == [1, 2, 3, 4]


def test_a_pattern_without_files_is_an_error(tmp_path: Path) -> None:
    assert "no such file, and none with a name of this pattern" in problem_of(f"{tmp_path}/*.csv")
    assert customers(written(tmp_path / "a[1].csv")) == [1, 2]


def test_patterns_and_folders_keep_the_connection() -> None:
    filesystem = MemoryFileSystem()
    attach("memory", conn_id="patterns", fs=filesystem)
    for number, folder in enumerate(("dt=1", "dt=2")):
        filesystem.pipe_file(f"/lake/in/{folder}/a.csv", CSV.replace(b"1", b"%d" % (number + 5)))
    for uri in ("memory://patterns@lake/in/*/*.csv", "memory://patterns@lake/in"):
        dataset = opened(uri)
        assert dataset.inspect().sources == tuple(f"memory://patterns@lake/in/dt={n}/a.csv" for n in (1, 2))
        assert [row["dt"] for row in rows_of(dataset)] == ["1", "1", "2", "2"]


# --------------------------------------------------------------------------------------- paths, columns, binary values


def test_paths_of_any_class_are_datasets(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    stored = ObjectStoragePath(f"file://{path}")
    for dataset in (path, stored, [path], [stored], (stored,), [str(path)]):
        assert customers(dataset) == [1, 2]
    filesystem = MemoryFileSystem()
    attach("memory", conn_id="paths", fs=filesystem)
    filesystem.pipe_file("/lake/paths/a.csv", CSV)
    assert customers([ObjectStoragePath("memory://paths@lake/paths/a.csv")]) == [1, 2]


def test_an_escaped_uri_names_the_file(tmp_path: Path) -> None:
    plain = written(tmp_path / "a b.csv")
    assert customers(plain.as_uri()) == [1, 2]
    written(tmp_path / "a%20b.csv", b"badge_meta_id,customer_id\nb,9\n")
    assert customers(plain.as_uri()) == [9]


def test_files_may_differ_in_unneeded_columns(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", 1, old=["x"])
    parquet(tmp_path / "2.parquet", 2, new=["y"], at=pa.array([0], pa.timestamp("s", "UTC")))
    rows = rows_of(opened(tmp_path))
    assert [(row["customer_id"], row["old"], row["new"]) for row in rows] == [(1, "x", None), (2, None, "y")]
    first, second = opened(tmp_path).windows(10)
    assert (first.column("new"), first.is_in_seconds("at"), second.is_in_seconds("at")) == ([None], False, True)
    with pytest.raises(KeyError):
        first.column("nowhere")
