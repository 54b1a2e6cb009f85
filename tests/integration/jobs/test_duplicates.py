"""Equal rows: in one file, over several jobs, and where duplicates or a second badge are wanted or not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.exceptions import DatasetError, UnknownOrganisationError
from airflow_provider_capillary.jobs import import_job

from .trial import Trial


@pytest.fixture(params=[4_000, 3], ids=["one window", "windows of three rows"])
def window_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal rows may be read together, or with an hour between them."""
    monkeypatch.setattr(import_job, "WINDOW_ROWS", request.param)


def on_other_dates(rows: list[dict[str, Any]], seconds: int = 1_000) -> list[dict[str, Any]]:
    return [row | {"earnEventDate": row["earnEventDate"] + seconds} for row in rows]


# -- skip and fail ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("window_rows")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_repeated_row_is_sent_once(trial: Trial, concurrency: int) -> None:
    rows = trial.rows(10)
    result = trial.run(rows + rows[:4] + rows[2:3], concurrency=concurrency)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10, "already_accepted": 5})
    assert trial.times_granted() == [1]


def test_spelling_does_not_make_two_rows_of_one(trial: Trial) -> None:
    [row] = trial.rows(1)
    rows = [
        row,
        row | {"badgeMetaId": row["badgeMetaId"].upper()},
        row | {"customerId": str(row["customerId"])},
        row | {"earnEventDate": "2025-02-19T21:20:00Z"},
        row | {"earnEventDate": "2025-02-20T02:50:00+05:30"},
        row | {"earnEventDate": float(row["earnEventDate"])},
        row | {"earnExpiresOn": row["earnExpiresOn"] + 1},
    ]
    result = trial.run(rows)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 1, "already_accepted": 6})
    assert len(trial.simulator.store) == 1


@pytest.mark.usefixtures("window_rows")
def test_fail_refuses_equal_rows_before_sending(trial: Trial) -> None:
    rows = trial.rows(10)
    with pytest.raises(DatasetError, match="row 11"):
        trial.run([*rows, rows[1]], on_duplicate="fail")
    assert (trial.calls(), trial.states()) == (0, {})
    result = trial.run(rows, on_duplicate="fail", run_id="repaired")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10})


def test_fail_refuses_rows_granted_earlier(trial: Trial) -> None:
    rows = trial.rows(10)
    trial.run(rows[:2])
    with pytest.raises(DatasetError, match="row 1 "):
        trial.run(rows, on_duplicate="fail", run_id="night-2")
    assert len(trial.simulator.store) == 2


def test_fail_accepts_a_retry_of_the_same_job(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 429, "first": 2})
    trial.run(trial.rows(10), on_duplicate="fail")
    trial.faults()
    result = trial.run(trial.rows(10), on_duplicate="fail")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10})
    assert trial.times_granted() == [1]


# -- allow -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("window_rows")
def test_allow_grants_every_repeat(trial: Trial) -> None:
    rows = trial.rows(5)
    result = trial.run(rows + rows[:2] + rows[:1], on_duplicate="allow")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 8})
    assert Counter(trial.granted().values()) == {3: 1, 2: 1, 1: 3}


@pytest.mark.usefixtures("window_rows")
def test_allow_grants_nothing_new_for_the_same_file(trial: Trial) -> None:
    rows = trial.rows(5) + trial.rows(3)
    trial.run(rows, on_duplicate="allow")
    result = trial.run(rows, on_duplicate="allow", run_id="night-2", batch_size=3, concurrency=4)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 8})
    assert (result.summary.requests, len(trial.simulator.store)) == (0, 8)


def test_allow_grants_only_additional_repeats(trial: Trial) -> None:
    rows = trial.rows(2)
    trial.run(rows + rows[:1], on_duplicate="allow")
    result = trial.run(rows + rows + rows, on_duplicate="allow", run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 3, "accepted": 3})
    assert trial.times_granted() == [3]


def test_allow_works_where_request_ids_are_checked(trial: Trial) -> None:
    trial.start(refuse_repeated_request_ids=True)
    result = trial.run(trial.rows(1) * 3, on_duplicate="allow", batch_size=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 3})
    assert len(trial.simulator.store) == 3


