"""Extracts that are killed or run out of disk leave the earlier dataset whole, and the next try its place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Extract, values

ALONE = Path(__file__).with_name("extract_alone.py")
ROWS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
    "SELECT i AS customer_id, hex(randomblob(100)) AS text FROM n"
)
ENDLESS = 2_000_000_000


def customers(dataset: Any) -> list[int]:
    return sorted(values(dataset, "customer_id"))


def started(temporary: Path, largest_file: int, *extracts: dict[str, Any]) -> subprocess.Popen[str]:
    arguments = json.dumps([largest_file, *({"conn_id": "warehouse", **one} for one in extracts)])
    environment = os.environ | {"TMPDIR": str(temporary)}
    return subprocess.Popen([sys.executable, str(ALONE), arguments], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("warehouse")
def test_a_kill_during_writing_keeps_the_earlier_dataset(extract: Extract, tmp_path: Path, temporary: Path) -> None:
    target = str(tmp_path / "out")
    extract(ROWS.format(10), target, partitions=2)
    before = sorted(os.listdir(target))
    arguments = {"sql": ROWS.format(ENDLESS), "dataset_path": target, "partitions": 3}
    with started(temporary, 0, arguments) as process:
        while sum(path.stat().st_size for path in temporary.rglob("*.parquet")) < 1_000_000:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert sorted(os.listdir(target)) == before
    assert customers(target) == list(range(1, 11))
    extract(ROWS.format(20), target, partitions=3)
    assert customers(target) == list(range(1, 21))
    assert len(os.listdir(target)) == 3 + 1


@pytest.mark.usefixtures("warehouse")
def test_a_full_disk_keeps_the_earlier_dataset(extract: Extract, tmp_path: Path, temporary: Path) -> None:
    target = str(tmp_path / "out")
    extract(ROWS.format(10), target, partitions=2)
    before = sorted(os.listdir(target))
    endless = {"sql": ROWS.format(ENDLESS), "dataset_path": target}
    with started(temporary, 3_000_000, endless, endless | {"partitions": 3}) as process:
        reported = [json.loads(line) for line in process.communicate()[0].splitlines() if line.startswith("{")]
    assert len(reported) == 2
    for one in reported:
        assert one["error"].startswith("BadgeTaskInterrupted")
        assert f"no room on this worker's disk (File too large). Free some of {temporary}" in one["error"]
    assert sorted(os.listdir(target)) == before
    assert customers(target) == list(range(1, 11))
    assert os.listdir(temporary) == []
