"""What an import granted, taken back: how much, from whom, what is noted, and what no import grants again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.facts import RevokedBadge
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ImportInterruptedError,
    JobIsRunningError,
    RequestRefusedError,
)
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.ledger.sql_ledger import SqlLedger
from airflow_provider_capillary.revoke_job import Revocations, Revoked, RevokeJob

if TYPE_CHECKING:
    from airflow_provider_capillary.import_job import ImportResult
    from tests.integration.importing.conftest import Trial

BY = "dag undo, run 1"


class Watched(SqlLedger):
    """A ledger of which a test may see, or disturb, each note."""

    before_note: Callable[[], object] = staticmethod(lambda: None)
    before_answer: Callable[[], object] = staticmethod(lambda: None)

    def note_revocation(self, *arguments: Any, **named: Any) -> None:
        self.before_note()
        super().note_revocation(*arguments, **named)

    def answer_revocation(self, *arguments: Any, **named: Any) -> bool:
        self.before_answer()
        return super().answer_revocation(*arguments, **named)


class NoWord:
    """An API that takes every revocation and says nothing of the outcome."""

    def __init__(self, client: BadgeClient) -> None:
        self._client = client

    def revoke_earned_badge(self, *arguments: Any) -> RevokedBadge:
        return RevokedBadge(None, None)


def revoke(
    trial: Trial,
    *results: ImportResult | str,
    dry_run: bool = False,
    organisation: str = "org",
    per_minute: int | None = None,
    stop: StopSignal | None = None,
    import_again: bool = False,
    revoker: Callable[[BadgeClient], Any] = lambda client: client,
    before_note: Callable[[], object] = lambda: None,
    before_answer: Callable[[], object] = lambda: None,
) -> Revoked:
    job_ids = [each if isinstance(each, str) else each.summary.job_id for each in results]
    with (
        closing(Watched(trial.ledger_url, clock=trial.clock.now)) as ledger,
        closing(trial.client()) as client,
    ):
        ledger.before_note, ledger.before_answer = before_note, before_answer
        revocations = None if dry_run else Revocations(revoker(client), organisation, per_minute)
        job = RevokeJob(
            ledger,
            job_ids,
            revocations,
            by=BY,
            import_again=import_again,
            stop=stop or trial.stop_signal(),
            monotonic=trial.clock.now,
            jitter=lambda: 0.0,
        )
        result = job.run()
    if not dry_run:
        assert result.to_revoke == result.revoked + result.not_active + result.refused + result.unconfirmed
    return result


def active(trial: Trial) -> int:
    return sum(grant.is_active for grant in trial.simulator.store.grants())


def asked(trial: Trial) -> int:
    return trial.calls("revokeEarn")


def notes(trial: Trial) -> list[tuple[str | None, int]]:
    """Answers that are noted, and how often each."""
    return sorted(trial.ask_ledger("SELECT answer, count(*) FROM capillary_revocation GROUP BY answer"), key=str)


def summary_of(trial: Trial, result: ImportResult) -> dict[str, Any]:
    with closing(SqlLedger(trial.ledger_url, clock=trial.clock.now)) as ledger:
        return dict(ledger.job(result.summary.job_id).summary or {})


# -- what is taken back ------------------------------------------------------------------------------------


def test_a_dry_run_says_how_many_of_which_badge_and_changes_nothing(trial: Trial) -> None:
    other = "5eed0000bad9e00000000002"
    first = trial.run([*trial.rows(8), *trial.rows(4, first=50, badgeMetaId=other)])
    result = revoke(trial, first, dry_run=True)
    assert (result.dry_run, result.to_revoke, result.revoked) == (True, 12, 0)
    assert result.badges == {trial.badge: 8, other: 4}
    assert (active(trial), asked(trial), trial.states(), notes(trial)) == (12, 0, {"accepted": 12}, [])


def test_every_badge_of_the_job_is_taken_back_and_of_no_other_job(trial: Trial) -> None:
    first = trial.run(trial.rows(12))
    trial.run(trial.rows(16), run_id="night-2")
    result = revoke(trial, first)
    assert (result.to_revoke, result.revoked, result.error) == (12, 12, None)
    assert trial.states() == {"accepted": 4, "revoked": 12}
    left = [grant.customer_id for grant in trial.simulator.store.grants() if grant.is_active]
    assert sorted(left) == [trial.first_customer + number for number in range(12, 16)]
    assert notes(trial) == [("revoked", 12)]
    assert trial.ask_ledger("SELECT DISTINCT asked_by FROM capillary_revocation") == [(BY,)]
    assert summary_of(trial, first)["revoked"] == 12
    assert summary_of(trial, first)["accepted"] == 12  # of how the import ended


def test_a_second_run_takes_back_nothing(trial: Trial) -> None:
    first = trial.run(trial.rows(12))
    revoke(trial, first)
    again = revoke(trial, first)
    assert (again.to_revoke, again.revoked, again.already_revoked) == (0, 0, 12)
    assert asked(trial) == 12
    assert summary_of(trial, first)["revoked"] == 12


def test_many_jobs_are_undone_together(trial: Trial) -> None:
    first, second = trial.run(trial.rows(4)), trial.run(trial.rows(8), run_id="night-2")
    result = revoke(trial, first, second)
    assert (result.jobs, result.revoked) == (2, 8)
    assert active(trial) == 0


def test_what_was_accepted_without_an_id_is_told_and_stays(trial: Trial) -> None:
    trial.start(earns_detail=False)
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    first = trial.run(trial.rows(12))
    assert trial.states() == {"accepted": 12}
    result = revoke(trial, first)
    assert (result.revoked, result.without_id) == (8, 4)
    assert trial.states() == {"accepted": 4, "revoked": 8}


def test_unknown_rows_are_told_and_stay(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    first = trial.run(trial.rows(12), on_unknown="hold")
    result = revoke(trial, first)
    assert (result.revoked, result.unknown) == (8, 4)
    assert trial.states() == {"unknown": 4, "revoked": 8}


def test_rows_that_are_unknown_because_the_api_misread_the_expiry_are_taken_back_too(trial: Trial) -> None:
    trial.faults({"kind": "echo", "field": "thousandfold", "numbers": [1]})
    first = trial.run(trial.rows(4), on_unknown="hold")
    assert trial.states() == {"unknown": 4}
    result = revoke(trial, first)
    assert (result.revoked, result.unknown) == (4, 0)
    assert trial.states() == {"revoked": 4}
    assert active(trial) == 0
    assert [state for _, state, *_ in trial.stories(first)] == ["accepted"] * 4
    summary = summary_of(trial, first)
    assert (summary["accepted"], summary["unknown"], summary["revoked"]) == (4, 0, 4)


def test_an_id_that_the_api_does_not_know_proves_nothing_of_an_unknown_row(trial: Trial) -> None:
    trial.faults({"kind": "echo", "field": "thousandfold", "numbers": [1]})
    first = trial.run(trial.rows(1), on_unknown="hold")
    trial.simulator.store.clear()
    result = revoke(trial, first)
    assert (result.revoked, result.not_active) == (0, 1)
    assert trial.states() == {"unknown": 1}


def test_a_badge_that_was_revoked_elsewhere_is_noted_as_not_active(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    grant = next(iter(trial.simulator.store.grants()))
    trial.simulator.store.revoke(grant.customer_id, grant.badge_meta_id, grant.earned_badge_id)
    result = revoke(trial, first)
    assert (result.revoked, result.not_active, result.error) == (3, 1, None)
    assert notes(trial) == [("not_active", 1), ("revoked", 3)]
    assert trial.states() == {"revoked": 4}


# -- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["after_applying", "after_reading", "before_reading"])
def test_a_lost_reply_is_settled_by_asking_again(trial: Trial, at: str) -> None:
    first = trial.run(trial.rows(4))
    trial.faults({"kind": "drop", "at": at, "operation": "revoke", "numbers": [2]})
    result = revoke(trial, first)
    assert (result.revoked, result.not_active, result.error) == (4, 0, None)
    assert asked(trial) == 5
    assert active(trial) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_api_that_cannot_be_used_is_left_and_a_later_try_asks_for_the_rest(trial: Trial, when: str) -> None:
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
def test_a_death_at_any_note_is_mended_by_the_next_try(trial: Trial, moment: str, number: int) -> None:
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


def test_one_refusal_is_told_the_others_are_taken_back_and_a_later_try_asks_for_that_one_only(trial: Trial) -> None:
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


def test_an_api_that_does_not_say_that_the_badge_is_gone_is_not_believed(trial: Trial) -> None:
    first = trial.run(trial.rows(2))
    result = revoke(trial, first, revoker=NoWord)
    assert (result.revoked, result.unconfirmed) == (0, 2)
    assert isinstance(result.error, BudgetExceededError)
    assert trial.states() == {"accepted": 2}
    assert notes(trial) == [("unconfirmed", 2)]


def test_told_to_stop_it_asks_for_no_more(trial: Trial) -> None:
    first = trial.run(trial.rows(6))
    stop = trial.stop_signal()
    counted = iter(range(1, 100))

    def stop_at_two() -> None:
        if next(counted) == 2:
            stop.request(ImportInterruptedError("told to"))

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


def test_a_job_that_the_ledger_does_not_hold_is_refused_before_anything_is_taken_back(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    with pytest.raises(ConfigurationError, match="holds no job 'none such'"):
        revoke(trial, first, "none such")
    assert asked(trial) == 0


def test_an_import_that_runs_is_left_alone(trial: Trial) -> None:
    refused: list[int] = []

    def come_by() -> None:
        [(job_id,)] = trial.ask_ledger("SELECT job_id FROM capillary_job")
        try:
            revoke(trial, job_id, stop=StopSignal(wait=lambda seconds: None))
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
    assert result.to_revoke == 6
    assert (active(trial), trial.states(), notes(trial)) == (0, {"revoked": 6}, [("revoked", 6)])
    assert summary_of(trial, first)["revoked"] == 6


# -- what later imports make of it -------------------------------------------------------------------------

LATER = pytest.mark.parametrize("again", [{"run_id": "night-2"}, {"max_tries": 2}, {}], ids=["run", "clear", "retry"])


@LATER
def test_what_was_revoked_is_not_granted_again_by_a_later_import(trial: Trial, again: dict[str, Any]) -> None:
    rows = trial.rows(12)
    first = trial.run(rows)
    revoke(trial, first)
    calls = trial.calls()
    result = trial.run([*rows], **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 12})
    assert (trial.calls(), active(trial)) == (calls, 0)


@LATER
def test_what_was_revoked_is_not_granted_again_where_a_customer_may_have_a_badge_once(
    trial: Trial, again: dict[str, Any]
) -> None:
    rows = trial.rows(4)
    first = trial.run(rows, once_per_customer=True)
    revoke(trial, first)
    if again:
        rows = [{**row, "earnEventDate": row["earnEventDate"] + 86_400} for row in rows]
    result = trial.run(rows, once_per_customer=True, **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4})
    assert active(trial) == 0


@LATER
def test_rows_that_repeat_a_revoked_one_end_as_it_does(trial: Trial, again: dict[str, Any]) -> None:
    rows = trial.rows(3)
    rows = [*rows, rows[0], {**rows[1], "customerId": "x"}]
    first = trial.run(rows, max_rejected="100%")
    revoke(trial, first)
    result = trial.run(rows, max_rejected="100%", **again)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4, "invalid": 1})


def test_the_earn_of_a_revoked_row_is_no_proof_that_an_equal_one_was_granted(trial: Trial) -> None:
    """The API goes on showing what was revoked, at the same instant."""
    from tests.integration.importing.test_reconcile import reconcile

    first = trial.run(trial.rows(1), on_duplicate="allow")
    revoke(trial, first)
    trial.faults({"kind": "drop", "at": "after_reading"})
    second = trial.run(trial.rows(1) * 2, run_id="night-2", on_duplicate="allow", on_unknown="hold")
    trial.faults()
    assert trial.ends(second) == {"already_accepted": 1, "unknown": 1}
    result = reconcile(trial, second)
    assert (result.accepted, result.unknown) == (0, 1)


def test_the_earn_of_a_revoked_row_is_no_proof_for_an_import_that_reads_back_itself(trial: Trial) -> None:
    first = trial.run(trial.rows(1), on_duplicate="allow")
    revoke(trial, first)
    trial.faults({"kind": "drop", "at": "after_reading", "times": 1})
    second = trial.run(trial.rows(1) * 2, run_id="night-2", on_duplicate="allow")
    assert trial.ends(second) == {"already_accepted": 1, "unknown": 1}


# -- revoked, and to be imported again ---------------------------------------------------------------------

EXPIRES_LATER = 1_950_000_000


@pytest.mark.parametrize("settings", [{}, {"once_per_customer": True}], ids=["plain", "once per customer"])
@LATER
def test_rows_that_are_set_free_are_granted_again_once(
    trial: Trial, again: dict[str, Any], settings: dict[str, Any]
) -> None:
    rows = trial.rows(8)
    first = trial.run(rows, **settings)
    result = revoke(trial, first, import_again=True)
    assert (result.revoked, result.free) == (8, 8)
    if again:
        rows = [{**row, "earnExpiresOn": EXPIRES_LATER} for row in rows]
    later = trial.run(rows, **settings, **again)
    assert (later.error, trial.ends(later)) == (None, {"accepted": 8})
    once_more = trial.run(rows, run_id="night-3", **settings)
    assert trial.ends(once_more) == {"already_accepted": 8}
    assert active(trial) == 8
    assert trial.states() == {"accepted": 8, "revoked": 8}


def test_rows_revoked_before_can_be_set_free_later_and_nothing_is_asked(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    revoke(trial, first)
    result = revoke(trial, first, import_again=True)
    assert (result.to_revoke, result.free, asked(trial)) == (0, 4, 4)
    assert trial.ask_ledger("SELECT DISTINCT freed_by FROM capillary_revocation") == [(BY,)]
    assert revoke(trial, first, import_again=True).free == 0


def test_a_dry_run_sets_nothing_free(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    revoke(trial, first)
    assert revoke(trial, first, dry_run=True, import_again=True).free == 0
    assert trial.ends(trial.run(trial.rows(4), run_id="night-2")) == {"already_accepted": 4}


def test_rows_that_were_not_revoked_are_not_set_free(trial: Trial) -> None:
    first = trial.run(trial.rows(4))
    trial.faults({"kind": "status", "status": 400, "code": 1026, "operation": "revoke", "numbers": [2]})
    result = revoke(trial, first, import_again=True)
    assert (result.revoked, result.refused, result.free) == (3, 1, 3)
    later = trial.run(trial.rows(4), run_id="night-2")
    assert trial.ends(later) == {"already_accepted": 1, "accepted": 3}


def test_a_row_can_be_revoked_and_granted_again_many_times(trial: Trial) -> None:
    for number in range(3):
        result = trial.run(trial.rows(2) * 2, run_id=f"night-{number}", on_duplicate="allow")
        assert trial.ends(result) == {"accepted": 4}
        assert revoke(trial, result, import_again=True).free == 4
    assert (active(trial), trial.states()) == (0, {"revoked": 12})


@pytest.mark.parametrize("at", ["after_reading", "after_applying"])
def test_a_lost_reply_of_the_second_grant_is_not_settled_by_the_earn_that_was_revoked(trial: Trial, at: str) -> None:
    from tests.integration.importing.test_reconcile import reconcile

    first = trial.run(trial.rows(4))
    revoke(trial, first, import_again=True)
    trial.faults({"kind": "drop", "at": at, "times": 1})
    later = trial.run(trial.rows(4), run_id="night-2")
    assert trial.ends(later) == {"unknown": 4}  # the API shows an earn at that instant, and it may be the old one
    assert reconcile(trial, later).unknown == 4
    assert trial.states() == {"revoked": 4, "unknown": 4}


def test_a_repeat_of_a_row_that_was_set_free_ends_as_that_one_does(trial: Trial) -> None:
    rows = trial.rows(3)
    rows = [*rows, rows[0]]
    first = trial.run(rows, once_per_customer=True)
    assert trial.ends(first) == {"accepted": 3, "already_accepted": 1}
    revoke(trial, first, import_again=True)
    again = trial.run(rows, once_per_customer=True)
    assert trial.ends(again) == {"accepted": 3, "already_accepted": 1}
    assert active(trial) == 3