@pytest.mark.parametrize("applied", [True, False])
def test_allow_resends_nothing_reads_cannot_tell_apart(trial: Trial, applied: bool) -> None:
    rows = trial.rows(1) * 2
    trial.faults({"kind": "drop", "at": "after_applying" if applied else "after_reading", "numbers": [2]})
    result = trial.run(rows, on_duplicate="allow", batch_size=1, max_unknown=1)
    assert trial.ends(result) == {"accepted": 1, "unknown": 1}
    assert len(trial.simulator.store) == (2 if applied else 1)


def test_request_ids_are_never_reused(trial: Trial) -> None:
    trial.start(refuse_repeated_request_ids=True)
    trial.faults(
        {"kind": "status", "status": 429, "numbers": [1]},
        {"kind": "status", "status": 413, "numbers": [2]},
        {"kind": "drop", "at": "after_reading", "numbers": [3]},
        {"kind": "row_error", "code": 521, "numbers": [5], "positions": [1]},
    )
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    [(ids, distinct)] = trial.ask_ledger("SELECT count(*), count(DISTINCT request_id) FROM capillary_batch")
    assert ids == distinct == trial.calls()


# -- at most once a customer -----------------------------------------------------------------------------


@pytest.mark.usefixtures("window_rows")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_once_per_customer_grants_one_row(trial: Trial, concurrency: int) -> None:
    rows = trial.rows(6)
    result = trial.run(rows + on_other_dates(rows[:4]), once_per_customer=True, concurrency=concurrency)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 6, "already_accepted": 4})
    assert len(trial.simulator.store) == 6
    assert {grant.earned_at for grant in trial.simulator.store.grants()} == {row["earnEventDate"] for row in rows}


def test_once_per_customer_counts_earlier_jobs(trial: Trial) -> None:
    trial.run(trial.rows(3))
    result = trial.run(on_other_dates(trial.rows(5)), once_per_customer=True, run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 3, "accepted": 2})
    assert len(trial.simulator.store) == 5


def test_once_per_customer_is_once_for_each_badge(trial: Trial) -> None:
    other = trial.badge[:-1] + "2"
    result = trial.run(trial.rows(3) + trial.rows(3, badgeMetaId=other), once_per_customer=True)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 6})


def test_once_per_customer_retries_a_refused_badge_later(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "positions": [1]})
    trial.run(trial.rows(3), once_per_customer=True)
    trial.faults()
    result = trial.run(on_other_dates(trial.rows(3)), once_per_customer=True, run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 2, "accepted": 1})


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_once_per_customer_adds_nothing_to_unproven_badges(trial: Trial, policy: str) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    trial.run(trial.rows(3), once_per_customer=True, on_unknown="hold")
    result = trial.run(on_other_dates(trial.rows(3)), once_per_customer=True, on_unknown=policy, run_id="night-2")
    assert trial.ends(result).keys() <= {"unknown", "not_sent", "already_accepted"}
    assert len(trial.simulator.store) == 3


@pytest.mark.timeout(30)
def test_once_per_customer_ends_after_allowed_duplicates(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "positions": [1]})
    trial.run(trial.rows(1) * 2, on_duplicate="allow", max_rejected=1)
    trial.faults()
    result = trial.run(trial.rows(1), once_per_customer=True, run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 1})
    assert len(trial.simulator.store) == 1


@pytest.mark.usefixtures("window_rows")
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_once_per_customer_skips_repeats_of_a_refused_row(trial: Trial, batch_size: int) -> None:
    rows = trial.rows(2)
    rows += on_other_dates(rows)
    trial.faults({"kind": "row_error", "code": 1026, "customer_id": trial.first_customer})
    for _ in range(2):  # a retry counts the same
        result = trial.run(rows, once_per_customer=True, batch_size=batch_size, max_rejected=2)
        ends = {"accepted": 1, "already_accepted": 1, "rejected": 2}
        assert (result.error, trial.ends(result)) == (None, ends)
    assert trial.states() == {"accepted": 1, "rejected": 1}


