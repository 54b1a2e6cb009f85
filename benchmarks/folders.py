"""Folders of many small files, only read: on the local disk, and on an S3 server (moto) in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .contestants import SCRIPTS
from .script import run
from .scripts.folder_server import BADGE, HEADER
from .servers import fresh_state


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """The same files from both places."""
    files = given.folder_files
    local = folder / "files"
    local.mkdir()
    for number in range(1, files + 1):
        row = f"{BADGE},{number},2025-01-31T09:00:00Z,2026-01-31T09:00:00Z\n"
        (local / f"part-{number:05d}.csv").write_text(HEADER + row)
    measured = [_one("local disk", local, files, folder, postgres)]
    shutil.rmtree(local)
    with _server(files) as port:
        extra = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        fields = {"conn_type": "aws", "login": "test-key", "password": "test-secret", "extra": extra}
        os.environ["AIRFLOW_CONN_LAKE"] = json.dumps(fields)
        measured.append(_one("S3, moto", "s3://lake@lake/in", files, folder, postgres))
    return {"measured": measured}


@contextmanager
def _server(files: int) -> Iterator[int]:
    command = [sys.executable, str(SCRIPTS / "folder_server.py"), str(files)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def _one(place: str, dataset: object, files: int, folder: Path, postgres: Path) -> dict[str, Any]:
    facts = run("reading.py", fresh_state(folder, postgres), dataset)
    assert facts.rows == files
    return {
        "place": place,
        "files": files,
        "seconds": facts.seconds,
        "cpu_seconds": facts.cpu,
        "memory_before_mib": facts.memory_before / 2**20,
        "memory_peak_mib": facts.memory_peak / 2**20,
    }


def table(facts: dict[str, Any]) -> str:
    """One line for each place."""
    lines = [
        "Folders of CSV files with one row each, read and checked, without sending",
        f"{'place':12}{'files':>8}{'seconds':>9}{'CPU s':>7}{'MiB before':>12}{'MiB peak':>10}",
    ]
    lines += [
        f"{one['place']:12}{one['files']:>8,}{one['seconds']:>9.1f}{one['cpu_seconds']:>7.1f}"
        f"{one['memory_before_mib']:>12.0f}{one['memory_peak_mib']:>10.0f}"
        for one in facts["measured"]
    ]
    return "\n".join(lines) + "\n"
