"""The size of a dataset does not show in the memory of the import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.simulator.simulator_settings import numbered_badges
from dev.processes import child_process

MILLION = 1_000_000
MANY, ALLOWED_FOR_MANY = 250_000, 35 * 2**20  #: kept in memory, so many rows need about 60 MiB
ALLOWED_GROWTH = 60 * 2**20
EARNED = 1_736_942_400
BADGES = [badge.id for badge in numbered_badges(10)]
IMPORT = Path(__file__).with_name("import_rows.py")


def dataset(path: Path, rows: int) -> str:
    """Rows of one badge for each customer, written a piece at a time: this process is to stay small, too."""
    types: dict[str, pa.DataType] = {"badgeMetaId": pa.string(), "customerId": pa.int64()}
    schema = pa.schema(types | {"earnEventDate": pa.int64(), "earnExpiresOn": pa.int64()})
    size = min(rows, 50_000)
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, size):
            badges = [BADGES[number % len(BADGES)] for number in range(first, first + size)]
            customers = range(10_000_000 + first, 10_000_000 + first + size)
            earned, expires = [EARNED] * size, [EARNED + 31_536_000] * size
            writer.write_table(pa.table([badges, list(customers), earned, expires], schema=schema))
    return path.as_uri()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[str]:
    """A simulator that only counts, in another process: what it needs is not the import's."""
    port_file = tmp_path / "port"
    arguments = ["--sink", "--port-file", str(port_file)]
    command = [sys.executable, "-m", "airflow_provider_capillary.simulator", *arguments]
    with child_process(command, os.environ, tmp_path / "simulator.log") as process:
        while not port_file.exists():
            assert process.poll() is None, (tmp_path / "simulator.log").read_text()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield f"http://127.0.0.1:{port_file.read_text()}"


def imported(uri: str, api: str, home: Path, **settings: Any) -> dict[str, Any]:
    connection = {"conn_type": "capillary", "host": api, "login": "simulated.till", "password": "simulated-password"}
    env = os.environ | {"AIRFLOW_HOME": str(home), "AIRFLOW_CONN_CAPILLARY_DEFAULT": json.dumps(connection)}
    command = [sys.executable, str(IMPORT), uri, json.dumps(settings)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5_000:]
    reported: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reported


@pytest.mark.timeout(600)
def test_a_million_rows_need_no_more_memory(sink: str, tmp_path: Path) -> None:
    few = imported(dataset(tmp_path / "few.parquet", 10_000), sink, tmp_path / "few")
    many = imported(dataset(tmp_path / "many.parquet", MILLION), sink, tmp_path / "many")
    for reported, rows in ((few, 10_000), (many, MILLION)):
        print(f"{rows:>9,} rows: peak {reported['peak'] / 2**20:,.0f} MiB, {reported['seconds']:,.1f} s")  # noqa: T201
        assert reported["summary"]["rows_read"] == rows
    assert few["summary"]["accepted"] == 10_000
    assert many["summary"]["accepted"] + many["summary"]["already_accepted"] == MILLION
    with urllib.request.urlopen(f"{sink}/simulator/summary") as reply:
        assert json.load(reply)["grants"] == MILLION + 10_000
    assert many["peak"] - few["peak"] < ALLOWED_GROWTH


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("settings", "end"),
    [({"dry_run": True}, "not_sent"), ({"on_duplicate": "fail"}, "accepted")],
    ids=["dry run", "fail on duplicates"],
)
def test_no_pass_keeps_the_rows_in_memory(sink: str, tmp_path: Path, settings: dict[str, Any], end: str) -> None:
    few = imported(dataset(tmp_path / "few.parquet", 10_000), sink, tmp_path / "few", **settings)
    many = imported(dataset(tmp_path / "many.parquet", MANY), sink, tmp_path / "many", **settings)
    assert (few["summary"][end], many["summary"][end]) == (10_000, MANY)
    assert many["peak"] - few["peak"] < ALLOWED_FOR_MANY
