"""Whatever values rows hold, a whole import ends with a summary, or with a dataset error before its first request."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowException

from airflow_provider_capillary.exceptions import DatasetError
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import DELETED, ENDS, rows

Tasks = Callable[..., Any]
COLUMNS = ("badgeMetaId", "customerId", "earnEventDate", "earnEventDateISO", "note")
_runs = count()

#: Columns whose values are of one class are checked as arrays, so each list here is of one class; the last is of all.
ALIKE: dict[str, list[Any]] = {
    "whole numbers beyond 64 bits": [2**63, -(2**63) - 1, 10**5_000],
    "whole numbers at the edge of 64 bits": [2**63 - 1, -(2**63), 0],
    "truths": [True, False],
    "texts with a lone surrogate": ["\ud800", "654e08f2041fd452b3ef5b2e\udfff"],
    "texts with a NUL": ["\0", "9000001\0", "2025-01-15T12:00:00Z\0"],
    "digits of other scripts": ["\u0663\u0664", "\uff17", "9\u00a0000"],
    "long texts": ["7" * 10_000, "x" * 1_000_000],
    "blank texts": ["", " ", "\t"],
    "templates and formulas": ["{{ ti }}", "=1+1", "{% raise %}"],
    "bytes": [b"\xff", b"9000001", b""],
    "floats": [math.nan, math.inf, -math.inf, 1e308, -0.0, 2.0**53],
    "decimals": [Decimal(10) ** 60, Decimal("1E-60"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")],
    "instants": [datetime.max, datetime.min, datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))],
    "dates": [date.max, date.min],
    "durations": [timedelta.max, timedelta(0)],
    "nested lists": [[], [[[]]], [{"a": [None, "\ud800"]}]],
    "objects": [{}, {"a": {"b": 10**400}}, {1: 2}],
    "gaps": [None, None],
    "tuples and sets": [(1,), frozenset({1}), set()],
    "Arrow's scalars": [pa.scalar(2**64 - 1, pa.uint64()), pa.scalar(7, pa.int8()), pa.scalar(None, pa.null())],
}
ALIKE["everything at once"] = [values[0] for values in ALIKE.values()]


def given_in(column: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """A good row, one for each value, and a row that the API refuses: its issue needs the row's original values."""
    good = [row | {"note": None} for row in rows(len(values) + 2)]
    good[-1]["badgeMetaId"] = DELETED
    for row, value in zip(good[1:], [*values, values[0]], strict=True):
        if column != "badgeMetaId" or row["badgeMetaId"] != DELETED:
            row[column] = value
    return good


def imported(simulator: RunningSimulator, task: Tasks, dataset: Any, reports: Path, read: int) -> None:
    """Import the dataset as a job of its own: a true summary and a report, or an error before any request."""
    before = sum(simulator.simulator.request_counts().values())
    one = task(run_id=f"run {next(_runs)}")
    try:
        summary = one.run(dataset, max_rejected="100%")
    except AirflowException as error:
        refusal = error.__cause__
    else:
        check_account(summary, read)
        report = BadgeErrorReportOperator(task_id="report", job=summary, report_path=reports.as_uri())
        assert report.execute(one.context())
        return
    assert isinstance(refusal, DatasetError), refusal
    assert sum(simulator.simulator.request_counts().values()) == before


def check_account(summary: dict[str, Any], read: int) -> None:
    """Every row has an end, and none is left open."""
    assert summary["rows_read"] == read == sum(summary[name] for name in ENDS)
    assert not summary["unknown"]
    assert not summary["not_sent"]


@pytest.mark.parametrize("kind", ALIKE)
def test_any_python_values_end_in_the_account(
    simulator: RunningSimulator, task: Tasks, tmp_path: Path, kind: str
) -> None:
    for column in COLUMNS:
        given = given_in(column, ALIKE[kind])
        imported(simulator, task, given, tmp_path / column, len(given))


#: Values as JSON writes them, or nearly.
WRITTEN = [
    "1e400", "NaN", "9" * 5_000, "123456789012345678901234567890", '"\\ud800"', '"\\u0000"', "1.0", "0123", "-0",
    "[" * 100 + "]" * 100, "[" * 5_000 + "]" * 5_000, '{"":[{"":null}]}', "1 2", "'a'",
]  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN, ids=lambda text: text[:20])
def test_any_json_lines_end_in_the_account(
    simulator: RunningSimulator, task: Tasks, tmp_path: Path, written: str
) -> None:
    for column in ("customerId", "note"):
        given = [row | {column: "VALUE"} if number == 1 else row for number, row in enumerate(rows(3))]
        given[-1]["badgeMetaId"] = DELETED
        lines = "".join(json.dumps(row) + "\n" for row in given).replace('"VALUE"', written)
        (tmp_path / "a.jsonl").write_text(lines)
        imported(simulator, task, str(tmp_path / "a.jsonl"), tmp_path / column, 3)
