"""``errors.csv`` of every format: the columns in their order, where an editor finds the row, and importable."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import Context

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.simulator.server import RunningSimulator

BADGE = "654e08f2041fd452b3ef5b2e"
Tasks = Callable[..., Any]
NAMES = ["Note", "EARN_EXPIRES_ON", "customer_id", "badge_meta_id", "earn_event_date", "ids"]
GOOD = ['a; "b"\n,c|d\te', "1705828011", "9000001", BADGE, "1674292011", "007"]
BAD = ["", "1674292011", "9000002x", BADGE, "1674292011.5x", "1.0"]


def delimited(mark: str, before: str = "", end: str = "\r\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=mark, lineterminator=end).writerows([NAMES, GOOD, BAD])
    return (before + text.getvalue()).encode()


def jsonl() -> bytes:
    return b"".join(msgspec.json.encode(dict(zip(NAMES, row, strict=True))) + b"\n" for row in (GOOD, BAD))


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({name: [good, bad] for name, good, bad in zip(NAMES, GOOD, BAD, strict=True)}), sink)
    return sink.getvalue()


#: Name, content, and the line of the bad row: the good one before it has a line end in a value.
FILES = {
    "comma": ("a.csv", delimited(","), 4),
    "semicolon": ("a.csv", delimited(";", end="\n"), 4),
    "tab": ("a.tsv", delimited("\t"), 4),
    "bar": ("a.txt", delimited("|"), 4),
    "announced": ("a.csv", delimited(";", "sep=;\r\n"), 5),
    "mark of UTF-8 and blank lines": ("a.csv", delimited(",", "\ufeff\n\n"), 6),
    "gzip": ("a.csv.gz", gzip.compress(delimited(",")), 4),
    "JSON Lines": ("a.jsonl", jsonl(), 2),
    "Parquet": ("a.parquet", parquet(), 2),
}


@pytest.mark.parametrize(("name", "content", "line"), FILES.values(), ids=FILES)
def test_faults_are_shown_in_place_and_importable(
    simulator: RunningSimulator, task: Tasks, tmp_path: Path, name: str, content: bytes, line: int
) -> None:
    (tmp_path / name).write_bytes(content)
    _, summary = task().fail(str(tmp_path / name), max_rejected=0)
    assert (summary["accepted"], summary["invalid"]) == (1, 1)
    report = BadgeErrorReportOperator(
        task_id="report", job=summary, report_path=str(tmp_path / "reports"), fail_with_import=False
    )
    returned = report.execute(cast(Context, {}))
    path = Path(returned["errors_csv"].removeprefix("file://"))
    header, row = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    assert header[: len(NAMES)] == NAMES
    assert row[: len(BAD)] == BAD
    shown = dict(zip(header, row, strict=True))
    assert (shown["line"], shown["row"]) == (str(line), "2")
    assert shown["source"].endswith(name)
    for fault in ("customer_id '9000002x'", "earn_event_date '1674292011.5x'"):
        assert fault in shown["message"]

    _, repeated = task(run_id="again").fail(path.as_uri(), max_rejected=0)  # as it is: the same faults
    assert repeated["invalid"] == 1
    corrected = path.read_bytes().replace(b"9000002x", b"9000002").replace(b"1674292011.5x", b"1674290000")
    (tmp_path / "corrected.csv").write_bytes(corrected)
    assert task(run_id="corrected").run(str(tmp_path / "corrected.csv"), max_rejected=0)["accepted"] == 1
    assert len(simulator.store) == 2
