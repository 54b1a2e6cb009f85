"""Whatever is wrong with a dataset as a whole is found by `inspect`, before a single row can be sent."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError

REQUIRED = [("badgeMetaId", "badge_meta_id"), ("customerId", "customer_id")]
GOOD_CSV = b"badgeMetaId,customerId\nb1,1\nb2,2\n"


def problem_of(dataset: Any, required_columns: Sequence[Sequence[str]] = ()) -> str:
    with pytest.raises(DatasetError) as caught:
        open_dataset(dataset, required_columns=required_columns).inspect()
    return str(caught.value)


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("name", ["none.csv", "2026-01-01"])
def test_missing_file_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    problem = problem_of(str(tmp_path / name))
    assert f"{name}: no such file" in problem
    assert "Check the path" in problem


def test_all_missing_files_are_named(tmp_path: Path) -> None:
    problem = problem_of([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])
    assert "2 problems" in problem
    assert "a.csv: no such file" in problem
    assert "b.csv: no such file" in problem


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_file_without_read_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    uri = written(tmp_path / name, GOOD_CSV)

    def refuse(*arguments: Any, **named: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    # The suite may run as root, whom no file mode keeps out.
    monkeypatch.setattr(Path, "open", refuse)
    problem = problem_of(uri)
    assert f"{name}: no permission to read" in problem
    assert "Grant" in problem


def test_half_written_folder_is_refused(tmp_path: Path) -> None:
    written(tmp_path / f"part-00000-of-00002-{'a' * 16}.parquet", b"whole or not")
    assert "only partly written" in problem_of(str(tmp_path))


UNKNOWN = [
    ("a.xlsx", b"PK\3\4\0"),
    ("0000_part_00", b"one word"),
    ("a.avro", b"Obj\1\0"),
    ("b", "a,b\n".encode("utf-16")),
]


@pytest.mark.parametrize(("name", "content"), UNKNOWN)
def test_an_unknown_format_lists_known_ones(tmp_path: Path, name: str, content: bytes) -> None:
    problem = problem_of(written(tmp_path / name, content))
    assert f"{name}: unknown format" in problem
    assert ".parquet" in problem
    assert "dataset_format=" in problem


def test_parquet_within_gzip_is_no_known_format(tmp_path: Path) -> None:
    problem = problem_of(written(tmp_path / "a.parquet.gz", gzip.compress(b"PAR1\0")))
    assert "unknown format" in problem


def test_mixed_formats_name_a_file_of_each(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", GOOD_CSV)
    written(tmp_path / "b.jsonl", b"{}\n")
    problem = problem_of(str(tmp_path))
    assert "mixes formats" in problem
    assert "a.csv" in problem
    assert "b.jsonl" in problem


def test_file_named_twice_is_refused(tmp_path: Path) -> None:
    uri = written(tmp_path / "a.csv", GOOD_CSV)
    assert "named twice" in problem_of([uri, uri])


def test_file_uri_with_two_slashes_is_explained() -> None:
    assert "three slashes" in problem_of("file://data/a.csv")


# ---------------------------------------------------------------------------------------------------------- Parquet


def parquet(path: Path, rows: int = 5_000, **columns: Any) -> str:
    table = pa.table(columns or {"badgeMetaId": [f"{n:024x}" for n in range(rows)], "customerId": list(range(rows))})
    pq.write_table(table, path, compression="snappy", use_dictionary=False, data_page_size=4_096)
    return str(path)


def test_a_parquet_without_its_footer_is_broken(tmp_path: Path) -> None:
    whole = Path(parquet(tmp_path / "whole.parquet")).read_bytes()
    for content in (whole[:-100], GOOD_CSV * 10):
        assert "a.parquet: broken Parquet, its footer" in problem_of(written(tmp_path / "a.parquet", content))


@pytest.mark.parametrize("column", [0, 1])
def test_a_corrupt_page_in_parquet(tmp_path: Path, column: int) -> None:
    path = tmp_path / "a.parquet"
    parquet(path)
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(column)
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    content = bytearray(path.read_bytes())
    content[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(content)
    problem = problem_of(str(path))
    assert "a.parquet: broken Parquet, the data after row" in problem
    assert "again" in problem


def test_a_flipped_bit_is_found_by_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"customerId": pa.array(range(1_000), pa.int64())})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[content.index((500).to_bytes(8, "little"))] ^= 1
    path.write_bytes(content)
    assert "broken Parquet" in problem_of(str(path))


def test_parquet_text_not_in_utf8_names_the_column(tmp_path: Path) -> None:
    not_text = pa.array([b"ok", b"\xff\xfe"], pa.binary()).view(pa.string())
    problem = problem_of(parquet(tmp_path / "a.parquet", badgeMetaId=not_text))
    assert "column 'badgeMetaId', rows 1 to 2" in problem
    assert "not UTF-8" in problem


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_column_names_not_in_utf8_break_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    table = pa.table({"customerId": [1, 2]})
    if name == "a.arrow":
        arrow(path, table)
    else:
        pq.write_table(table, path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"customerId", b"customer\xff\xfe"))
    assert f"{name}: broken " in problem_of(str(path))


# ------------------------------------------------------------------------------------------------------------ Arrow


def arrow(path: Path, table: pa.Table, new: Callable[..., Any] = pa.ipc.new_file) -> str:
    with new(str(path), table.schema) as writer:
        writer.write_table(table)
    return str(path)


def test_only_whole_arrow_files_are_read(tmp_path: Path) -> None:
    table = pa.table({"customerId": list(range(100))})
    path = tmp_path / "a.arrow"
    arrow(path, table)
    path.write_bytes(path.read_bytes()[:-100])
    forms = {
        str(path): "a.arrow: broken Arrow, its footer",
        arrow(tmp_path / "stream.arrow", table, pa.ipc.new_stream): "A stream, or Feather 1, is not read",
        written(tmp_path / "one.feather", b"FEA1" + bytes(100) + b"FEA1"): "A stream, or Feather 1, is not read",
        written(tmp_path / "none.arrow", b""): "none.arrow: broken Arrow",
        written(tmp_path / "text.arrow", GOOD_CSV): "text.arrow: broken Arrow",
    }
    for uri, why in forms.items():
        assert why in problem_of(uri)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"ok", b"\xff\xfe"], pa.binary()).view(pa.string()),
        pa.Array.from_buffers(
            pa.string(), 2, [None, pa.py_buffer(bytes([0, 0, 0, 0, 255, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"ab")]
        ),
        pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int8()), pa.array(["a"]), safe=False),
    ],
    ids=["text", "offsets", "indices"],
)
def test_a_broken_arrow_column_is_named(tmp_path: Path, column: Any) -> None:
    problem = problem_of(arrow(tmp_path / "a.arrow", pa.table({"badgeMetaId": column})))
    assert "column 'badgeMetaId', rows 1 to 2: invalid values" in problem


# ------------------------------------------------------------------------------------------------------------- gzip

TEXT_FILES = [("a.csv.gz", GOOD_CSV * 3_000), ("a.jsonl.gz", b'{"badgeMetaId": "b"}\n' * 3_000)]


def corrupt(packed: bytes) -> bytes:
    """With another checksum."""
    return packed[:-6] + bytes([packed[-6] ^ 0xFF]) + packed[-5:]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: gzip.compress(content)[:-20],
    "corrupt": lambda content: corrupt(gzip.compress(content)),
    "plain": lambda content: content,
}


@pytest.mark.parametrize(("name", "content"), TEXT_FILES)
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_gzip_that_is_not_whole_is_named(tmp_path: Path, name: str, content: bytes, spoilt: str) -> None:
    uri = written(tmp_path / name, SPOILT[spoilt](content))
    assert f"{name}: broken or truncated gzip" in problem_of(uri)


# ---------------------------------------------------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: written(folder / "a.csv", b"badge,customer_id\nb,1\n"),
        lambda folder: written(folder / "a.jsonl", b'{"badge": "b", "customer_id": 1}\n'),
        lambda folder: parquet(folder / "a.parquet", badge=["b"], customer_id=[1]),
        lambda folder: [{"badge": "b", "customer_id": 1}],
    ],
    ids=["csv", "jsonl", "parquet", "rows"],
)
def test_missing_columns_name_the_accepted_and_the_found(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    problem = problem_of(make(tmp_path), REQUIRED)
    assert "missing columns: 'badgeMetaId' or 'badge_meta_id'. Columns found: 'badge', 'customer_id'" in problem
    assert "customerId" not in problem


def test_header_that_two_delimiters_would_divide_is_refused(tmp_path: Path) -> None:
    problem = problem_of(written(tmp_path / "a.csv", b"n,x;n\n"), [("n",)])
    assert "can be divided by ',' and by ';'" in problem
    assert "csv_delimiter=" in problem


def test_a_column_missing_in_a_part_is_named(tmp_path: Path) -> None:
    written(tmp_path / "1.csv", GOOD_CSV)
    written(tmp_path / "2.csv", b"badgeMetaId,customer\nb,1\n")
    problem = problem_of(str(tmp_path), REQUIRED)
    assert "2.csv: missing columns: 'customerId' or 'customer_id'. Columns found: 'badgeMetaId', 'customer'" in problem
    assert "1.csv" not in problem


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow"])
def test_column_named_twice(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.csv":
        path.write_bytes(b"id,id\n1,2\n")
    elif name == "a.arrow":
        arrow(path, pa.table([[1], [2]], names=["id", "id"]))
    else:
        pq.write_table(pa.table([[1], [2]], names=["id", "id"]), path)
    assert "columns named twice: 'id'" in problem_of(str(path))


# ------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(("name", "start"), [("a.csv", GOOD_CSV), ("a.jsonl", b'{"badge": "a"}\n' * 3)])
def test_file_that_is_not_utf8_names_the_line(tmp_path: Path, name: str, start: bytes) -> None:
    bad = '"Jörg",1\n' if name == "a.csv" else '{"badge": "Jörg"}\n'
    problem = problem_of(written(tmp_path / name, start + bad.encode("latin-1")))
    assert f"{name}, line 4: not UTF-8" in problem
    assert "Save the file as UTF-8" in problem


def test_utf16_csv_is_called_by_its_name(tmp_path: Path) -> None:
    assert "UTF-16" in problem_of(written(tmp_path / "a.csv", "badgeMetaId,customerId\n".encode("utf-16")))


def test_ragged_rows_are_named_with_lines(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n1\n"x\ny",2\n1,2,3\n'
    problem = problem_of(written(tmp_path / "a.csv", content))
    assert "2 problems" in problem
    assert "a.csv, line 3: 1 values where the header has 2 columns" in problem
    assert "a.csv, line 6: 3 values" in problem  # counted in lines of the file: a quoted value holds one more


@pytest.mark.parametrize("content", [b'a,b\n1,"2\n3,4\n', b'a,b\n1,"2"3\n'], ids=["unclosed", "text after the quote"])
def test_broken_csv_quoting(tmp_path: Path, content: bytes) -> None:
    problem = problem_of(written(tmp_path / "a.csv", content))
    assert "a.csv, line" in problem
    assert "broken quoting" in problem


def test_an_unclosed_quote_takes_bounded_memory(tmp_path: Path) -> None:
    problem = problem_of(written(tmp_path / "a.csv", b'a,b\n1,"2\n' + b"3,4\n" * 3_000_000))
    assert "field larger than field limit" in problem


@pytest.mark.parametrize(
    "line", [b'{"a": 1', b"[1, 2]", b"7", b"not json", b'{"a": NaN}', b"[" * 100_000], ids=lambda line: repr(line[:8])
)
def test_line_that_is_no_json_object_is_named(tmp_path: Path, line: bytes) -> None:
    problem = problem_of(written(tmp_path / "a.jsonl", b'{"a": 1}\n\n' + line + b"\n"))
    assert "a.jsonl, line 3: not one JSON object" in problem


def test_endless_json_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_capillary.datasets.jsonl_file.LONGEST_LINE", 1 << 20)
    uri = written(tmp_path / "a.jsonl", b'{"a": [1' + b", 1" * 400_000 + b"]}")
    assert "line 1: longer than 1 MiB" in problem_of(uri)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "badges"])
@pytest.mark.parametrize("content", [b'[{"a": 1}, {"a": 1}]', b'\n [\n{"a": 1}\n]\n'], ids=["one line", "several"])
def test_a_json_array_is_explained(tmp_path: Path, name: str, content: bytes) -> None:
    problem = problem_of(written(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content))
    assert f"{name}: a JSON array, not JSON Lines" in problem
    assert "jq -c" in problem


def test_message_stays_readable_however_many_lines_are_bad(tmp_path: Path) -> None:
    problem = problem_of(written(tmp_path / "a.jsonl", b"bad\n" * 1_000))
    assert problem.startswith("The dataset has 1000 problems:")
    assert len(problem.splitlines()) == 22
    assert problem.endswith("... and 980 more")


def test_problems_of_all_parts_come_in_one_error(tmp_path: Path) -> None:
    written(tmp_path / "1.jsonl", b"bad\n")
    written(tmp_path / "2.jsonl.gz", b"bad")
    problem = problem_of(str(tmp_path))
    assert "1.jsonl, line 1" in problem
    assert "2.jsonl.gz: broken or truncated gzip" in problem


# ------------------------------------------------------------------------------------------------------ other forms


def test_too_many_rows_are_sent_to_a_file() -> None:
    problem = problem_of([{"a": 1}] * 10_001)
    assert "10001 rows" in problem
    assert "Parquet, CSV or JSON Lines file" in problem


def test_row_that_is_no_dict_is_named() -> None:
    assert "rows, row 2: not a dict" in problem_of([{"a": 1}, ["a", 1]])


@pytest.mark.parametrize("dataset", [None, 7, b"a.csv", {"uri": "x"}, {"uri": "x", "parts": []}, {"parts": "a.csv"}])
def test_anything_else_is_no_dataset(dataset: Any) -> None:
    assert "Give a URI, a list of URIs" in problem_of(dataset)


def test_extract_whose_files_were_replaced_since_is_refused(tmp_path: Path) -> None:
    uri = written(tmp_path / "a.csv", GOOD_CSV)
    assert "reported 3 rows, but its files hold 2" in problem_of({"uri": str(tmp_path), "parts": [uri], "rows": 3})


def test_a_file_changing_after_inspection_is_refused(tmp_path: Path) -> None:
    uri = written(tmp_path / "a.csv", GOOD_CSV)
    dataset = open_dataset(uri)
    dataset.inspect()
    written(tmp_path / "a.csv", GOOD_CSV + b"b3,3\n")
    with pytest.raises(DatasetError, match="changed while it was being read"):
        list(dataset.windows(10))


def test_windows_never_start_on_a_broken_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(written(tmp_path / "a.csv", b"a,b\n1,2\n1\n"))
    with pytest.raises(DatasetError, match="line 3"):
        next(iter(dataset.windows(1)))