@pytest.mark.parametrize("ended", ["rejected", "unknown"])
@pytest.mark.parametrize("later_once", [True, False])
def test_once_per_customer_a_retry_counts_its_own_row(trial: Trial, ended: str, later_once: bool) -> None:
    rows = trial.rows(2)
    unknown = {"kind": "drop", "at": "after_reading", "numbers": [1]}
    trial.faults({"kind": "row_error", "code": 1026, "positions": [1]} if ended == "rejected" else unknown)
    first = trial.run(rows, once_per_customer=True, on_unknown="hold", max_rejected=1, max_unknown=2)
    trial.faults()
    trial.run(on_other_dates(rows), once_per_customer=later_once, run_id="night-2", on_unknown="hold")
    again = trial.run(rows, once_per_customer=True, on_unknown="hold", max_rejected=1, max_unknown=2)
    assert (again.error, trial.ends(again)) == (None, trial.ends(first))


# -- a row that an earlier job left unproven, twice in a later file --------------------------------------


@pytest.mark.usefixtures("window_rows")
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("policy", ["hold", "verify"])
def test_a_repeated_unknown_row_is_settled_once(trial: Trial, applied: bool, policy: str) -> None:
    rows = trial.rows(2)
    trial.prove_reads()
    trial.faults({"kind": "drop", "at": "after_applying" if applied else "after_reading", "numbers": [1]})
    trial.run(rows, on_unknown="hold")
    result = trial.run(rows + rows, on_unknown=policy, run_id="night-2", max_unknown=4)
    ends = {"unknown": 4} if policy == "hold" else {"accepted": 2, "already_accepted": 2}
    assert (result.error, trial.ends(result)) == (None, ends)
    assert trial.times_granted() == [1]
    assert len(trial.granted()) == 1 + (2 if applied or policy == "verify" else 0)


@pytest.mark.usefixtures("window_rows")
def test_once_per_customer_settles_an_earlier_unknown_row(
    trial: Trial,
) -> None:
    rows = trial.rows(2)
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    trial.run(rows, on_unknown="hold", once_per_customer=True)
    result = trial.run(rows + on_other_dates(rows), once_per_customer=True, run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 2, "already_accepted": 2})
    assert len(trial.simulator.store) == 2


# -- the same identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["epoch_seconds", "iso_inline", "iso_fields"])
@pytest.mark.parametrize("second", ["epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields"])
def test_another_format_or_method_regrants_nothing(trial: Trial, first: str, second: str) -> None:
    trial.start(methods=("PUT", "POST"))
    rows = trial.rows(6)
    result = trial.run(rows, client={"timestamp_format": first})
    assert (result.error, trial.ends(result)) == (None, {"accepted": 6})
    other = {"timestamp_format": second, "import_method": "POST"}
    result = trial.run(rows, run_id="night-2", client=other, batch_size=5, concurrency=3)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 6})
    assert (result.summary.requests, len(trial.simulator.store)) == (0, 6)


def test_another_file_form_regrants_nothing(trial: Trial, tmp_path: Path) -> None:
    rows = trial.rows(6)
    trial.run(rows)
    names = {"badgeMetaId": "medal", "customerId": "member", "earnEventDate": "won", "earnExpiresOn": "until"}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({names[name]: each for name, each in row.items()}) + "\n" for row in rows))
    result = trial.run(str(path), field_mapping=names, run_id="night-2")
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 6})


def test_a_new_organisation_name_beside_grants_is_refused(trial: Trial) -> None:
    trial.run(trial.rows(1), organisation="acme")
    calls = trial.calls("")
    for night in ("night-2", "night-3"):
        with pytest.raises(UnknownOrganisationError, match="organisations rename acme acme-oauth"):
            trial.run(trial.rows(1), organisation="acme-oauth", run_id=night)
    assert trial.calls("") == calls  # no badge was looked up either
    assert trial.times_granted() == [1]


def test_case_alone_makes_no_new_organisation(trial: Trial) -> None:
    trial.run(trial.rows(2), organisation="Acme EU")
    again = trial.run(trial.rows(2), organisation="ACME eu", run_id="night-2")
    assert trial.ends(again) == {"already_accepted": 2}
    assert trial.times_granted() == [1]


def test_a_dry_run_registers_no_organisation(trial: Trial) -> None:
    trial.run(trial.rows(1), organisation="typo", dry_run=True)
    trial.run(trial.rows(1), organisation="acme")
    for dry_run in (True, False):
        with pytest.raises(UnknownOrganisationError):
            trial.run(trial.rows(1), organisation="typo", run_id="night-2", dry_run=dry_run)
    assert trial.times_granted() == [1]
