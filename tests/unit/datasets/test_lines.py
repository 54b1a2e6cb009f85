"""A row is reported with the line on which an editor shows it, whatever stands between the rows and within them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.datasets.open_dataset import open_dataset

#: Between two rows: nothing, or lines that are no rows.
BETWEEN = st.sampled_from(["", "", "", "\n", "\r\n", "\n\n", ",,\n", ",\r\n", '"",\n'])
VALUES = st.text('ab,\n\r"\u2028\x0b ', max_size=6)


def places(path: Path, rows: int) -> list[tuple[int, str]]:
    """Line and first value of every row."""
    dataset = open_dataset(str(path), required_columns=[("n",)])
    return [(w.line(i), str(w.column("n")[i])) for w in dataset.windows(rows) for i in range(len(w))]


def csv_with_lines(rows: Sequence[tuple[str, str]], before: str) -> tuple[bytes, list[tuple[int, str]]]:
    """A file, and where an editor shows each of its rows: lines end with a line feed, a return, or both."""
    text, expected = f"{before}n,note\n", []
    for number, (between, value) in enumerate(rows):
        text += between
        expected.append((text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1, f"r{number}"))
        line = io.StringIO()
        csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow([f"r{number}", value])
        text += line.getvalue()
    return text.encode(), expected


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(BETWEEN, VALUES), max_size=8),
    st.sampled_from(["", "sep=,\r\n", "\n\n", "\ufeff"]),
    st.integers(1, 4),
    st.booleans(),
)
def test_lines_of_csv_are_those_of_an_editor(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], before: str, window: int, packed: bool
) -> None:
    content, expected = csv_with_lines(rows, before)
    path = tmp_path_factory.getbasetemp() / f"lines.csv{'.gz' * packed}"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert places(path, window) == expected


@pytest.mark.parametrize("window", [1, 2, 100])
def test_lines_of_json_lines_count_blank_ones(tmp_path: Path, window: int) -> None:
    lines = ["", '{"n": 1}', '{"n": 2}', "", "  ", '{"n": 3}', '{"n": 4}', ""]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert places(tmp_path / "a.jsonl", window) == [(2, "1"), (3, "2"), (6, "3"), (7, "4")]


@pytest.mark.parametrize("window", [1, 2, 100])
def test_lines_begin_anew_in_each_file(tmp_path: Path, window: int) -> None:
    (tmp_path / "a.csv").write_text('n,x\n1,"a\nb"\n2,c\n')
    (tmp_path / "b.csv").write_text("n,x\n\n3,d\n")
    assert places(tmp_path, window) == [(2, "1"), (4, "2"), (3, "3")]
