"""Datasets of each format, only read: the memory must not grow with the rows, the seconds no faster than they do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from .dataset import write_dataset
from .script import run
from .servers import fresh_state

_COLUMNS = ("badgeMetaId", "customerId", "earnEventDate", "earnExpiresOn")
_Row = tuple[str, int, int, int]


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Every format at every size, each in a process of its own."""
    measured = [
        _one(name, write, size, folder, postgres) for name, write in _WRITERS.items() for size in given.read_rows
    ]
    return {"measured": measured}


def _one(name: str, write: Callable[[Path, Path], None], rows: int, folder: Path, postgres: Path) -> dict[str, Any]:
    state = fresh_state(folder, postgres)
    source, dataset = folder / "source.parquet", folder / f"rows.{name}"
    write_dataset(source, rows)
    write(source, dataset)
    size = dataset.stat().st_size
    facts = run("reading.py", state, dataset)
    assert facts.rows == rows
    dataset.unlink()
    return {
        "format": name,
        "rows": rows,
        "mib": size / 2**20,
        "rows_per_second": facts.rows_per_second,
        "cpu_seconds_per_million": facts.cpu_per_million,
        "memory_before_mib": facts.memory_before / 2**20,
        "memory_peak_mib": facts.memory_peak / 2**20,
    }


def _rows(source: Path) -> Iterator[list[_Row]]:
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=50_000):
            yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _csv(source: Path, dataset: Path) -> None:
    """With instants as ISO text, as most exports have them."""
    with dataset.open("w", encoding="utf-8") as file:
        file.write(",".join(_COLUMNS) + "\n")
        for rows in _rows(source):
            file.writelines(f"{badge},{id_},{_iso(earned)},{_iso(expires)}\n" for badge, id_, earned, expires in rows)


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _jsonl(source: Path, dataset: Path) -> None:
    with dataset.open("w", encoding="utf-8") as file:
        for rows in _rows(source):
            file.writelines(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n" for row in rows)


def _parquet(source: Path, dataset: Path) -> None:
    source.rename(dataset)


_WRITERS: dict[str, Callable[[Path, Path], None]] = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}


def table(facts: dict[str, Any]) -> str:
    """One line for each format and size."""
    lines = [
        "Reading and checking, without sending",
        f"{'format':9}{'rows':>12}{'MiB':>8}{'rows/s':>12}{'CPU s/M':>9}{'MiB before':>12}{'MiB peak':>10}",
    ]
    lines += [
        f"{one['format']:9}{one['rows']:>12,}{one['mib']:>8.0f}{one['rows_per_second']:>12,.0f}"
        f"{one['cpu_seconds_per_million']:>9.2f}{one['memory_before_mib']:>12.0f}{one['memory_peak_mib']:>10.0f}"
        for one in facts["measured"]
    ]
    return "\n".join(lines) + "\n"
