"""Files that are not as the operator's own extract writes them: what is assumed of them is said, or set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import ends, parquet, rows

Tasks = Callable[..., Any]


def semicolons(path: Path, line_end: str = "\n") -> Path:
    lines = ["BADGE_META_ID;Customer Id;EARN_EVENT_DATE;earn_expires_on;earn_event_date_iso"]
    lines += [
        ";".join(map(str, (*row.values(), "2025-01-15 12:00:00 UTC" if row["customerId"] % 2 else "")))
        for row in rows(3)
    ]
    path.write_text("\n".join(lines) + line_end)
    return path


def test_assumptions_about_files_are_in_summary_and_log(
    simulator: RunningSimulator, task: Tasks, tmp_path: Path, logged: Callable[[int], str]
) -> None:
    semicolons(tmp_path / "a.csv")
    (tmp_path / "a.csv.metadata").write_bytes(b"\0")
    summary = task().run(tmp_path)
    assert ends(summary) == {"accepted": 3}
    assert summary["assumed"] == {
        "format": "CSV",
        "delimiter": ";",
        "left_out": [f"{tmp_path}/a.csv.metadata"],
        "columns": {
            "badgeMetaId": "BADGE_META_ID",
            "customerId": "Customer Id",
            "earnEventDate": "EARN_EVENT_DATE and earn_event_date_iso",
            "earnExpiresOn": "earn_expires_on",
        },
    }
    assert "a.csv.metadata" in logged(20)


@pytest.mark.parametrize(("on_empty", "kind"), [("skip", AirflowSkipException), ("fail", AirflowFailException)])
def test_a_dataset_without_rows_ends_as_asked(
    simulator: RunningSimulator, task: Tasks, tmp_path: Path, on_empty: str, kind: type[Exception]
) -> None:
    empty = tmp_path / "night"
    empty.mkdir()
    summary = task().run(empty)
    assert (summary["rows_read"], summary["assumed"]["on_empty"]) == (0, "succeed")
    error, pushed = task(run_id="two").fail(empty, on_empty=on_empty)
    assert isinstance(error, kind)
    assert "no rows" in str(error)
    assert (pushed is None) == (on_empty == "fail")
    assert ends(task(run_id="three").run(rows(1), on_empty=on_empty)) == {"accepted": 1}


def test_a_cut_file_is_refused_before_sending(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("badge_meta_id,earn_event_date,earn_expires_on,customer_id\n654e08f2041fd452b3ef5b2e,1,2,123")
    error, _ = task().fail(path)
    assert "allow_cut_end=True" in str(error)
    assert simulator.simulator.request_counts() == {}
    assert task().run(path, allow_cut_end=True, max_rejected=1)["rows_read"] == 1


def test_a_given_format_and_unit_are_used(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    given = rows(3)
    for row in given:
        row["earnEventDate"] *= 1_000
        row["earnExpiresOn"] *= 1_000
    parquet(tmp_path / "000.dat", given)
    summary = task().run(tmp_path / "000.dat", dataset_format="parquet", timestamp_unit="ms")
    assert ends(summary) == {"accepted": 3}
    assert {int(grant.earned_at) for grant in simulator.store.grants()} == {rows(1)[0]["earnEventDate"]}
