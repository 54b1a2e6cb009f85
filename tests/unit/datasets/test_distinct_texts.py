from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.datasets.inspection import MOST_TEXTS
from airflow_provider_capillary.datasets.open_dataset import open_dataset

NAMES = (("badgeMetaId", "badge_meta_id"),)
VALUES = ["b", "a", "b", None, "a"]


def written(folder: Path, kind: str, column: str, values: list[Any]) -> str:
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({column: pa.array(values).dictionary_encode(), "n": range(len(values))}), path)
    elif kind == "csv":
        path.write_text(f"{column},n\n" + "".join(f"{value or ''},{n}\n" for n, value in enumerate(values)))
    else:
        rows = [{column: value, "n": n} for n, value in enumerate(values)]
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("column", ["badgeMetaId", "BADGE_META_ID"])
def test_inspection_gathers_the_badges(tmp_path: Path, kind: str, column: str) -> None:
    facts = open_dataset(written(tmp_path, kind, column, VALUES), required_columns=NAMES).inspect()
    assert facts.distinct.keys() == {column}
    assert facts.distinct[column] - {""} == {"a", "b"}


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_gathering_ends_behind_the_most(tmp_path: Path, kind: str) -> None:
    many = [f"{number:06d}" for number in range(MOST_TEXTS * 2)]
    facts = open_dataset(written(tmp_path, kind, "badge_meta_id", many), required_columns=NAMES).inspect()
    assert len(facts.distinct["badge_meta_id"]) > MOST_TEXTS


def test_badges_in_the_names_of_folders_are_gathered(tmp_path: Path) -> None:
    for badge in ("a", "b"):
        folder = tmp_path / f"badge_meta_id={badge}"
        folder.mkdir()
        pq.write_table(pa.table({"n": [1]}), folder / "part.parquet")
    facts = open_dataset(str(tmp_path), required_columns=NAMES).inspect()
    assert facts.distinct == {"badge_meta_id": {"a", "b"}}


def test_badges_of_a_list_of_rows_are_gathered() -> None:
    rows = [{"badge_meta_id": value} for value in VALUES]
    assert open_dataset(rows, required_columns=NAMES).inspect().distinct == {"badge_meta_id": {"a", "b"}}


@pytest.mark.parametrize("array", [pa.array([1, 2]), pa.array([[1], [2]]), pa.array([{"a": 1}, None]), pa.nulls(2)])
def test_a_column_without_texts_has_none(tmp_path: Path, array: pa.Array[Any]) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"badge_meta_id": array}), path)
    assert open_dataset(str(path), required_columns=NAMES).inspect().distinct == {"badge_meta_id": set()}
