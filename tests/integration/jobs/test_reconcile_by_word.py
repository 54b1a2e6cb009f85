"""Rows that an import left unknown, settled by the word of a person."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.exceptions import ConfigurationError

from .reconciling import BY, LOST_AFTER, held, reconcile, reported
from .trial import Trial


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
