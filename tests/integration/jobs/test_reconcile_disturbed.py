"""Reconciliations that are refused, cut off or stopped, and those that an import or another one comes between."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    ImportInterruptedError,
    JobIsRunningError,
)
from airflow_provider_capillary.jobs.reconcile import Reconciled

from .reconciling import LOST_AFTER, LOST_BEFORE, held, impatient, reconcile
from .trial import Trial


def test_another_organisations_connection_is_refused(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    with pytest.raises(ConfigurationError, match=r"'org'.*'elsewhere'"):
        reconcile(trial, first, organisation="elsewhere")
    assert trial.states() == {"accepted": 8, "unknown": 4}
    assert trial.calls("management") == 0


def test_a_job_missing_from_the_ledger_is_refused(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    with pytest.raises(ConfigurationError, match="holds no job 'none such'"):
        reconcile(trial, first, "none such")
    assert trial.states() == {"accepted": 8, "unknown": 4}


def test_an_unusable_api_leaves_rows_to_a_retry(trial: Trial) -> None:
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


def test_a_stop_keeps_what_is_settled(trial: Trial) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    stop = trial.stop_signal()
    settlements = iter(range(1, 100))

    def stop_after_two() -> None:
        if next(settlements) == 2:
            stop.request(ImportInterruptedError("asked to"))

    with pytest.raises(ImportInterruptedError, match="later try goes on"):
        reconcile(trial, first, stop=stop, before_settling=stop_after_two)
    assert trial.states() == {"accepted": 10, "unknown": 2}
    assert trial.summary_of(first)["unknown"] == 2
    assert reconcile(trial, first).accepted == 2


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_death_at_any_settlement_is_continued(trial: Trial, number: int) -> None:
    first = held(trial, {**LOST_AFTER, "numbers": [1]})
    settlements = iter(range(1, 100))

    def die() -> None:
        if next(settlements) == number:
            raise trial.killed

    with pytest.raises(trial.killed):
        reconcile(trial, first, before_settling=die)
    assert trial.states() == {"accepted": 8 + number - 1, "unknown": 4 - number + 1}
    assert trial.summary_of(first)["accepted"] == 8 + number - 1
    assert reconcile(trial, first).accepted == 4 - number + 1
    assert trial.states() == {"accepted": 12}


@pytest.mark.parametrize("moment", ["send", "sent"])
def test_a_dead_imports_rows_in_flight_are_settled(trial: Trial, moment: str) -> None:
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


def test_a_living_import_keeps_its_rows(trial: Trial) -> None:
    """While the import has rows in flight, and while it reads rows back, a person tries to settle them."""
    refused: list[tuple[str, dict[str, int]]] = []

    def come_by() -> None:
        _, (job_id,) = trial.ask_ledger("SELECT job_id FROM capillary_job ORDER BY id")
        for action in ("verify", "accept", "resend"):
            try:
                reconcile(trial, job_id, action=action, stop=impatient())
            except JobIsRunningError:
                refused.append((action, trial.states()))

    trial.prove_reads()
    trial.faults({**LOST_AFTER, "numbers": [2]})
    trial.moments.at("sent", come_by, number=2)
    trial.moments.at("read", come_by, number=2)
    result = trial.run(trial.rows(12), ledger={"owner": "another machine/7/1"})
    assert refused == [
        *[(action, {"accepted": 1 + 4, "intent": 4}) for action in ("verify", "accept", "resend")],
        *[(action, {"accepted": 1 + 5, "unknown": 3}) for action in ("verify", "accept", "resend")],
    ]
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


def test_a_continuing_import_keeps_rows_being_read(trial: Trial) -> None:
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


def test_two_threads_settle_each_row_once(trial: Trial) -> None:
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
    assert trial.summary_of(first)["settled"] == {"accepted": 4, "not_sent": 4}
