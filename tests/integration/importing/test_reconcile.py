"""Rows that an import left unknown, settled afterwards: what is settled, what is told, and what is never touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ImportInterruptedError,
    JobIsRunningError,
)
from airflow_provider_capillary.importing.api import CapillaryApi
from airflow_provider_capillary.importing.reading_back import Readings
from airflow_provider_capillary.importing.stop import StopSignal
from airflow_provider_capillary.ledger.sql_ledger import SqlLedger
from airflow_provider_capillary.reconcile_job import Action, Reconciled, ReconcileJob, ReconcileSettings

if TYPE_CHECKING:
    from airflow_provider_capillary.import_job import ImportResult
    from tests.integration.importing.conftest import Trial

BY = "dag mending, run 1"
LOST_AFTER = {"kind": "drop", "at": "after_applying"}
LOST_BEFORE = {"kind": "drop", "at": "after_reading"}


class Watched(SqlLedger):
    """A ledger of which a test may see, or disturb, each settlement."""

    before_settling: Callable[[], object] = staticmethod(lambda: None)

    def settle(self, *arguments: Any, **named: Any) -> Any:
        self.before_settling()
        return super().settle(*arguments, **named)


def reconcile(
    trial: Trial,
    *results: ImportResult | str,
    action: str = "verify",
    organisation: str = "org",
    per_minute: int | None = None,
    stop: StopSignal | None = None,
    client: dict[str, Any] | None = None,
    before_settling: Callable[[], object] = lambda: None,
    **settings: Any,
) -> Reconciled:
    job_ids = [each if isinstance(each, str) else each.summary.job_id for each in results]
    chosen = ReconcileSettings(action=Action(action), by=BY, **settings)
    with (
        closing(Watched(trial.ledger_url, clock=trial.clock.now)) as ledger,
        closing(trial.client(**(client or {}))) as badge_client,
    ):
        ledger.before_settling = before_settling
        readings = Readings(CapillaryApi(badge_client, organisation), organisation, per_minute)
        job = ReconcileJob(
            ledger,
            job_ids,
            chosen,
            readings if action == "verify" else None,
            stop=stop or trial.stop_signal(),
            monotonic=trial.clock.now,
            jitter=lambda: 0.0,
        )
        result = job.run()
    assert result.unknown_before == result.accepted + result.resend + result.unknown
    return result


def held(trial: Trial, *faults: dict[str, Any], rows: Any = None, **settings: Any) -> ImportResult:
    """An import of 12 rows in 3 batches that holds what it cannot prove."""
    trial.faults(*faults)
    result = trial.run(rows or trial.rows(12), **{"on_unknown": "hold", **settings})
    trial.faults()
    return result


def summary_of(trial: Trial, result: ImportResult) -> dict[str, Any]:
    with closing(SqlLedger(trial.ledger_url, clock=trial.clock.now)) as ledger:
        return dict(ledger.job(result.summary.job_id).summary or {})


def told(trial: Trial, result: ImportResult) -> list[tuple[int, str]]:
    return [(number, state) for number, state, *_ in trial.stories(result)]


# -- by reading back ---------------------------------------------------------------------------------------


def test_rows_that_were_granted_are_accepted_and_nothing_is_sent(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    calls = trial.calls()
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown, result.error) == (4, 0, 0, None)
    assert trial.calls() == calls
    assert trial.states() == {"accepted": 12}
    assert told(trial, first) == [(row, "accepted") for row in (5, 6, 7, 8)]
    assert {story[4].partition("; found")[2] for story in trial.stories(first)} == {f" by reading back ({BY})"}
    summary = summary_of(trial, first)
    assert (summary["accepted"], summary["unknown"], summary["settled"]) == (12, 0, {"accepted": 4})


def test_rows_that_were_not_granted_are_free_and_the_next_import_sends_them_once(trial: Trial) -> None:
    first = held(trial, {**LOST_BEFORE, "numbers": [2]})
    calls = trial.calls()
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown, result.error) == (0, 4, 0, None)
    assert trial.calls() == calls
    assert trial.states() == {"accepted": 8, "planned": 4}
    assert told(trial, first) == [(row, "not_sent") for row in (5, 6, 7, 8)]
    assert summary_of(trial, first)["not_sent"] == 4
    again = trial.run(trial.rows(12), run_id="night-2")
    assert (again.error, trial.ends(again)) == (None, {"already_accepted": 8, "accepted": 4})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("again", [{}, {"max_tries": 2}], ids=["retry", "clear"])
def test_the_import_itself_goes_on_from_what_was_settled(trial: Trial, again: dict[str, Any]) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    result = reconcile(trial, first)
    assert (result.accepted, result.resend) == (4, 4)
    later = trial.run(trial.rows(12), **again)
    assert later.error is None
    assert later.summary.unknown == later.summary.not_sent == 0
    assert trial.states() == {"accepted": 12}
    assert trial.times_granted() == [1]
    assert sum(trial.granted().values()) == 12


def test_a_read_that_proves_nothing_leaves_the_row_unknown_and_says_why(trial: Trial) -> None:
    trial.start(earns_detail=False)
    rows = trial.rows(2)
    trial.grant_elsewhere({**rows[0], "earnEventDate": rows[0]["earnEventDate"] + 60})
    first = held(trial, {**LOST_BEFORE, "numbers": [1]}, rows=rows)
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown) == (0, 1, 1)
    assert [(reason.stage, reason.rows) for reason in result.reasons] == [("verify", 1)]
    assert "proves neither" in result.reasons[0].message
    assert isinstance(result.error, BudgetExceededError)
    assert "1 of 2 rows stay unknown; allowed: 0" in str(result.error)
    assert told(trial, first) == [(1, "unknown"), (2, "not_sent")]


def test_a_customer_whom_the_api_refuses_to_show_stays_unknown_and_the_others_are_settled(trial: Trial) -> None:
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


def test_a_grant_that_belongs_to_an_equal_row_is_no_proof_for_this_one(trial: Trial) -> None:
    """Two equal rows: the second was granted, of the first nobody knows. The sighting may be either's."""
    rows = trial.rows(1) * 2
    trial.faults({**LOST_BEFORE, "numbers": [1]})
    first = trial.run(rows, on_duplicate="allow", batch_size=1, on_unknown="hold")
    trial.faults()
    assert trial.states() == {"accepted": 1, "unknown": 1}
    result = reconcile(trial, first)
    assert (result.accepted, result.resend, result.unknown) == (0, 0, 1)


