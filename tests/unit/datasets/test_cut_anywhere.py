"""A file that was cut at any byte is refused, or read to where it is whole: no shortened value is ever sent."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge, InvalidRow
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError

BADGE = "654e08f2041fd452b3ef5b2e"
ROWS: list[tuple[Any, ...]] = [
    (BADGE, 12_345_678 + number, 1_674_292_011 + number, 1_705_828_011 + number) for number in range(3)
]
NAMES = ("badge_meta_id", "customer_id", "earn_event_date", "earn_expires_on")
CHOICES = column_choices(None)


def csv_of(
    order: tuple[int, ...] = (0, 1, 2, 3),
    mark: str = ",",
    end: str = "\n",
    quote: str = "",
    more: str = "",
    head: str = "",
) -> bytes:
    """The rows as CSV, the columns in any order; ``more`` stands at the end of each line, header included."""
    lines = [[NAMES[column] for column in order], *([row[column] for column in order] for row in ROWS)]
    return (
        head + "".join(mark.join(f"{quote}{value}{quote}" for value in line) + more + end for line in lines)
    ).encode()


def jsonl_of(blanks: str = "") -> bytes:
    """The rows as JSON Lines."""
    return b"".join(msgspec.json.encode(dict(zip(NAMES, row, strict=True))) + f"{blanks}\n".encode() for row in ROWS)


def parquet_of(**options: Any) -> bytes:
    """The rows as Parquet."""
    sink = io.BytesIO()
    columns: Any = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), sink, row_group_size=2, **options)
    return sink.getvalue()


def arrow_of(table: pa.Table | None = None, **options: Any) -> bytes:
    """The rows as an Arrow IPC file."""
    if table is None:
        columns: Any = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
        table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def zstd(content: bytes) -> bytes:
    """Packed as one frame."""
    return pa.Codec("zstd").compress(content, asbytes=True)


def in_parts(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Packed as members or frames of 100 bytes one after another, as tools that append leave them."""
    return lambda content: b"".join(pack(content[start : start + 100]) for start in range(0, len(content), 100))


FILES = {
    "a.csv": csv_of(),
    "another order.csv": csv_of((3, 2, 0, 1)),
    "the badge last.csv": csv_of((1, 2, 3, 0)),
    "Windows.csv": csv_of(end="\r\n"),
    "Excel.csv": csv_of(mark=";", end="\r\n", head="sep=;\r\n"),
    "mark of UTF-8.csv": b"\xef\xbb\xbf" + csv_of(),
    "tabs.csv": csv_of(mark="\t"),
    "quoted.csv": csv_of(quote='"'),
    "empty columns at the end.csv": csv_of(more=",,"),
    "blank lines.csv": csv_of(end="\n\n"),
    "a column more.csv": csv_of(more=',"x, ""y""\nz"'),
    "a.jsonl": jsonl_of(),
    "blanks behind.jsonl": jsonl_of("  \r"),
    "a.parquet": parquet_of(),
    "zstd within.parquet": parquet_of(compression="zstd"),
    "a.arrow": arrow_of(),
    "lz4 within.feather": arrow_of(compression="lz4"),
    "zstd within.arrow": arrow_of(compression="zstd"),
}
PACKED = {
    "a.csv.gz": gzip.compress(csv_of()),
    "members.csv.gz": in_parts(gzip.compress)(csv_of()),
    "a.jsonl.gz": gzip.compress(jsonl_of()),
    "a.csv.zst": zstd(csv_of()),
    "frames.csv.zst": in_parts(zstd)(csv_of()),
    "a.jsonl.zst": zstd(jsonl_of()),
}


def read(path: Path) -> list[EarnedBadge | InvalidRow]:
    """All rows, as they would be sent."""
    dataset = open_dataset(str(path), required_columns=CHOICES)
    columns = resolve_columns(CHOICES, dataset.inspect().columns)
    reader = RowReader(columns, None)
    rows: list[EarnedBadge | InvalidRow] = []
    for window in dataset.windows(2):
        values = [window.column(name) if name else () for name in msgspec.structs.astuple(columns)]
        rows += reader.read(window.first_row_number, *values)
    return rows


def cuts(name: str, size: int) -> list[int]:
    """Every byte of text; of formats whose end holds the plan of the whole, each byte at both ends and some between."""
    if name.endswith((".parquet", ".arrow", ".feather")):
        return sorted({*range(0, size, 11), *range(16), *range(size - 32, size)})
    return list(range(size))


WHOLE: list[EarnedBadge | InvalidRow] = [EarnedBadge(number, *row) for number, row in enumerate(ROWS, start=1)]


@pytest.mark.parametrize("name", [*FILES, *PACKED])
def test_the_whole_file_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((FILES | PACKED)[name])
    assert read(tmp_path / name) == WHOLE


@pytest.mark.parametrize("name", [*FILES, *PACKED])
def test_a_file_cut_anywhere_gives_no_wrong_row(tmp_path: Path, name: str) -> None:
    content, path = (FILES | PACKED)[name], tmp_path / name
    refused = 0
    for size in cuts(name, len(content)):
        path.write_bytes(content[:size])
        try:
            found = read(path)
        except DatasetError:
            refused += 1
        else:
            assert found == WHOLE[: len(found)], content[:size]
    assert refused > len(cuts(name, len(content))) / 2


@pytest.mark.parametrize("name", [*FILES])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_rows_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = FILES[name]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    path = tmp_path_factory.getbasetemp() / f"strange {name}"
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=8)) + content[end:])
    with suppress(DatasetError):
        read(path)
