"""Rows that an import left unknown, settled afterwards: by reading back, or by the word of a person."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.exceptions import BudgetExceededError, ConfigurationError

from .reconciling import BY, LOST_AFTER, LOST_BEFORE, held, reconcile, reported
from .trial import Trial


def test_granted_rows_are_accepted_without_sending(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    calls = trial.calls()
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown, result.error) == (4, 0, 0, None)
    assert trial.calls() == calls
    assert trial.states() == {"accepted": 12}
    assert reported(trial, first) == [(row, "accepted") for row in (5, 6, 7, 8)]
    assert {issue[4].partition("; found")[2] for issue in trial.issues_of(first)} == {f" by reading back ({BY})"}
    summary = trial.summary_of(first)
    assert (summary["accepted"], summary["unknown"], summary["settled"]) == (12, 0, {"accepted": 4})


def test_absent_rows_are_freed_and_sent_once(trial: Trial) -> None:
    first = held(trial, {**LOST_BEFORE, "numbers": [2]})
    calls = trial.calls()
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown, result.error) == (0, 4, 0, None)
    assert trial.calls() == calls
    assert trial.states() == {"accepted": 8, "planned": 4}
    assert reported(trial, first) == [(row, "not_sent") for row in (5, 6, 7, 8)]
    assert trial.summary_of(first)["not_sent"] == 4
    again = trial.run(trial.rows(12), run_id="night-2")
    assert (again.error, trial.ends(again)) == (None, {"already_accepted": 8, "accepted": 4})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("again", [{}, {"max_tries": 2}], ids=["retry", "clear"])
def test_the_import_continues_from_what_was_settled(trial: Trial, again: dict[str, Any]) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    result = reconcile(trial, first)
    assert (result.accepted, result.resend) == (4, 4)
    later = trial.run(trial.rows(12), **again)
    assert later.error is None
    assert later.summary.unknown == later.summary.not_sent == 0
    assert trial.states() == {"accepted": 12}
    assert trial.times_granted() == [1]
    assert sum(trial.granted().values()) == 12


def test_an_inconclusive_read_says_why(trial: Trial) -> None:
    trial.start(earns_detail=False)
    rows = trial.rows(2)
    trial.prove_reads()
    trial.grant_elsewhere({**rows[0], "earnEventDate": rows[0]["earnEventDate"] + 60})
    first = held(trial, {**LOST_BEFORE, "numbers": [1]}, rows=rows)
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown) == (0, 1, 1)
    assert [(reason.stage, reason.rows) for reason in result.reasons] == [("verify", 1)]
    assert "proves neither" in result.reasons[0].message
    assert isinstance(result.error, BudgetExceededError)
    assert "1 of 2 rows stay unknown; allowed: 0" in str(result.error)
    assert reported(trial, first) == [(1, "unknown"), (2, "not_sent")]


def test_an_unreadable_customer_stays_unknown_alone(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    trial.faults({"kind": "status", "status": 400, "operation": "customer_badge", "numbers": [2]})
    result = reconcile(trial, first)
    assert (result.accepted, result.unknown) == (3, 1)
    assert "refuses to read" in result.reasons[0].message


@pytest.mark.parametrize(("most", "well"), [(4, True), ("100%", True), (3, False), ("75%", False)])
def test_the_budget_says_how_many_may_stay_unknown(trial: Trial, most: int | str, well: bool) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    trial.faults({"kind": "status", "status": 400, "operation": "customer_badge"})
    result = reconcile(trial, first, max_unknown=parse_budget("max_unknown", most))
    assert (result.error is None) == well


def test_an_equal_rows_grant_proves_nothing(trial: Trial) -> None:
    """Two equal rows: the second was granted, the first is not known. The sighting may be either's."""
    rows = trial.rows(1) * 2
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    first = trial.run(rows, on_duplicate="allow", batch_size=1, on_unknown="hold")
    trial.faults()
    assert trial.states() == {"accepted": 1, "unknown": 1}
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown) == (0, 0, 1)


def test_reads_wait_for_verify_after(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    given_up = trial.clock.now()
    trial.clock.waits.clear()
    reconcile(trial, first, verify_after=60)
    assert sum(trial.clock.waits) == pytest.approx(60)
    assert trial.clock.now() >= given_up + 60


def test_what_is_long_ago_is_read_at_once(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    trial.clock.advance(3_600)
    trial.clock.waits.clear()
    assert reconcile(trial, first).accepted == 4
    assert trial.clock.waits == []


def test_reads_keep_to_the_budget_of_requests(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER})
    trial.clock.advance(3_600)
    begun = trial.clock.now()
    assert reconcile(trial, first, per_minute=60).accepted == 12
    assert trial.clock.now() - begun >= 11  # twelve reads, a second apart


def test_many_rows_are_settled_in_many_lists(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_capillary.ledger.listing.ODD_ROWS_AT_ONCE", 2)
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [3]})
    result = reconcile(trial, first)
    assert (result.accepted, result.resend) == (4, 4)


def test_a_job_without_unknown_rows_reads_nothing(trial: Trial) -> None:
    first = held(trial)
    result = reconcile(trial, first)
    assert (result.jobs, result.unknown_before, result.error) == (1, 0, None)
    assert trial.calls("management") == 0


