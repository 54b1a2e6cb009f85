"""Rows that were sent again without proof: whichever job settles them, however late, reports that they may be twice."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.exceptions import LeaseLostError
from airflow_provider_capillary.jobs.import_job import ImportResult
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.reconcile import Action, ReconcileJob, ReconcileSettings
from airflow_provider_capillary.jobs.revoke import RevokeJob
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.reports.report_facts import may_be_twice

from .trial import Trial

#: Of three batches the second is applied, and its reply is lost.
LOST = {"kind": "drop", "at": "after_applying", "numbers": [2]}
RESENT = [5, 6, 7, 8]
AGAIN: dict[str, dict[str, Any]] = {"retry": {}, "clear": {"max_tries": 2}, "later run": {"run_id": "night-2"}}
#: Between the decision to send again and the outcome of that.
MOMENTS = {"finding-done": 1, "intent": 3, "intent-done": 3, "send": 3, "sent": 3, "outcome": 3, "outcome-done": 3}


def reported_as_twice(trial: Trial) -> list[int]:
    """Row numbers that the report of any job lists as accepted and perhaps granted twice."""
    with closing(Ledger(trial.ledger_url, **trial.clock.of_a_ledger())) as ledger:
        issues = [issue for job in ledger.jobs() for issue in ledger.issues(job.job_id)]
    assert all("may be granted twice" in issue.message for issue in issues if may_be_twice(issue))
    return sorted(issue.row_number for issue in issues if may_be_twice(issue))


def granted_twice(trial: Trial) -> list[int]:
    return sorted(c - trial.first_customer + 1 for (c, *_), times in trial.granted().items() if times > 1)


def reasons_of_doubt(result: ImportResult) -> list[int]:
    return [reason.rows for reason in result.summary.reasons if "may be granted twice" in reason.message]


@pytest.mark.parametrize("policy", ["resend", "verify"])
@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_before_the_resends_reply_keeps_the_doubt(trial: Trial, moment: str, again: str, policy: str) -> None:
    trial.faults(LOST)
    trial.moments.die(moment, number=MOMENTS[moment])
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12), on_unknown="resend")
    trial.faults()
    trial.clock.advance(61)
    result = trial.run(trial.rows(12), on_unknown=policy, **AGAIN[again])
    assert (result.error, result.summary.accepted + result.summary.already_accepted) == (None, 12)
    assert set(granted_twice(trial)) <= set(RESENT)
    assert reported_as_twice(trial) == RESENT
    reported_before = moment == "outcome-done" and again != "retry"  # accepted, and reported so, by the job that died
    assert reasons_of_doubt(result) == ([] if reported_before else [4])


@pytest.mark.parametrize("again", AGAIN)
def test_a_stop_before_the_resends_reply_keeps_the_doubt(trial: Trial, again: str) -> None:
    trial.faults(LOST, {"kind": "status", "status": 403, "numbers": [3]})
    stopped = trial.run(trial.rows(12), on_unknown="resend")
    assert stopped.error is not None
    assert reported_as_twice(trial) == []
    trial.faults()
    result = trial.run(trial.rows(12), **AGAIN[again])
    assert (result.error, reasons_of_doubt(result)) == (None, [4])
    assert reported_as_twice(trial) == granted_twice(trial) == RESENT


@pytest.mark.parametrize("again", AGAIN)
def test_resent_rows_found_by_reads_stay_in_doubt(trial: Trial, again: str) -> None:
    trial.faults({**LOST, "numbers": [2, 3]})
    trial.moments.die("outcome", number=3)
    with pytest.raises(trial.killed):
        trial.run(trial.rows(12), on_unknown="resend")
    trial.faults()
    trial.clock.advance(61)
    result = trial.run(trial.rows(12), on_unknown="verify", **AGAIN[again])
    assert (result.error, result.summary.requests, reasons_of_doubt(result)) == (None, 1, [4])
    assert reported_as_twice(trial) == granted_twice(trial) == RESENT
    assert all("found by reading back" in message for row, *_, message in trial.issues_of(result) if row in RESENT)


def test_every_later_summary_repeats_the_doubt(trial: Trial) -> None:
    trial.faults(LOST, {"kind": "status", "status": 403, "numbers": [4]})
    first = trial.run(trial.rows(12), on_unknown="resend")
    assert (trial.ends(first), reasons_of_doubt(first)) == ({"accepted": 8, "not_sent": 4}, [4])
    issues = [issue for issue in trial.issues_of(first) if issue[0] in RESENT]
    trial.faults()
    again = trial.run(trial.rows(12))
    assert (trial.ends(again), reasons_of_doubt(again)) == ({"accepted": 12}, [4])
    assert trial.issues_of(again) == issues


def test_rows_refused_when_resent_stay_in_doubt(trial: Trial) -> None:
    trial.faults(LOST, {"kind": "row_error", "code": 1026, "positions": [2], "numbers": [3]})
    first = trial.run(trial.rows(12), on_unknown="resend", max_rejected="100%")
    assert trial.ends(first) == {"accepted": 11, "rejected": 1}
    trial.faults()
    trial.run(trial.rows(12), run_id="night-2")
    assert reported_as_twice(trial) == granted_twice(trial) == RESENT


def test_a_job_learns_of_doubt_after_planning(trial: Trial) -> None:
    """The second job has read its rows, and waits; the first one sends, loses the reply, frees the rows, and dies."""

    def first_job() -> None:
        trial.faults({**LOST, "numbers": [1]})
        trial.moments.die("intent", number=2)
        with pytest.raises(trial.killed):
            trial.run(trial.rows(4), on_unknown="resend")
        trial.faults()
        trial.clock.advance(61)

    trial.moments.at("intent", first_job)
    result = trial.run(trial.rows(4), run_id="night-2", ledger={"lease_seconds": 600.0})
    assert (result.error, trial.ends(result), reasons_of_doubt(result)) == (None, {"accepted": 4}, [4])
    assert reported_as_twice(trial) == granted_twice(trial) == [1, 2, 3, 4]


def test_once_per_customer_doubt_of_an_earlier_date_counts(trial: Trial) -> None:
    trial.faults({**LOST, "numbers": [1]}, {"kind": "status", "status": 403, "numbers": [2]})
    trial.run(trial.rows(1), on_unknown="resend", once_per_customer=True)
    trial.faults()
    later = trial.rows(1, earnEventDate=trial.first_earned + 86_400)
    result = trial.run(later, run_id="night-2", once_per_customer=True)
    assert (result.error, reasons_of_doubt(result)) == (None, [1])
    assert len(trial.simulator.store) == 2


@pytest.mark.parametrize("action", [Action.ACCEPT, Action.RESEND])
def test_a_persons_word_neither_ends_doubt_nor_proves(trial: Trial, action: Action) -> None:
    trial.faults({**LOST, "numbers": [2, 3]})
    if action is Action.ACCEPT:
        trial.moments.die("outcome", number=3)
        with pytest.raises(trial.killed):
            trial.run(trial.rows(12), on_unknown="resend")
        trial.clock.advance(61)
    else:
        trial.faults(LOST)
        trial.run(trial.rows(12), on_unknown="hold")
    trial.faults()
    with closing(Ledger(trial.ledger_url, **trial.clock.of_a_ledger())) as ledger:
        jobs = [job.job_id for job in ledger.jobs()]
        assert ReconcileJob(ledger, jobs, ReconcileSettings(action=action, by="Ada")).run().unknown_before == 4
    assert reported_as_twice(trial) == (RESENT if action is Action.ACCEPT else [])
    result = trial.run(trial.rows(12), run_id="night-2")
    assert result.error is None
    assert reported_as_twice(trial) == granted_twice(trial) == RESENT


def test_a_read_that_proves_leaves_no_doubt(trial: Trial) -> None:
    trial.faults({**LOST, "numbers": [1]})
    result = trial.run(trial.rows(12))
    assert (result.error, reported_as_twice(trial)) == (None, [])
    assert trial.ask_ledger("SELECT count(*) FROM capillary_doubt") == [(0,)]


def test_a_grant_after_revocation_stays_in_doubt(trial: Trial) -> None:
    """Of two grants the ledger knows one id, and only that one is revoked."""
    trial.faults({**LOST, "numbers": [1]})
    first = trial.run(trial.rows(4), on_unknown="resend")
    assert granted_twice(trial) == reported_as_twice(trial) == [1, 2, 3, 4]
    with closing(Ledger(trial.ledger_url, **trial.clock.of_a_ledger())) as ledger, closing(trial.client()) as client:
        organisation = Organisation(client, "org")
        undo = RevokeJob(ledger, [first.summary.job_id], organisation, by="Ada", import_again=True)
        assert undo.run().revoked == 4
    result = trial.run(trial.rows(4), run_id="night-2")
    assert (result.error, trial.ends(result), reasons_of_doubt(result)) == (None, {"accepted": 4}, [4])


@pytest.mark.parametrize("other", [{}, {"run_id": "night-2"}], ids=["copy", "other job"])
def test_a_late_reply_to_resent_rows_reports_doubt(trial: Trial, other: dict[str, Any]) -> None:
    """The lease of the process that sent them again runs out; what took them over reports them as unknown."""
    trial.faults(LOST)

    def take_over() -> None:
        trial.clock.advance(61)
        trial.run(trial.rows(12), on_unknown="hold", max_unknown="100%", **other)

    trial.moments.at("sent", take_over, number=3)
    with pytest.raises(LeaseLostError) if not other else contextlib.nullcontext():
        trial.run(trial.rows(12), on_unknown="resend")
    trial.run(trial.rows(12), run_id="night-3")
    assert sorted(set(reported_as_twice(trial))) == granted_twice(trial) == RESENT


def test_a_late_reply_to_a_running_copy_reports_doubt(trial: Trial) -> None:
    trial.faults(LOST)
    held, settled = threading.Event(), threading.Event()

    def next_batch() -> None:
        held.set()
        assert settled.wait(60)

    with ThreadPoolExecutor(1) as pool:

        def take_over() -> None:
            trial.clock.advance(61)
            trial.moments.at("sent", next_batch)
            others.append(pool.submit(lambda: trial.run(trial.rows(12), on_unknown="hold", max_unknown=0)))
            assert held.wait(60)

        others: list[Future[ImportResult]] = []
        trial.moments.at("sent", take_over, number=3)
        with pytest.raises(LeaseLostError):
            trial.run(trial.rows(12), on_unknown="resend")
        settled.set()
        assert others[0].result(60).error is None
    trial.run(trial.rows(12))
    assert reported_as_twice(trial) == granted_twice(trial) == RESENT
