"""The lines of the outcome table without proof: what hold, verify and resend make of each of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_capillary.exceptions import ApiUnavailableError, BudgetExceededError, ImportStoppedError

from .trial import Trial

HURRIED = {"timeout": 0.3}
PATIENT: dict[str, Any] = {}

#: What happens to one request, whether it was applied all the same, and the client's settings.
WITHOUT_PROOF: dict[str, tuple[dict[str, Any], bool, dict[str, Any]]] = {
    "500": ({"kind": "status", "status": 500}, False, PATIENT),
    "500 after applying": ({"kind": "status", "status": 500, "when": "after"}, True, PATIENT),
    "502 HTML": ({"kind": "status", "status": 502}, False, PATIENT),
    "503 after applying": ({"kind": "status", "status": 503, "when": "after"}, True, PATIENT),
    "504 HTML after applying": ({"kind": "status", "status": 504, "when": "after"}, True, PATIENT),
    "520 HTML": ({"kind": "status", "status": 520}, False, PATIENT),
    "521 HTML after applying": ({"kind": "status", "status": 521, "when": "after"}, True, PATIENT),
    "524 HTML after applying": ({"kind": "status", "status": 524, "when": "after"}, True, PATIENT),
    "drop before reading": ({"kind": "drop", "at": "before_reading"}, False, PATIENT),
    "drop after reading": ({"kind": "drop", "at": "after_reading"}, False, PATIENT),
    "drop after applying": ({"kind": "drop", "at": "after_applying"}, True, PATIENT),
    "close after applying": ({"kind": "drop", "at": "after_applying", "reset": False}, True, PATIENT),
    "drop in mid-reply": ({"kind": "drop", "at": "mid_reply"}, True, PATIENT),
    "hang": ({"kind": "hang"}, False, HURRIED),
    "hang after applying": ({"kind": "hang", "when": "after"}, True, HURRIED),
    "too slow": ({"kind": "slow", "seconds": 5}, True, HURRIED),
    "200 with an envelope": ({"kind": "status", "status": 200, "body": "envelope"}, False, PATIENT),
    "200 with an envelope after applying": (
        {"kind": "status", "status": 200, "body": "envelope", "when": "after"},
        True,
        PATIENT,
    ),
    "200 with HTML": ({"kind": "status", "status": 200, "body": "html"}, False, PATIENT),
    "200 with nothing": ({"kind": "status", "status": 200, "body": "empty", "when": "after"}, True, PATIENT),
    "400 with HTML": ({"kind": "status", "status": 400, "body": "html"}, False, PATIENT),
    "408 with an envelope": ({"kind": "status", "status": 408}, False, PATIENT),
    "409 with an envelope after applying": ({"kind": "status", "status": 409, "when": "after"}, True, PATIENT),
    "499 with an envelope after applying": ({"kind": "status", "status": 499, "when": "after"}, True, PATIENT),
    "418 with HTML after applying": ({"kind": "status", "status": 418, "body": "html", "when": "after"}, True, PATIENT),
    "809": ({"kind": "status", "status": 400, "code": 809, "when": "after"}, True, PATIENT),
    "809 not applied": ({"kind": "status", "status": 400, "code": 809}, False, PATIENT),
    "truncated": ({"kind": "truncated"}, True, PATIENT),
    "short array": ({"kind": "array", "change": "short"}, True, PATIENT),
    "long array": ({"kind": "array", "change": "long"}, True, PATIENT),
    "reordered array": ({"kind": "array", "change": "reordered"}, True, PATIENT),
    "renumbered array": ({"kind": "array", "change": "renumbered"}, True, PATIENT),
    "duplicated entry": ({"kind": "array", "change": "duplicated"}, True, PATIENT),
    "misnumbered array": ({"kind": "array", "change": "misnumbered"}, True, PATIENT),
    "wrong badge": ({"kind": "echo", "field": "badge"}, True, PATIENT),
    "wrong badge in one entry": ({"kind": "echo", "field": "badge", "position": 4}, True, PATIENT),
    "wrong customer": ({"kind": "echo", "field": "customer", "position": 1}, True, PATIENT),
    "wrong expiry": ({"kind": "echo", "field": "expiry"}, True, PATIENT),
}
every_way = pytest.mark.parametrize(("fault", "applied", "client"), WITHOUT_PROOF.values(), ids=WITHOUT_PROOF)


@every_way
def test_hold_reports_unknown_and_resends_nothing(
    trial: Trial, fault: dict[str, Any], applied: bool, client: dict[str, Any]
) -> None:
    trial.faults({**fault, "numbers": [2]})
    result = trial.run(trial.rows(12), on_unknown="hold", client=client)
    assert isinstance(result.error, BudgetExceededError)
    assert trial.ends(result) == {"accepted": 8, "unknown": 4}
    assert trial.rows_reported_as(result, "unknown") == [5, 6, 7, 8]
    assert trial.calls() == result.summary.requests == 3
    assert trial.calls("/management/") == 0
    assert len(trial.simulator.store) == (12 if applied else 8)
    assert trial.times_granted() == [1]


@every_way
def test_verify_grants_each_row_exactly_once(
    trial: Trial, fault: dict[str, Any], applied: bool, client: dict[str, Any]
) -> None:
    trial.faults({**fault, "numbers": [2]})
    result = trial.run(trial.rows(12), on_unknown="verify", client=client)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.calls() == result.summary.requests == (3 if applied else 4)
    assert len(trial.granted()) == len(trial.simulator.store) == 12
    assert trial.clock.waits == [60.0]
    assert trial.states() == {"accepted": 12}


@every_way
def test_resend_reports_which_rows_may_be_double(
    trial: Trial, fault: dict[str, Any], applied: bool, client: dict[str, Any]
) -> None:
    trial.faults({**fault, "numbers": [2]})
    result = trial.run(trial.rows(12), on_unknown="resend", client=client)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.calls() == 4
    assert [number for number, _, _, _, message in trial.issues_of(result) if "twice" in message] == [5, 6, 7, 8]
    assert Counter(trial.granted().values()) == ({1: 8, 2: 4} if applied else {1: 12})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_redirect_stops_and_the_next_settles(trial: Trial, status: int, when: str) -> None:
    trial.faults({"kind": "status", "status": status, "when": when, "numbers": [2]})
    result = trial.run(trial.rows(12))
    assert isinstance(result.error, ImportStoppedError)
    assert "host or path of the connection is wrong" in str(result.error)
    assert trial.ends(result) == {"accepted": 4, "unknown": 4, "not_sent": 4}
    assert trial.calls() == 2
    result = trial.run(trial.rows(12), run_id="after the correction")
    assert result.error is None
    assert trial.states() == {"accepted": 12}
    assert trial.times_granted() == [1]


def test_only_the_entry_without_proof_is_unknown(trial: Trial) -> None:
    trial.faults({"kind": "echo", "field": "expiry", "position": 3, "numbers": [2]})
    result = trial.run(trial.rows(12), on_unknown="hold", max_unknown=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 11, "unknown": 1})
    assert trial.rows_reported_as(result, "unknown") == [7]


def test_an_unproven_badges_id_is_kept(trial: Trial) -> None:
    trial.faults({"kind": "echo", "field": "expiry"})
    trial.run(trial.rows(1), on_unknown="hold")
    [grant] = trial.simulator.store.grants()
    assert [(row.state, row.earned_badge_id) for row in trial.held_rows()] == [("unknown", grant.earned_badge_id)]


# -- verify: when, and what a read proves ----------------------------------------------------------------


def test_nothing_is_read_back_before_verify_after(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    reported: dict[str, float] = {}
    trial.moments.at("send", lambda: reported.update(send=trial.clock.now()))
    trial.moments.at("read", lambda: reported.update(read=trial.clock.now()))
    result = trial.run(trial.rows(4), verify_after=45)
    assert result.error is None
    assert reported["read"] - reported["send"] >= 45


def test_a_short_wait_leaves_no_row_unknown(trial: Trial) -> None:
    """The job waits by its own clock, the ledger's may be behind: adjusted by NTP, or on another machine."""
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    trial.clock.meanwhile = lambda seconds: trial.clock.advance(-seconds / 1000)
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "at": "late"},
        {"kind": "status", "status": 503, "when": "late"},
        {"kind": "status", "status": 504, "when": "late"},
    ],
    ids=["drop", "503", "504"],
)
def test_a_late_commit_is_found_and_not_repeated(trial: Trial, fault: dict[str, Any]) -> None:
    trial.faults({**fault, "numbers": [2]})
    trial.clock.meanwhile = lambda seconds: trial.simulator.release_late()
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.calls() == 3
    assert trial.times_granted() == [1]


