"""Revocations that are refused, cut off or stopped, and those that others come between."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.wire_reads import RevokedBadge
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ImportInterruptedError,
    JobIsRunningError,
    RequestRefusedError,
)
from airflow_provider_capillary.jobs.revoke import Revoked

from .reconciling import impatient
from .revoking import active, asked, notes, revoke
from .trial import Trial


class NoWord:
    """An API that takes every revocation and says nothing of the outcome."""

    def __init__(self, client: BadgeClient) -> None:
        self._client = client

    def revoke_earned_badge(self, *arguments: Any) -> RevokedBadge:
        return RevokedBadge(None, None)


@pytest.mark.parametrize("at", ["after_applying", "after_reading", "before_reading"])
def test_a_lost_reply_is_settled_by_asking_again(trial: Trial, at: str) -> None:
    first = trial.run(trial.rows(4))
    trial.faults({"kind": "drop", "at": at, "operation": "revoke", "numbers": [2]})
    result = revoke(trial, first)
    assert (result.revoked, result.not_active, result.error) == (4, 0, None)
    assert asked(trial) == 5
    assert active(trial) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unusable_api_leaves_the_rest_to_a_retry(trial: Trial, when: str) -> None:
    first = trial.run(trial.rows(6))
    trial.faults({"kind": "status", "status": 503, "when": when, "operation": "revoke", "first": 3})
    with pytest.raises(ApiUnavailableError):
        revoke(trial, first)
    assert trial.states() == {"accepted": 4, "revoked": 2}
    assert dict(notes(trial)) == {"revoked": 2, None: 1}
    trial.faults()
    result = revoke(trial, first)
    assert (result.revoked, result.not_active, result.already_revoked) == (4, 0, 2)
    assert active(trial) == 0


@pytest.mark.parametrize("moment", ["before_note", "before_answer"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_death_at_any_note_is_continued(trial: Trial, moment: str, number: int) -> None:
    first = trial.run(trial.rows(4))
    counted = iter(range(1, 100))

    def die() -> None:
        if next(counted) == number:
            raise trial.killed

    with pytest.raises(trial.killed):
        revoke(trial, first, **{moment: die})  # type: ignore[arg-type]
    in_doubt = moment == "before_answer"
    assert active(trial) == 4 - (number - 1) - in_doubt
    assert trial.states().get("revoked", 0) == number - 1
    open_notes = trial.ask_ledger("SELECT count(*) FROM capillary_revocation WHERE answer IS NULL")
    assert open_notes == [(int(in_doubt),)]
    result = revoke(trial, first)
    assert (result.revoked, result.not_active) == (4 - (number - 1), 0)  # what we had asked for is our doing
    assert (active(trial), trial.states()) == (0, {"revoked": 4})
    assert notes(trial) == [("revoked", 4)]


def test_one_refusal_leaves_one_badge_to_a_retry(trial: Trial) -> None:
    first = trial.run(trial.rows(6))
    trial.faults({"kind": "status", "status": 400, "code": 1026, "operation": "revoke", "numbers": [2]})
    result = revoke(trial, first)
    assert (result.revoked, result.refused) == (5, 1)
    assert isinstance(result.error, BudgetExceededError)
    assert [(reason.stage, reason.code, reason.rows) for reason in result.reasons] == [("revoke", 1026, 1)]
    assert notes(trial) == [("refused", 1), ("revoked", 5)]
    trial.faults()
    again = revoke(trial, first)
    assert (again.to_revoke, again.revoked, again.error) == (1, 1, None)
    assert notes(trial) == [("revoked", 6)]


def test_refusals_one_after_the_other_stop_the_job(trial: Trial) -> None:
    first = trial.run(trial.rows(12))
    trial.faults({"kind": "status", "status": 400, "code": 1026, "operation": "revoke", "first": 3})
    with pytest.raises(RequestRefusedError):
        revoke(trial, first)
    assert asked(trial) == 2 + 6
    assert trial.states() == {"accepted": 10, "revoked": 2}


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_refusal_of_everything_stops_at_the_first(trial: Trial, status: int) -> None:
    first = trial.run(trial.rows(4))
    trial.faults({"kind": "status", "status": status, "operation": "revoke"})
    with pytest.raises(AuthenticationError if status == 401 else RequestRefusedError, match=str(status)):
        revoke(trial, first)
    assert asked(trial) == 1
    assert trial.states() == {"accepted": 4}


def test_an_unconfirmed_revocation_is_not_believed(trial: Trial) -> None:
    first = trial.run(trial.rows(2))
    result = revoke(trial, first, revoker=NoWord)
    assert (result.revoked, result.unconfirmed) == (0, 2)
    assert isinstance(result.error, BudgetExceededError)
    assert trial.states() == {"accepted": 2}
    assert notes(trial) == [("unconfirmed", 2)]


def test_a_stop_revokes_no_more(trial: Trial) -> None:
    first = trial.run(trial.rows(6))
    stop = trial.stop_signal()
    counted = iter(range(1, 100))

    def stop_at_two() -> None:
        if next(counted) == 2:
            stop.request(ImportInterruptedError("asked to"))

    with pytest.raises(ImportInterruptedError, match="later try goes on"):
        revoke(trial, first, stop=stop, before_answer=stop_at_two)
    assert (active(trial), trial.states()) == (4, {"accepted": 4, "revoked": 2})


def test_revocations_keep_to_the_budget_of_requests(trial: Trial) -> None:
    first = trial.run(trial.rows(12))
    begun = trial.clock.now()
    assert revoke(trial, first, per_minute=60).revoked == 12
    assert trial.clock.now() - begun >= 11


def test_another_organisation_s_connection_is_refused(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    with pytest.raises(ConfigurationError, match=r"'org'.*'elsewhere'"):
        revoke(trial, first, organisation="elsewhere")
    assert asked(trial) == 0


def test_a_missing_job_is_refused_before_revoking(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    with pytest.raises(ConfigurationError, match="holds no job 'none such'"):
        revoke(trial, first, "none such")
    assert asked(trial) == 0


def test_an_import_that_runs_is_left_alone(trial: Trial) -> None:
    refused: list[int] = []

    def come_by() -> None:
        [(job_id,)] = trial.ask_ledger("SELECT job_id FROM capillary_job")
        try:
            revoke(trial, job_id, stop=impatient())
        except JobIsRunningError:
            refused.append(trial.states()["accepted"])

    trial.moments.at("sent", come_by, number=2)
    result = trial.run(trial.rows(12), ledger={"owner": "another machine/7/1"})
    assert refused == [4]
    assert (trial.ends(result), asked(trial)) == ({"accepted": 12}, 0)


def test_two_at_once_revoke_each_row_once(trial: Trial) -> None:
    first = trial.run(trial.rows(6))
    others: list[Revoked] = []

    def meanwhile() -> None:
        if not others:
            others.append(revoke(trial, first))

    result = revoke(trial, first, before_answer=meanwhile)
    assert others[0].revoked == 6
    assert (result.to_revoke, result.refused, result.unconfirmed) == (
        4,
        0,
        0,
    )  # the first batch: a page is read at once
    assert (active(trial), trial.states(), notes(trial)) == (0, {"revoked": 6}, [("revoked", 6)])
    assert trial.summary_of(first)["revoked"] == 6
