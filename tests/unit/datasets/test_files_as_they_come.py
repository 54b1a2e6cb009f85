"""Files as people have them: their names, contents, delimiters and values."""

from __future__ import annotations

import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.datasets.formats import ReadOptions, read_options
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError

from .files import CSV, JSONL, arrow, customers, opened, parquet, problem_of, rows_of, written, zstd

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
def test_a_file_is_read_by_name_or_first_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    assert customers(written(tmp_path / name, content)) == [1, 2]


@pytest.mark.parametrize("name", ["a.pq", "part-0.snappy.parquet", "0000_part_00", "A.PARQUET"])
def test_parquet_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    assert customers(parquet(tmp_path / name, 1, 2)) == [1, 2]


@pytest.mark.parametrize("name", ["a.arrow", "part-0.FEATHER", "0000_part_00"])
def test_arrow_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    assert customers(arrow(tmp_path / name, 1, 2)) == [1, 2]


def test_dataset_format_overrides_name_and_content(tmp_path: Path) -> None:
    assert customers(written(tmp_path / "a.jsonl"), read_options("csv")) == [1, 2]
    assert customers(written(tmp_path / "b.csv", JSONL), read_options("jsonl")) == [1, 2]
    assert customers(parquet(tmp_path / "c.dat", 3), read_options("parquet")) == [3]
    assert customers(arrow(tmp_path / "d.dat", 3), read_options("arrow")) == [3]
    assert "broken Parquet" in problem_of(tmp_path / "a.jsonl", read_options("parquet"))
    assert "broken Arrow" in problem_of(tmp_path / "a.jsonl", read_options("arrow"))


@pytest.mark.parametrize("nothing", [None, "", "None", " "])
def test_an_empty_option_is_none(nothing: Any) -> None:
    assert read_options(nothing, nothing) == ReadOptions()


@pytest.mark.parametrize(
    ("arguments", "why"), [(("xlsx",), "'parquet', 'arrow', 'csv', 'jsonl'"), ((None, ";;"), "'tab'")]
)
def test_an_impossible_option_names_the_possible(arguments: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_options(*arguments)


@pytest.mark.parametrize("cut", [1, 7])
def test_broken_zstd_is_called_by_its_name(tmp_path: Path, cut: int) -> None:
    assert "zstd" in problem_of(written(tmp_path / "a.csv.zst", zstd(CSV * 1_000)[:-cut]))
    assert "zstd" in problem_of(written(tmp_path / "b.csv.zst", CSV))


# ---------------------------------------------------------------------------------------------------------- delimiters


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_and_reported(tmp_path: Path, mark: str, caplog: pytest.LogCaptureFixture) -> None:
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
def test_a_line_naming_the_delimiter_is_no_header(tmp_path: Path, announced: bytes) -> None:
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


def test_trailing_empty_columns_and_rows_are_skipped(tmp_path: Path) -> None:
    content = b"badge_meta_id,customer_id,,\nb1,1,,\n,,,\nb2,2\n\n,,\n"
    assert rows_of(opened(written(tmp_path / "a.csv", content))) == [
        {"badge_meta_id": "b1", "customer_id": "1"}, {"badge_meta_id": "b2", "customer_id": "2"},
    ]  # fmt: skip


def test_a_value_beyond_the_columns_is_not_dropped(tmp_path: Path) -> None:
    assert "3 values" in problem_of(written(tmp_path / "a.csv", b"badge_meta_id,customer_id,\nb1,1,lost\n"))


def test_a_wide_text_is_read(tmp_path: Path) -> None:
    wide = b"x" * 500_000
    dataset = opened(written(tmp_path / "a.csv", b"badge_meta_id,note,customer_id\nb," + wide + b",1\n"))
    assert rows_of(dataset)[0]["note"] == wide.decode()


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(24)])
def test_text_stored_as_binary_is_text(tmp_path: Path, kind: Any) -> None:
    badge = b"654e08f2041fd452b3ef5b2e"
    pq.write_table(pa.table({"badge_meta_id": pa.array([badge], kind), "customer_id": [1]}), tmp_path / "a.parquet")
    [window] = opened(tmp_path / "a.parquet").windows(10)
    assert window.column("badge_meta_id") == [badge.decode()]
    assert window.original(0)["badge_meta_id"] == badge.decode()


def test_one_value_without_text_leaves_the_others(tmp_path: Path) -> None:
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
