"""The end of an import's log: short lines, each reason on its own, and advice that a reader of the log can follow."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core.summary import Reason, Summary
from airflow_provider_capillary.jobs.import_job import ImportResult
from airflow_provider_capillary.operators.import_task import end_block

JOB = "6f1c0a52-0d0e-5c5b-9a55-2f3a6f5f6a10"


def lines(**counts: Any) -> list[str]:
    names = ("accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent", "requests", "batches")
    given: dict[str, Any] = dict.fromkeys(names, 0) | counts
    rows = sum(given[name] for name in names[:6])
    times = {"started_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-01T00:00:01+00:00"}
    summary = Summary(**({"job_id": JOB, "rows_read": rows, "reasons": (), "ledger": "l", **times} | given))
    return list(end_block(ImportResult(summary)))


def test_a_success_has_counts_and_no_advice() -> None:
    assert lines(accepted=2, requests=1) == [
        f"Job {JOB}",
        "2 rows read: 2 accepted, 0 already accepted, 0 rejected, 0 invalid, 0 unknown, 0 not sent; 1 requests",
    ]


def test_each_reason_has_its_line() -> None:
    reasons = (Reason("send", 1054, "no such badge", 1), Reason("validate", None, "no customer", 3))

    found = lines(rejected=1, reasons=reasons)

    assert [line.partition(" [")[0] for line in found[2:4]] == [
        "  1 x send 1054: no such badge",
        "  3 x validate: no customer",
    ]
    assert found[4] == "The task succeeds within its budgets, but 1 row is to be looked at."


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ("rejected", "import_badge_file"),
        ("invalid", "errors.csv"),
        ("unknown", "Settle unknown"),
        ("not_sent", "clear"),
    ],
)
def test_the_advice_fits_a_reader_of_the_log(state: str, named: str) -> None:
    text = "\n".join(lines(**{state: 2}))

    assert named in text
    assert "tab Badge import" in text
    assert f"airflow capillary errors {JOB}" in text
    assert "Operator" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_dataset_without_rows_is_named() -> None:
    assert lines()[2].startswith("The dataset has no rows. If that is not right")
