"""From the warehouse by way of S3 into the API: every row once, whatever the storage does in between."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, BadgeTaskInterrupted
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.simulator.server import RunningSimulator

from .conftest import Lake

Extract = Callable[..., dict[str, Any]]
PATH = "badges/manual__2025-03-01T14:00:00+00:00"
GRANTED = [number for number in range(1, 2_001) if number % 100]


@pytest.fixture
def simulator(
    capillary_simulator: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunningSimulator:
    """Behind ``capillary_default``, with a ledger of its own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", capillary_simulator.airflow_connection())
    return capillary_simulator


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def imported(dataset: Any, try_number: int = 1, run_id: str = "first", **arguments: Any) -> dict[str, Any]:
    ids = {"dag_id": "nightly", "task_id": "import", "run_id": run_id, "map_index": -1, "max_tries": 3}
    operator = BadgeImportOperator(task_id="import", dataset=dataset, **arguments)
    context: Any = {"ti": SimpleNamespace(**ids, try_number=try_number)}
    return operator.execute(cast(Any, context))


def granted(simulator: RunningSimulator) -> list[int]:
    """The customers of all grants; one who was granted twice stands here twice."""
    return sorted(grant.customer_id for grant in simulator.store.grants())


def test_an_import_from_s3_writes_its_report_there(
    extract: Extract, lake: Lake, simulator: RunningSimulator, temporary: Path
) -> None:
    dataset = extract(lake.uri(PATH), partitions=4)
    summary = imported(dataset)
    assert (summary["rows_read"], summary["accepted"], summary["rejected"]) == (2_000, 1_980, 20)
    assert granted(simulator) == GRANTED

    context: Any = {"ti": SimpleNamespace(dag_id="nightly", task_id="report", run_id="first", map_index=-1)}
    report = BadgeErrorReportOperator(task_id="report", job=summary, report_path=lake.uri("reports")).execute(context)
    key = report["errors_csv"].split(f"{lake.bucket}/", 1)[1]
    reported = list(csv.DictReader(lake.server.get(lake.bucket, key).decode().splitlines()))
    assert sorted(int(row["customer_id"]) for row in reported) == list(range(100, 2_001, 100))

    # Mended in its place and imported again as it is; then everything a second time.
    mended = lake.server.get(lake.bucket, key).replace(b"0123456789abcdef01234567", b"654e08f2041fd452b3ef5b2e")
    lake.server.put(lake.bucket, key, mended)
    again = imported(report["errors_csv"], run_id="mended")
    assert (again["rows_read"], again["accepted"]) == (20, 20)
    assert granted(simulator) == list(range(1, 2_001))
    last = imported(lake.uri(PATH), run_id="second")
    assert (last["accepted"], last["already_accepted"]) == (0, 1_980)
    assert granted(simulator) == list(range(1, 2_001))
    assert list(temporary.iterdir()) == []


def test_each_part_is_imported_alone(extract: Extract, lake: Lake, simulator: RunningSimulator) -> None:
    parts = extract(lake.uri(PATH), partitions=3)["parts"]
    summaries = [imported(part, run_id=str(number)) for number, part in enumerate(parts)]
    assert sum(summary["rows_read"] for summary in summaries) == 2_000
    assert granted(simulator) == GRANTED


def test_a_connection_lost_once_is_not_noticed(extract: Extract, lake: Lake, simulator: RunningSimulator) -> None:
    dataset = extract(lake.uri(PATH))
    lake.faults.cut_reads = 1
    assert imported(dataset)["rows_read"] == 2_000
    assert lake.faults.cut_reads == 0
    assert granted(simulator) == GRANTED


def test_a_connection_lost_for_good_sends_nothing(
    extract: Extract, lake: Lake, simulator: RunningSimulator, temporary: Path
) -> None:
    dataset = extract(lake.uri(PATH), partitions=2)
    lake.faults.cut_reads = 1_000
    with pytest.raises(BadgeTaskInterrupted, match=f"connection was lost .*connection '{lake.conn_id}'"):
        imported(dataset)
    assert granted(simulator) == []
    assert list(temporary.iterdir()) == []
    lake.faults.heal()
    assert imported(dataset, try_number=2)["accepted"] == 1_980
    assert granted(simulator) == GRANTED


def test_a_replaced_dataset_is_never_mixed(extract: Extract, lake: Lake, simulator: RunningSimulator) -> None:
    dataset = extract(lake.uri(PATH), customers=1_000, partitions=2)
    extract(lake.uri(PATH), customers=2_000, partitions=2)
    with pytest.raises(BadgeTaskFailed, match="no such file"):
        imported(dataset)
    assert granted(simulator) == []
    assert imported(lake.uri(PATH), run_id="second")["rows_read"] == 2_000
    assert Counter(granted(simulator)) == Counter(GRANTED)


PEAKS = """
import json, pathlib, sys
from airflow_provider_capillary.datasets.remote_files import copy_to_local
from airflow_provider_capillary.datasets.storage import Folder

def peak():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

uri, folder, peaks = sys.argv[1], pathlib.Path(sys.argv[2]), []
for size in (4 << 20, 160 << 20):
    with (folder / "source").open("wb") as source:
        for _ in range(size >> 20):
            source.write(bytes(1 << 20))
    Folder(uri).put(folder / "source", f"{size}.parquet")
    written = peak()
    copy_to_local(f"{uri}/{size}.parquet", folder / "copy")
    assert (folder / "copy").stat().st_size == size
    peaks.append([written, peak()])
print(json.dumps(peaks))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_large_file_takes_bounded_memory(lake: Lake, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PEAKS, lake.uri("large"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    [[_, small], [written, read]] = json.loads(done.stdout.splitlines()[-1])
    assert written - small < 80 * 2**20  # three pieces of 8 MiB on their way; alone s3fs would hold all of it
    assert read - written < 32 * 2**20