def test_reads_wait_until_the_api_has_had_its_time(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    given_up = trial.clock.now()
    trial.clock.waits.clear()
    reconcile(trial, first, verify_after=60)
    # five seconds is the age at which an import sends no intent any more
    assert sum(trial.clock.waits) == pytest.approx(65)
    assert trial.clock.now() >= given_up + 65


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
    monkeypatch.setattr("airflow_provider_capillary.reconcile_job.ROWS_AT_ONCE", 2)
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [3]})
    result = reconcile(trial, first)
    assert (result.accepted, result.resend) == (4, 4)


def test_a_job_with_nothing_unknown_is_read_not_at_all(trial: Trial) -> None:
    first = held(trial)
    result = reconcile(trial, first)
    assert (result.jobs, result.unknown_before, result.error) == (1, 0, None)
    assert trial.calls("management") == 0


def test_doing_it_again_changes_nothing(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    reconcile(trial, first)
    before = (trial.states(), trial.stories(first), summary_of(trial, first), trial.calls("management"))
    again = reconcile(trial, first)
    assert again.unknown_before == 0
    assert (trial.states(), trial.stories(first), summary_of(trial, first), trial.calls("management")) == before


def test_many_jobs_are_settled_together(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    second = held(trial, {**LOST_BEFORE, "numbers": [4]}, rows=trial.rows(12, first=100), run_id="night-2")
    result = reconcile(trial, first, second)
    assert (result.jobs, result.accepted, result.resend) == (2, 4, 4)


# -- what must not be -------------------------------------------------------------------------------------


def test_another_organisation_s_connection_is_refused_before_it_proves_rows_absent(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    with pytest.raises(ConfigurationError, match=r"'org'.*'elsewhere'"):
        reconcile(trial, first, organisation="elsewhere")
    assert trial.states() == {"accepted": 8, "unknown": 4}
    assert trial.calls("management") == 0


def test_a_job_that_the_ledger_does_not_hold_is_refused_before_any_is_settled(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    with pytest.raises(ConfigurationError, match="holds no job 'none such'"):
        reconcile(trial, first, "none such")
    assert trial.states() == {"accepted": 8, "unknown": 4}


def test_an_api_that_cannot_be_used_leaves_the_rest_unknown_and_a_retry_goes_on(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    trial.faults({"kind": "status", "status": 503, "operation": "customer_badge", "first": 3})
    with pytest.raises(ApiUnavailableError):
        reconcile(trial, first)
    assert trial.states() == {"accepted": 10, "unknown": 2}
    trial.faults()
    result = reconcile(trial, first)
    assert (result.unknown_before, result.accepted) == (2, 2)


def test_a_passing_failure_of_a_read_is_outwaited(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    trial.faults({"kind": "status", "status": 429, "operation": "customer_badge", "numbers": [2, 3]})
    assert reconcile(trial, first).accepted == 4


def test_refused_credentials_stop_at_once(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    with pytest.raises(AuthenticationError):
        reconcile(trial, first, client={"password": "wrong"})
    assert trial.states() == {"accepted": 8, "unknown": 4}
    assert trial.calls("management") == 1


def test_told_to_stop_it_keeps_what_it_has_settled(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    stop = trial.stop_signal()
    settlements = iter(range(1, 100))

    def stop_after_two() -> None:
        if next(settlements) == 2:
            stop.request(ImportInterruptedError("told to"))

    with pytest.raises(ImportInterruptedError, match="later try goes on"):
        reconcile(trial, first, stop=stop, before_settling=stop_after_two)
    assert trial.states() == {"accepted": 10, "unknown": 2}
    assert summary_of(trial, first)["unknown"] == 2
    assert reconcile(trial, first).accepted == 2


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_death_at_any_settlement_leaves_a_ledger_from_which_the_next_try_goes_on(trial: Trial, number: int) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    settlements = iter(range(1, 100))

    def die() -> None:
        if next(settlements) == number:
            raise trial.killed

    with pytest.raises(trial.killed):
        reconcile(trial, first, before_settling=die)
    assert trial.states() == {"accepted": 8 + number - 1, "unknown": 4 - number + 1}
    assert summary_of(trial, first)["accepted"] == 8 + number - 1
    assert reconcile(trial, first).accepted == 4 - number + 1
    assert trial.states() == {"accepted": 12}


@pytest.mark.parametrize("moment", ["send", "sent"])
def test_rows_that_a_dead_import_had_in_flight_are_settled(trial: Trial, moment: str) -> None:
    trial.moments.die(moment, number=2)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12), ledger={"owner": "another machine/7/1"})
    assert trial.states()["intent"] == 4
    [(job_id,)] = trial.ask_ledger("SELECT job_id FROM capillary_job")
    result = reconcile(trial, job_id)
    assert (result.accepted, result.resend) == ((0, 4) if moment == "send" else (4, 0))
    later = trial.run(trial.rows(12), run_id="night-2")
    assert later.error is None
    assert trial.times_granted() == [1]
    assert sum(trial.granted().values()) == 12


def test_an_import_that_lives_keeps_its_rows_and_ends_as_if_nobody_had_come_by(trial: Trial) -> None:
    """While the import has rows in flight, and while it reads rows back, a person tries to settle them."""
    refused: list[tuple[str, dict[str, int]]] = []

    def come_by() -> None:
        [(job_id,)] = trial.ask_ledger("SELECT job_id FROM capillary_job")
        for action in ("verify", "accept", "resend"):
            try:
                reconcile(trial, job_id, action=action, stop=StopSignal(wait=lambda seconds: None))
            except JobIsRunningError:
                refused.append((action, trial.states()))

    trial.faults({**LOST_AFTER, "numbers": [2]})
    trial.moments.at("sent", come_by, number=2)
    trial.moments.at("read", come_by, number=2)
    result = trial.run(trial.rows(12), ledger={"owner": "another machine/7/1"})
    assert refused == [
        *[(action, {"accepted": 4, "intent": 4}) for action in ("verify", "accept", "resend")],
        *[(action, {"accepted": 5, "unknown": 3}) for action in ("verify", "accept", "resend")],
    ]
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


def test_an_import_that_goes_on_while_its_rows_are_read_back_keeps_them(trial: Trial) -> None:
    first = held(trial, {**LOST_BEFORE, "numbers": [1]})
    ends: list[dict[str, int]] = []

    def retry() -> None:
        if not ends:
            ends.append(trial.ends(trial.run(trial.rows(12), on_unknown="verify")))

    result = reconcile(trial, first, before_settling=retry)
    assert ends == [{"accepted": 12}]
    # the rows were seen as absent, but meanwhile the import has sent them: nothing may be made of what was seen
    assert (result.accepted, result.resend) == (0, 0)
    assert trial.states() == {"accepted": 12}
    assert trial.times_granted() == [1]


def test_two_at_once_settle_each_row_once(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    others: list[Reconciled] = []

    def meanwhile() -> None:
        if not others:
            others.append(reconcile(trial, first))

    result = reconcile(trial, first, before_settling=meanwhile)
    assert (others[0].accepted, others[0].resend) == (4, 4)
    assert (result.accepted, result.resend, result.unknown) == (0, 0, 0)
    assert trial.states() == {"accepted": 8, "planned": 4}
    assert trial.ask_ledger("SELECT count(*), count(DISTINCT row_number) FROM capillary_settlement") == [(8, 8)]


def test_two_in_threads_of_their_own_settle_each_row_once(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]}, {**LOST_BEFORE, "numbers": [2]})
    trial.clock.advance(3_600)
    results: list[Reconciled] = []
    threads = [threading.Thread(target=lambda: results.append(reconcile(trial, first))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(result.accepted for result in results) == 4
    assert sum(result.resend for result in results) == 4
    assert trial.states() == {"accepted": 8, "planned": 4}
    assert summary_of(trial, first)["settled"] == {"accepted": 4, "not_sent": 4}


# -- by the word of a person -------------------------------------------------------------------------------


def test_a_person_s_word_that_rows_were_granted_is_kept_with_who_said_so(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    result = reconcile(trial, first, action="accept")
    assert (result.accepted, result.unknown, result.error) == (4, 0, None)
    assert trial.calls("management") == 0
    assert {story[4].rpartition("; ")[2] for story in trial.stories(first)} == {f"accepted by the word of {BY}"}
    assert trial.ask_ledger("SELECT DISTINCT proof, settled_by, state FROM capillary_settlement") == [
        ("person", BY, "accepted")
    ]
    again = trial.run(trial.rows(12), run_id="night-2")
    assert trial.ends(again) == {"already_accepted": 12}


def test_a_person_s_word_that_rows_were_not_granted_frees_them_and_warns(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    calls = trial.calls()
    result = reconcile(trial, first, action="resend")
    assert (result.resend, result.unknown, result.error) == (4, 0, None)
    assert trial.calls() == calls
    assert all("may be granted twice" in story[4] and BY in story[4] for story in trial.stories(first))
    again = trial.run(trial.rows(12), run_id="night-2")
    assert trial.ends(again) == {"already_accepted": 8, "accepted": 4}
    assert trial.times_granted() == [1, 2]  # the person was wrong


def test_a_word_can_be_limited_to_rows(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    result = reconcile(trial, first, action="accept", rows=frozenset({6, 8}), max_unknown=parse_budget("m", 2))
    assert (result.accepted, result.unknown, result.error) == (2, 2, None)
    assert told(trial, first) == [(5, "unknown"), (6, "accepted"), (7, "unknown"), (8, "accepted")]


def test_a_slip_of_the_pen_settles_nothing(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    with pytest.raises(ConfigurationError, match=r"no unknown row of number 1, 99\. Nothing was settled"):
        reconcile(trial, first, action="resend", rows=frozenset({1, 6, 99}))
    assert trial.states() == {"accepted": 8, "unknown": 4}


def test_to_leave_rows_counts_them_changes_nothing_and_is_no_failure(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    before = (trial.states(), trial.stories(first), summary_of(trial, first))
    result = reconcile(trial, first, action="leave")
    assert (result.unknown_before, result.unknown, result.error) == (4, 4, None)
    assert [(reason.stage, reason.rows) for reason in result.reasons] == [("verify", 4)]
    assert (trial.states(), trial.stories(first), summary_of(trial, first)) == before


# -- rows that are unknown because of another row ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "end"), [(LOST_AFTER, "already_accepted"), (LOST_BEFORE, "not_sent")], ids=["granted", "not granted"]
)
@pytest.mark.parametrize(
    "settings", [{}, {"field_mapping": {"customerId": "who"}, "timezone": "Asia/Kolkata"}], ids=["plain", "mapped"]
)
def test_rows_that_repeat_an_unknown_one_are_told_anew_with_it(
    trial: Trial, fault: dict[str, Any], end: str, settings: dict[str, Any]
) -> None:
    rows = trial.rows(4)
    if settings:
        for row in rows:
            row |= {"who": row.pop("customerId"), "earnEventDate": "2025-02-20T10:00:00"}
    first = held(trial, {**fault, "numbers": [1]}, rows=[*rows, rows[0], rows[2]], **settings)
    assert first.summary.unknown == 6
    reconcile(trial, first)
    assert [state for number, state in told(trial, first) if number > 4] == [end, end]
    summary = summary_of(trial, first)
    assert (summary["unknown"], summary["rows_read"]) == (0, 6)
    assert summary[end] == (2 if end == "already_accepted" else 6)


def test_rows_that_a_later_job_has_settled_are_told_anew_in_the_report_of_the_first(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    trial.run(trial.rows(12), run_id="night-2")
    assert summary_of(trial, first)["unknown"] == 4
    result = reconcile(trial, first)
    assert result.unknown_before == 0
    assert told(trial, first) == [(row, "already_accepted") for row in (5, 6, 7, 8)]
    assert (summary_of(trial, first)["unknown"], summary_of(trial, first)["already_accepted"]) == (0, 4)


def test_rows_that_a_later_job_holds_as_unknown_stay_unknown(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [2]})
    trial.faults({"kind": "status", "status": 400, "operation": "customer_badge"})
    second = trial.run(trial.rows(12), run_id="night-2")
    trial.faults()
    assert second.summary.unknown == 4
    assert reconcile(trial, first).unknown_before == 0
    assert summary_of(trial, first)["unknown"] == 4
    assert reconcile(trial, second, first).accepted == 4
    assert (summary_of(trial, first)["unknown"], summary_of(trial, second)["unknown"]) == (0, 0)