def test_doing_it_again_changes_nothing(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    reconcile(trial, first)
    before = (trial.states(), trial.issues_of(first), trial.summary_of(first), trial.calls("management"))
    again = reconcile(trial, first)
    assert again.unknown_before == 0
    assert (trial.states(), trial.issues_of(first), trial.summary_of(first), trial.calls("management")) == before


def test_many_jobs_are_settled_together(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    second = held(trial, {**LOST_BEFORE, "numbers": [4]}, rows=trial.rows(12, first=100), run_id="night-2")
    result = reconcile(trial, first, second)
    assert (result.jobs, result.accepted, result.resend) == (2, 4, 4)


# -- rows that are unknown because of another row ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "end"), [(LOST_AFTER, "already_accepted"), (LOST_BEFORE, "not_sent")], ids=["granted", "not granted"]
)
@pytest.mark.parametrize(
    "settings", [{}, {"field_mapping": {"customerId": "who"}, "timezone": "Asia/Kolkata"}], ids=["plain", "mapped"]
)
def test_repeats_of_an_unknown_row_are_settled_with_it(
    trial: Trial, fault: dict[str, Any], end: str, settings: dict[str, Any]
) -> None:
    rows = trial.rows(4)
    if settings:
        for row in rows:
            row |= {"who": row.pop("customerId"), "earnEventDate": "2025-02-20T10:00:00"}
    trial.prove_reads()
    first = held(trial, {**fault, "numbers": [1]}, rows=[*rows, rows[0], rows[2]], batch_size=6, **settings)
    assert first.summary.unknown == 6
    reconcile(trial, first)
    assert [state for number, state in reported(trial, first) if number > 4] == [end, end]
    summary = trial.summary_of(first)
    assert (summary["unknown"], summary["rows_read"]) == (0, 6)
    assert summary[end] == (2 if end == "already_accepted" else 6)


def test_a_first_report_follows_a_later_settlement(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    trial.run(trial.rows(12), run_id="night-2")
    assert trial.summary_of(first)["unknown"] == 4
    result = reconcile(trial, first)
    assert result.unknown_before == 0
    assert reported(trial, first) == [(row, "already_accepted") for row in (5, 6, 7, 8)]
    assert (trial.summary_of(first)["unknown"], trial.summary_of(first)["already_accepted"]) == (0, 4)


def test_rows_held_unknown_by_a_later_job_stay(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    trial.faults({"kind": "status", "status": 400, "operation": "customer_badge"})
    second = trial.run(trial.rows(12), run_id="night-2")
    trial.faults()
    assert second.summary.unknown == 4
    assert reconcile(trial, first).unknown_before == 0
    assert trial.summary_of(first)["unknown"] == 4
    assert reconcile(trial, second, first).accepted == 4
    assert (trial.summary_of(first)["unknown"], trial.summary_of(second)["unknown"]) == (0, 0)


# -- as a person decides -----------------------------------------------------------------------------------


def test_a_persons_word_is_kept_with_the_person(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    result = reconcile(trial, first, action="accept")
    assert (result.accepted, result.unknown, result.error) == (4, 0, None)
    assert trial.calls("management") == 0
    assert {issue[4].rpartition("; ")[2] for issue in trial.issues_of(first)} == {f"accepted by the word of {BY}"}
    assert trial.ask_ledger("SELECT DISTINCT proof, settled_by, state FROM capillary_settlement") == [
        ("person", BY, "accepted")
    ]
    again = trial.run(trial.rows(12), run_id="night-2")
    assert trial.ends(again) == {"already_accepted": 12}


def test_a_persons_word_frees_rows_with_a_warning(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    calls = trial.calls()
    result = reconcile(trial, first, action="resend")
    assert (result.resend, result.unknown, result.error) == (4, 0, None)
    assert trial.calls() == calls
    assert all("may be granted twice" in issue[4] and BY in issue[4] for issue in trial.issues_of(first))
    again = trial.run(trial.rows(12), run_id="night-2")
    assert trial.ends(again) == {"already_accepted": 8, "accepted": 4}
    assert trial.times_granted() == [1, 2]  # the person was wrong


def test_a_word_can_be_limited_to_rows(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    result = reconcile(trial, first, action="accept", rows=frozenset({6, 8}), max_unknown=parse_budget("m", 2))
    assert (result.accepted, result.unknown, result.error) == (2, 2, None)
    assert reported(trial, first) == [(5, "unknown"), (6, "accepted"), (7, "unknown"), (8, "accepted")]


def test_a_slip_of_the_pen_settles_nothing(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    with pytest.raises(ConfigurationError, match=r"no unknown row of number 1, 99\. Nothing was settled"):
        reconcile(trial, first, action="resend", rows=frozenset({1, 6, 99}))
    assert trial.states() == {"accepted": 8, "unknown": 4}


def test_leaving_rows_only_counts_them(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    before = (trial.states(), trial.issues_of(first), trial.summary_of(first))
    result = reconcile(trial, first, action="leave")
    assert (result.unknown_before, result.unknown, result.error) == (4, 4, None)
    assert [(reason.stage, reason.rows) for reason in result.reasons] == [("verify", 4)]
    assert (trial.states(), trial.issues_of(first), trial.summary_of(first)) == before
