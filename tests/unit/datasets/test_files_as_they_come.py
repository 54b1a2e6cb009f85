"""Files and folders as warehouses, spreadsheets and other tools leave them: read as they are meant, or refused."""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.datasets.base import Dataset
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.datasets.options import ReadOptions, read_options
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

REQUIRED = [("badgeMetaId", "badge_meta_id"), ("customerId", "customer_id")]
CSV = b"badge_meta_id,customer_id\nb1,1\nb2,2\n"


def opened(dataset: Any, options: ReadOptions = ReadOptions(), required: Any = REQUIRED) -> Dataset:  # noqa: B008 - frozen
    return open_dataset(dataset, required_columns=required, options=options)


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    try:
        return [window.original(index) for window in dataset.windows(3) for index in range(len(window))]
    finally:
        dataset.close()


def customers(dataset: Any, options: ReadOptions = ReadOptions()) -> list[int]:  # noqa: B008 - frozen
    return [int(row["customer_id"]) for row in rows_of(opened(dataset, options))]


def problem_of(dataset: Any, options: ReadOptions = ReadOptions()) -> str:  # noqa: B008 - frozen
    with pytest.raises(DatasetError) as caught:
        opened(dataset, options).inspect()
    return str(caught.value)


def written(path: Path, content: bytes = CSV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def parquet(path: Path, *numbers: int, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"badge_meta_id": ["b"] * len(numbers), "customer_id": list(numbers), **columns}
    pq.write_table(pa.table(table), path)
    return path


def arrow(path: Path, *numbers: int) -> Path:
    """An Arrow IPC file of these customers."""
    table = pa.table({"badge_meta_id": ["b"] * len(numbers), "customer_id": list(numbers)})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


# ------------------------------------------------------------------------------------------------- tables of a format


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
def test_a_table_s_files_are_refused_however_they_are_named(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / "lake" / "badges")
    files = [path for path in (tmp_path / "lake").rglob("*.parquet")]
    assert files
    for dataset in (tmp_path / "lake" / "badges", tmp_path / "lake", files[0].parent, files[0], files):
        problem = problem_of(dataset)
        assert f"a table of {name}" in problem
        assert "SqlToBadgeDatasetOperator" in problem
    assert f"a table of {name}" in problem_of(f"{tmp_path}/lake/*/*/*.parquet")


def test_a_folder_named_metadata_is_no_table_by_its_name(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "a.parquet", 1)
    written(tmp_path / "metadata" / "_notes.txt", b"x")
    assert customers(tmp_path) == [1]


# ------------------------------------------------------------------------------------------------------ cut at the end


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_csv_cut_within_a_row_is_never_taken_as_whole(tmp_path: Path, line_end: bytes) -> None:
    content = b"".join(line + line_end for line in (b"badge_meta_id,customer_id", b"b1,1234", b"b2,5678", b"b3,9012"))
    whole = [1234, 5678, 9012]
    for size in range(1, len(content) + 1):
        path = written(tmp_path / "a.csv", content[:size])
        try:
            found = customers(path)
        except DatasetError:
            continue
        assert found == whole[: len(found)]
        assert content[:size].endswith((b"\n", b"\r"))


def test_a_csv_without_a_last_line_end_is_read_where_that_is_allowed_or_harmless(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", CSV[:-1])
    problem = problem_of(path)
    assert "a.csv: the last line has no line end" in problem
    assert "'customer_id'" in problem
    assert "allow_cut_end=True" in problem
    assert customers(path, read_options(allow_cut_end=True)) == [1, 2]
    assert customers(written(tmp_path / "b.csv", b"badge_meta_id,customer_id,note\nb1,1,x")) == [1]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compressed_csv_cut_before_it_was_packed_is_refused_too(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert "no line end" in problem_of(written(tmp_path / "a.csv", pack(CSV[:-1])))


def test_a_json_line_is_whole_where_its_object_closes(tmp_path: Path) -> None:
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
def test_what_a_storage_decompresses_as_it_serves_it_is_refused(stated: dict[str, Any]) -> None:
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
def test_an_object_that_is_longer_than_its_stated_size_is_never_taken_as_whole(size: int) -> None:
    filesystem = Compressing()
    Served.stated = {"size": size}
    filesystem.pipe_file("/bucket/longer.csv", CSV)
    attach("memory", conn_id="compressing", fs=filesystem)
    assert f"gives more than the {size} bytes that its storage states" in problem_of(
        "memory://compressing@bucket/longer.csv"
    )
    Served.stated = {"size": len(CSV)}
    assert customers("memory://compressing@bucket/longer.csv") == [1, 2]


# ------------------------------------------------------------------------------------------------- names and contents

JSONL = b'{"badge_meta_id": "b1", "customer_id": 1}\n{"badge_meta_id": "b2", "customer_id": 2}\n'
TSV = CSV.replace(b",", b"\t")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("0000_part_00", CSV),
        ("0000_part_00", CSV.replace(b",", b"|")),
        ("badges000.gz", gzip.compress(CSV, mtime=0)),
        ("badges000.gz", gzip.compress(JSONL, mtime=0)),
        ("export-000000000000", CSV),
        ("export-000000000000", JSONL),
        ("part-00000-c000.csv.zst", zstd(CSV)),
        ("part-00000.jsonl.zst", zstd(JSONL)),
        ("000.zst", zstd(CSV)),
        ("part-00000.json", JSONL),
        ("part-00000.json.gz", gzip.compress(JSONL, mtime=0)),
        ("a.tsv", TSV),
        ("a.TSV.gz", gzip.compress(TSV, mtime=0)),
        ("a.txt", CSV),
        ("a.csv", gzip.compress(CSV, mtime=0)),
        ("a.csv", gzip.compress(CSV[:10], mtime=0) + gzip.compress(CSV[10:], mtime=0)),
        ("unnamed", b"\xef\xbb\xbf" + CSV),
    ],
)
def test_a_file_is_read_by_its_name_or_by_its_first_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    assert customers(written(tmp_path / name, content)) == [1, 2]


@pytest.mark.parametrize("name", ["a.pq", "part-0.snappy.parquet", "0000_part_00", "A.PARQUET"])
def test_parquet_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    assert customers(parquet(tmp_path / name, 1, 2)) == [1, 2]


@pytest.mark.parametrize("name", ["a.arrow", "part-0.FEATHER", "0000_part_00"])
def test_arrow_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    assert customers(arrow(tmp_path / name, 1, 2)) == [1, 2]


def test_dataset_format_decides_where_name_and_content_say_otherwise(tmp_path: Path) -> None:
    assert customers(written(tmp_path / "a.jsonl"), read_options("csv")) == [1, 2]
    assert customers(written(tmp_path / "b.csv", JSONL), read_options("jsonl")) == [1, 2]
    assert customers(parquet(tmp_path / "c.dat", 3), read_options("parquet")) == [3]
    assert customers(arrow(tmp_path / "d.dat", 3), read_options("arrow")) == [3]
    assert "broken Parquet" in problem_of(tmp_path / "a.jsonl", read_options("parquet"))
    assert "broken Arrow" in problem_of(tmp_path / "a.jsonl", read_options("arrow"))


@pytest.mark.parametrize("nothing", [None, "", "None", " "])
def test_an_option_without_a_value_is_as_one_not_given(nothing: Any) -> None:
    assert read_options(nothing, nothing) == ReadOptions()


@pytest.mark.parametrize(
    ("arguments", "why"), [(("xlsx",), "'parquet', 'arrow', 'csv', 'jsonl'"), ((None, ";;"), "'tab'")]
)
def test_an_option_that_cannot_be_names_what_may_be(arguments: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_options(*arguments)


@pytest.mark.parametrize("cut", [1, 7])
def test_broken_zstd_is_called_by_its_name(tmp_path: Path, cut: int) -> None:
    assert "zstd" in problem_of(written(tmp_path / "a.csv.zst", zstd(CSV * 1_000)[:-cut]))
    assert "zstd" in problem_of(written(tmp_path / "b.csv.zst", CSV))


# ---------------------------------------------------------------------------------------------------------- delimiters


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_taken_from_the_header_and_said(
    tmp_path: Path, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = CSV.replace(b",", mark.encode()) + f'b3{mark}"3"\n'.encode()
    with caplog.at_level(logging.INFO):
        dataset = opened(written(tmp_path / "a.csv", content))
        assert dataset.inspect().assumed == {"format": "CSV", "delimiter": mark}
    assert customers(tmp_path / "a.csv") == [1, 2, 3]
    assert (repr(mark) in caplog.text) == (mark != ",")


def test_other_marks_within_the_header_are_no_delimiters(tmp_path: Path) -> None:
    content = b'badge_meta_id;customer_id;"a, b";c|d\nb;1;x,y;z|z\n'
    assert rows_of(opened(written(tmp_path / "a.csv", content))) == [
        {"badge_meta_id": "b", "customer_id": "1", "a, b": "x,y", "c|d": "z|z"}
    ]


@pytest.mark.parametrize("announced", [b"sep=;\n", b'"sep=;"\r\n', b"\xef\xbb\xbfsep=;\r\n"])
def test_a_line_that_announces_the_delimiter_is_no_header(tmp_path: Path, announced: bytes) -> None:
    path = written(tmp_path / "a.csv", announced + CSV.replace(b",", b";"))
    assert customers(path) == [1, 2]
    assert "line 5: 1 values" in problem_of(written(tmp_path / "b.csv", path.read_bytes() + b"x\n"))


@pytest.mark.parametrize("given", ["~", "tab", "\t", "|"])
def test_a_delimiter_that_is_given_is_used(tmp_path: Path, given: str) -> None:
    mark = "\t" if given == "tab" else given
    assert customers(written(tmp_path / "a.csv", CSV.replace(b",", mark.encode())), read_options(None, given)) == [1, 2]


def test_the_delimiter_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", b"a;b,c\n1;2,3\n")
    prints = {open_dataset(path, options=read_options(None, mark)).inspect().fingerprint for mark in (";", ",")}
    assert len(prints) == 2


# --------------------------------------------------------------------------------------------------------- spreadsheets


def test_trailing_empty_columns_and_rows_of_delimiters_are_left_out(tmp_path: Path) -> None:
    content = b"badge_meta_id,customer_id,,\nb1,1,,\n,,,\nb2,2\n\n,,\n"
    assert rows_of(opened(written(tmp_path / "a.csv", content))) == [
        {"badge_meta_id": "b1", "customer_id": "1"}, {"badge_meta_id": "b2", "customer_id": "2"},
    ]  # fmt: skip


def test_a_value_behind_the_named_columns_is_never_dropped(tmp_path: Path) -> None:
    assert "3 values" in problem_of(written(tmp_path / "a.csv", b"badge_meta_id,customer_id,\nb1,1,lost\n"))


def test_a_wide_text_is_read(tmp_path: Path) -> None:
    wide = b"x" * 500_000
    dataset = opened(written(tmp_path / "a.csv", b"badge_meta_id,note,customer_id\nb," + wide + b",1\n"))
    assert rows_of(dataset)[0]["note"] == wide.decode()


# -------------------------------------------------------------------------------------------------------------- folders


def test_an_empty_folder_and_empty_files_have_no_rows(tmp_path: Path) -> None:
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
def test_what_other_tools_write_beside_data_is_left_out(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
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


def test_folders_within_are_read_by_name_and_their_values_are_columns(tmp_path: Path) -> None:
    parquet(tmp_path / "dt=2025-02-01" / "country=US%20A" / "part-0.parquet", 3)
    parquet(tmp_path / "dt=2025-01-31" / "country=__HIVE_DEFAULT_PARTITION__" / "part-1.parquet", 2)
    parquet(tmp_path / "dt=2025-01-31" / "country=IN" / "part-0.parquet", 1)
    parquet(tmp_path / "dt=2025-01-31" / "_temporary" / "part-9.parquet", 9)
    assert [(row["customer_id"], row["dt"], row["country"]) for row in rows_of(opened(tmp_path))] == [
        (1, "2025-01-31", "IN"), (2, "2025-01-31", None), (3, "2025-02-01", "US A"),
    ]  # fmt: skip
    assert customers(tmp_path / "dt=2025-02-01" / "country=US%20A" / "part-0.parquet") == [3]


def test_a_link_that_leads_back_ends_in_an_error(tmp_path: Path) -> None:
    written(tmp_path / "a.csv")
    (tmp_path / "again").symlink_to(tmp_path)
    assert "a link may lead back" in problem_of(tmp_path)


def test_a_folder_s_value_can_be_a_field_but_never_replaces_a_column(tmp_path: Path) -> None:
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


def test_a_pattern_without_a_file_is_an_error_and_a_name_with_its_marks_is_a_name(tmp_path: Path) -> None:
    assert "no such file, and none with a name of this pattern" in problem_of(f"{tmp_path}/*.csv")
    assert customers(written(tmp_path / "a[1].csv")) == [1, 2]


def test_patterns_and_folders_on_any_storage_keep_the_connection() -> None:
    filesystem = MemoryFileSystem()
    attach("memory", conn_id="patterns", fs=filesystem)
    for number, folder in enumerate(("dt=1", "dt=2")):
        filesystem.pipe_file(f"/lake/in/{folder}/a.csv", CSV.replace(b"1", b"%d" % (number + 5)))
    for uri in ("memory://patterns@lake/in/*/*.csv", "memory://patterns@lake/in"):
        dataset = opened(uri)
        assert dataset.inspect().sources == tuple(f"memory://patterns@lake/in/dt={n}/a.csv" for n in (1, 2))
        assert [row["dt"] for row in rows_of(dataset)] == ["1", "1", "2", "2"]


# --------------------------------------------------------------------------------------- paths, columns, binary values


def test_paths_of_any_class_are_datasets_alone_and_in_a_list(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    stored = ObjectStoragePath(f"file://{path}")
    for dataset in (path, stored, [path], [stored], (stored,), [str(path)]):
        assert customers(dataset) == [1, 2]
    filesystem = MemoryFileSystem()
    attach("memory", conn_id="paths", fs=filesystem)
    filesystem.pipe_file("/lake/paths/a.csv", CSV)
    assert customers([ObjectStoragePath("memory://paths@lake/paths/a.csv")]) == [1, 2]


def test_a_uri_with_escapes_names_the_file_unless_there_is_one_of_that_very_name(tmp_path: Path) -> None:
    plain = written(tmp_path / "a b.csv")
    assert customers(plain.as_uri()) == [1, 2]
    written(tmp_path / "a%20b.csv", b"badge_meta_id,customer_id\nb,9\n")
    assert customers(plain.as_uri()) == [9]


def test_files_may_differ_in_columns_that_are_not_needed(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", 1, old=["x"])
    parquet(tmp_path / "2.parquet", 2, new=["y"], at=pa.array([0], pa.timestamp("s", "UTC")))
    rows = rows_of(opened(tmp_path))
    assert [(row["customer_id"], row["old"], row["new"]) for row in rows] == [(1, "x", None), (2, None, "y")]
    first, second = opened(tmp_path).windows(10)
    assert (first.column("new"), first.is_in_seconds("at"), second.is_in_seconds("at")) == ([None], False, True)
    with pytest.raises(KeyError):
        first.column("nowhere")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(24)])
def test_text_stored_as_binary_is_text(tmp_path: Path, kind: Any) -> None:
    badge = b"654e08f2041fd452b3ef5b2e"
    pq.write_table(pa.table({"badge_meta_id": pa.array([badge], kind), "customer_id": [1]}), tmp_path / "a.parquet")
    [window] = opened(tmp_path / "a.parquet").windows(10)
    assert window.column("badge_meta_id") == [badge.decode()]
    assert window.original(0)["badge_meta_id"] == badge.decode()


def test_one_value_that_is_no_text_leaves_the_others_text(tmp_path: Path) -> None:
    kept = pa.array([b"text", b"\xff" * 12, None], pa.binary())
    table = pa.table({"badge_meta_id": kept, "customer_id": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    [window] = opened(tmp_path / "a.parquet").windows(10)
    assert window.column("badge_meta_id") == ["text", b"\xff" * 12, None]
    assert json.dumps(window.original(1))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab ;,|\t\"'\n", max_size=5), st.integers(1, 99)), max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_a_writer_quotes_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], mark: str, line_end: str
) -> None:
    import csv

    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=mark, lineterminator=line_end)
    writer.writerow(["badge_meta_id", "note", "customer_id"])
    writer.writerows(("b", note, customer) for note, customer in rows)
    path = written(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue().encode())
    found = rows_of(opened(path))
    assert [(row["note"], int(row["customer_id"])) for row in found] == rows