def test_a_late_commit_of_held_rows_is_not_repeated(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "late", "numbers": [2]})
    trial.run(trial.rows(12), on_unknown="hold")
    assert trial.simulator.release_late() == 1
    result = trial.run(trial.rows(12), on_unknown="verify")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.calls() == 3
    assert trial.times_granted() == [1]


def test_lagging_reads_lead_to_no_second_grant(trial: Trial) -> None:
    trial.start(read_delay_seconds=50.0)
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    result = trial.run(trial.rows(4), verify_after=60)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.times_granted() == [1]


def test_a_badge_listed_as_an_event_is_found(trial: Trial) -> None:
    trial.start(earns_shape="event")
    later = [row | {"earnEventDate": row["earnEventDate"] + 1_000} for row in trial.rows(4)]
    trial.run(later, run_id="before")
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [2]})
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    ids = {grant.earned_badge_id for grant in trial.simulator.store.grants()}
    assert {row.earned_badge_id for row in trial.held_rows()} == ids
    assert trial.times_granted() == [1]


def test_a_badge_is_found_by_its_last_date(trial: Trial) -> None:
    trial.start(earns_detail=False)
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("earns_detail", [True, False])
def test_an_earlier_earn_does_not_pass_for_ours(trial: Trial, earns_detail: bool) -> None:
    trial.start(earns_detail=earns_detail)
    trial.prove_reads()
    trial.run(trial.rows(4), run_id="before")
    later = [row | {"earnEventDate": row["earnEventDate"] + 1_000} for row in trial.rows(4)]
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})
    result = trial.run(later)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert len(trial.simulator.store) == 9
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("applied", [True, False])
def test_an_inconclusive_read_resends_nothing(trial: Trial, applied: bool) -> None:
    trial.start(earns_detail=False)
    later = [row | {"earnEventDate": row["earnEventDate"] + 1_000} for row in trial.rows(4)]
    trial.run(later, run_id="before")
    trial.faults({"kind": "drop", "at": "after_applying" if applied else "after_reading", "numbers": [2]})
    result = trial.run(trial.rows(4))
    assert isinstance(result.error, BudgetExceededError)
    assert trial.ends(result) == {"unknown": 4}
    assert trial.calls() == 2
    assert trial.times_granted() == [1]


