"""What is found before anything is sent: missing badges, invalid rows, empty datasets; and the dry run."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    BudgetExceededError,
    DatasetError,
    ImportInterruptedError,
    ImportStoppedError,
)

from .trial import Trial

MISSING = "f" * 24


# -- badges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [MISSING, MISSING.upper()])
def test_rows_of_missing_badges_are_rejected_unsent(trial: Trial, spelled: str) -> None:
    rows = trial.rows(20)
    for number in (3, 11):
        rows[number]["badgeMetaId"] = spelled
    result = trial.run(rows, check_badges=True, max_rejected=2)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 18, "rejected": 2})
    assert [issue[:4] for issue in trial.issues_of(result)] == [
        (4, "rejected", "badge_check", 1054),
        (12, "rejected", "badge_check", 1054),
    ]
    assert trial.calls("badgeMeta/") == 2
    assert sum(trial.states().values()) == 18


def test_the_ledger_learns_badge_names(trial: Trial) -> None:
    rows = [*trial.rows(3), *trial.rows(1, first=3, badgeMetaId=MISSING)]

    trial.run(rows, check_badges=True, dry_run=True, max_rejected=1)

    called = {badge.id: badge.name for badge in trial.simulator.settings.badges}
    badge = rows[0]["badgeMetaId"]
    assert trial.ask_ledger("SELECT badge_meta_id, name FROM capillary_badge_name") == [(badge, called[badge])]


def test_rows_of_missing_badges_count_for_the_budget(trial: Trial) -> None:
    rows = trial.rows(20)
    rows[3]["badgeMetaId"] = MISSING
    result = trial.run(rows, check_badges=True, max_rejected=0)
    assert isinstance(result.error, BudgetExceededError)
    assert trial.ends(result) == {"accepted": 19, "rejected": 1}


def test_only_missing_badges_fail_before_sending(trial: Trial) -> None:
    with pytest.raises(ImportStoppedError, match="none of the 1 badges"):
        trial.run(trial.rows(20, badgeMetaId=MISSING), check_badges=True)
    assert trial.calls() == 0


@pytest.mark.parametrize("answered", [True, False])
def test_a_stop_during_look_up_begins_no_job(trial: Trial, answered: bool) -> None:
    stop = trial.stop_signal()
    trial.clock.meanwhile = lambda seconds: stop.request(ImportInterruptedError("asked to stop"))
    if not answered:
        trial.faults({"kind": "status", "operation": "badge", "status": 503})
    rows = [*trial.rows(1), *trial.rows(19, first=1, badgeMetaId=MISSING)]
    with pytest.raises(ImportInterruptedError):
        trial.run(rows, check_badges=True, stop=stop, requests_per_minute=60, jitter=0.5)
    assert trial.calls("badgeMeta/") == 1
    assert (trial.calls(), trial.ask_ledger("SELECT count(*) FROM capillary_job")) == (0, [(0,)])


def test_each_badge_is_looked_up_once(trial: Trial) -> None:
    result = trial.run(trial.rows(300), check_badges=True, batch_size=100)
    assert result.error is None
    assert trial.calls("badgeMeta/") == 1


def test_the_look_up_retries_then_gives_up_unsent(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 503, "operation": "badge", "times": 2})
    assert trial.run(trial.rows(4), check_badges=True).error is None
    trial.faults({"kind": "status", "status": 503, "operation": "badge"})
    with pytest.raises(ApiUnavailableError):
        trial.run(trial.rows(8), check_badges=True, run_id="night-2")
    assert trial.calls() == 1


def test_refused_credentials_at_look_up_send_nothing(trial: Trial) -> None:
    with pytest.raises(AuthenticationError):
        trial.run(trial.rows(4), check_badges=True, client={"password": "wrong"})
    assert trial.calls() == 0


# -- rows --------------------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    None,
    "",
    " ",
    True,
    [],
    ["a"],
    {},
    {"a": 1},
    1.5,
    math.nan,
    math.inf,
    b"\x00",
    "\x00",
    "x" * 99,
]


@pytest.mark.parametrize("check_badges", [True, False])
@pytest.mark.parametrize("column", ["badgeMetaId", "customerId", "earnEventDate", "earnExpiresOn"])
def test_no_value_stops_the_other_rows(trial: Trial, column: str, check_badges: bool) -> None:
    odd = [row | {column: value} for row, value in zip(trial.rows(len(ODD_VALUES)), ODD_VALUES, strict=True)]
    if column.startswith("earn"):
        odd = [row for row in odd if row[column] != 1.5]
    rows = [*odd, *trial.rows(4, first=100)]
    result = trial.run(rows, check_badges=check_badges, max_rejected="100%")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4, "invalid": len(odd)})
    assert {stage for _, _, stage, _, _ in trial.issues_of(result)} == {"validate"}


def test_an_invalid_row_names_column_and_reason(trial: Trial) -> None:
    rows = trial.rows(4)
    rows[1]["earnEventDate"] = "2025-01-01T00:00:00"
    rows[2]["earnExpiresOn"] = rows[2]["earnEventDate"]
    rows[3]["earnEventDate"] *= 1_000
    result = trial.run(rows, max_rejected=3)
    assert trial.ends(result) == {"accepted": 1, "invalid": 3}
    messages = [message for *_, message in trial.issues_of(result)]
    assert "earnEventDate" in messages[0]
    assert "timezone" in messages[0]
    assert "earnExpiresOn" in messages[1]
    assert "milliseconds" in messages[2]


@pytest.mark.parametrize("check_badges", [True, False])
def test_only_invalid_rows_fail_without_sending(trial: Trial, check_badges: bool) -> None:
    result = trial.run(trial.rows(10, customerId="nobody"), check_badges=check_badges)
    assert isinstance(result.error, BudgetExceededError)
    assert trial.ends(result) == {"invalid": 10}
    assert (trial.calls(), trial.states()) == (0, {})


def test_a_retry_reports_invalid_rows_once(trial: Trial) -> None:
    rows = trial.rows(4)
    rows[0]["customerId"] = "nobody"
    first = trial.run(rows)
    again = trial.run(rows)
    assert trial.issues_of(first) == trial.issues_of(again)
    assert Counter(trial.ends(again)) == {"accepted": 3, "invalid": 1}


# -- nothing to do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_badges", [True, False])
@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_an_empty_file_succeeds_without_a_request(
    trial: Trial, tmp_path: Path, ending: str, check_badges: bool
) -> None:
    path = tmp_path / f"empty.{ending}"
    columns = list(trial.rows(1)[0])
    path.write_text(",".join(columns) + "\n" if ending == "csv" else "")
    if ending == "parquet":
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in columns}), path)
    result = trial.run(str(path), check_badges=check_badges)
    assert (result.error, trial.ends(result), result.summary.rows_read) == (None, {}, 0)
    assert trial.simulator.simulator.request_counts() == {}


def test_an_empty_list_succeeds_without_a_request(trial: Trial) -> None:
    result = trial.run([], check_badges=True, canary=True)
    assert (result.error, trial.ends(result), result.summary.rows_read) == (None, {}, 0)
    assert trial.simulator.simulator.request_counts() == {}


def test_a_missing_column_is_named_before_sending(trial: Trial) -> None:
    rows = [{name: value for name, value in row.items() if name != "customerId"} for row in trial.rows(4)]
    with pytest.raises(DatasetError, match="customerId"):
        trial.run(rows)
    assert (trial.calls(), trial.states()) == (0, {})


# -- the dry run -----------------------------------------------------------------------------------------------


def test_a_dry_run_leaves_everything_to_the_real_job(trial: Trial) -> None:
    rows = trial.rows(10)
    rows[3]["customerId"] = "nobody"
    rows[5]["badgeMetaId"] = MISSING
    rows.append(rows[0])
    result = trial.run(rows, dry_run=True, check_badges=True, max_rejected=2)
    assert (result.error, result.summary.dry_run) == (None, True)
    assert trial.ends(result) == {"invalid": 1, "rejected": 1, "already_accepted": 1, "not_sent": 8}
    assert (trial.calls(), trial.states()) == (0, {})
    result = trial.run(rows, check_badges=True, max_rejected=2)
    assert (result.error, result.summary.dry_run) == (None, False)
    assert trial.ends(result) == {"invalid": 1, "rejected": 1, "already_accepted": 1, "accepted": 8}


def test_a_dry_run_reports_what_would_be_sent(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    trial.run(trial.rows(8), on_unknown="hold")
    before = trial.ask_ledger("SELECT * FROM capillary_earned_badge")
    result = trial.run(trial.rows(12), dry_run=True, run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4, "not_sent": 8})
    assert trial.ask_ledger("SELECT * FROM capillary_earned_badge") == before
    assert trial.calls() == 2