def test_only_absent_rows_of_a_batch_are_resent(trial: Trial) -> None:
    rows = trial.rows(8)
    trial.prove_reads()
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})
    trial.clock.meanwhile = lambda seconds: trial.grant_elsewhere(rows[1], rows[2])
    result = trial.run(rows, batch_size=8)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 8})
    assert trial.times_granted() == [1]


def test_verification_retries_failing_reads(trial: Trial) -> None:
    trial.faults(
        {"kind": "drop", "at": "after_applying", "numbers": [1]},
        {"kind": "status", "status": 503, "operation": "customer_badge", "times": 3},
        {"kind": "drop", "at": "after_reading", "operation": "customer_badge", "numbers": [5]},
        {"kind": "status", "status": 429, "retry_after": 5, "operation": "customer_badge", "numbers": [6]},
    )
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.times_granted() == [1]
    assert 5.0 in trial.clock.waits


def test_lasting_read_failures_leave_rows_unknown(trial: Trial) -> None:
    trial.prove_reads()
    trial.faults(
        {"kind": "drop", "at": "after_applying", "numbers": [1]},
        {"kind": "status", "status": 503, "operation": "customer_badge"},
    )
    result = trial.run(trial.rows(12))
    assert isinstance(result.error, ApiUnavailableError)
    assert trial.ends(result) == {"unknown": 4, "not_sent": 8}
    trial.faults()
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


def test_an_unreadable_customer_does_not_hold_others(trial: Trial) -> None:
    rows = trial.rows(12)
    trial.start(customers={row["customerId"] for row in rows} - {rows[1]["customerId"]})
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})
    result = trial.run(rows, max_unknown=1, max_rejected=1)
    ends = trial.ends(result)
    assert (result.error, ends.pop("accepted")) == (None, 11)
    assert ends in ({"unknown": 1}, {"rejected": 1})
    assert trial.times_granted() == [1]


# -- a server that stays sick ----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_several_unproven_batches_end_the_job(trial: Trial, policy: str) -> None:
    trial.faults({"kind": "status", "status": 503})
    result = trial.run(trial.rows(40), on_unknown=policy)
    assert isinstance(result.error, ApiUnavailableError)
    assert trial.calls() == 5
    assert len(trial.simulator.store) == 0
    trial.faults()
    result = trial.run(trial.rows(40), on_unknown="verify")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 40})
    assert trial.times_granted() == [1]


def test_resend_repeats_one_batch_a_bounded_number_of_times(trial: Trial) -> None:
    rows = trial.rows(200)
    unlucky = rows[0]["customerId"]
    trial.start(latency_ms=2)
    trial.faults({"kind": "drop", "at": "after_applying", "customer_id": unlucky})
    trial.run(rows, on_unknown="resend", batch_size=1, concurrency=4)
    assert trial.granted()[unlucky, trial.badge, trial.first_earned] <= 6


def test_a_slow_reply_counts(trial: Trial) -> None:
    trial.faults({"kind": "slow", "seconds": 0.2, "pieces": 4, "numbers": [2]})
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.calls() == 3


def test_another_jobs_grant_is_not_taken_for_ours(trial: Trial) -> None:
    """Ours never arrived; between the wait and the read another job sends a second row of the same instant."""
    trial.faults({"kind": "drop", "at": "after_reading", "numbers": [1]})

    def another_job() -> None:
        other = trial.run(trial.rows(1) * 2, run_id="night-2", on_duplicate="allow")
        assert trial.ends(other) == {"accepted": 1, "not_sent": 1}

    trial.moments.at("read", another_job)
    result = trial.run(trial.rows(1), on_duplicate="allow", max_unknown=1, ledger={"lease_seconds": 600.0})
    assert (result.error, trial.ends(result)) == (None, {"unknown": 1})
    assert len(trial.simulator.store) == 1
