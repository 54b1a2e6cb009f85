"""A reply with an array, entry by entry: what is accepted, what rejected, what tried again, what stops the job."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.core.outcome import PASSING
from airflow_provider_capillary.exceptions import BudgetExceededError, ImportStoppedError

from .trial import Trial

NO_SUCH_BADGE = "f" * 24


def test_a_201_with_proofs_is_success(trial: Trial) -> None:
    trial.faults({"kind": "success_status", "status": 201})
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_the_servers_print_zone_does_not_matter(trial: Trial, zone: str) -> None:
    trial.start(zone=zone)
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})


def test_a_refused_row_has_the_apis_code_and_text(trial: Trial) -> None:
    rows = trial.rows(12)
    trial.faults(
        {"kind": "row_error", "code": 1026, "message": "no such customer", "customer_id": rows[6]["customerId"]}
    )
    result = trial.run(rows, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 11, "rejected": 1})
    assert trial.issues_of(result) == [(7, "rejected", "send", 1026, "no such customer")]
    assert [(each.stage, each.code, each.rows) for each in result.summary.reasons] == [("send", 1026, 1)]
    assert trial.calls() == 3


@pytest.mark.parametrize("shape", ["object", "array"])
def test_errors_count_as_object_or_array(trial: Trial, shape: str) -> None:
    rows = trial.rows(4)
    rows[1]["badgeMetaId"] = NO_SUCH_BADGE
    trial.faults({"kind": "errors_shape", "shape": shape})
    result = trial.run(rows, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 3, "rejected": 1})
    assert [issue[:4] for issue in trial.issues_of(result)] == [(2, "rejected", "send", 1054)]


def test_an_entry_without_badge_or_error_is_unknown(trial: Trial) -> None:
    rows = trial.rows(4)
    rows[1]["badgeMetaId"] = NO_SUCH_BADGE
    trial.faults({"kind": "errors_shape", "shape": "null"})
    result = trial.run(rows, on_unknown="hold", max_unknown=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 3, "unknown": 1})
    assert trial.rows_reported_as(result, "unknown") == [2]


# -- refused for a passing reason ------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(PASSING))
def test_a_passing_code_is_retried_until_accepted(trial: Trial, code: int) -> None:
    rows = trial.rows(4)
    trial.faults({"kind": "row_error", "code": code, "customer_id": rows[2]["customerId"], "times": 3})
    result = trial.run(rows, jitter=0.5)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.calls() == 4
    assert trial.clock.waits == [0.5, 1.0, 2.0]
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("code", sorted(PASSING))
def test_a_lasting_passing_code_rejects_its_row(trial: Trial, code: int) -> None:
    rows = trial.rows(12)
    trial.faults({"kind": "row_error", "code": code, "customer_id": rows[2]["customerId"]})
    result = trial.run(rows, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 11, "rejected": 1})
    assert [issue[:4] for issue in trial.issues_of(result)] == [(3, "rejected", "send", code)]
    assert trial.calls() == 6 + 2
    assert trial.times_granted() == [1]


def test_a_batch_of_521_does_not_stop_the_job(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 521, "numbers": [1]})
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


# -- the wrong time unit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_thousandfold_expiries_stop_the_job(trial: Trial, policy: str) -> None:
    trial.faults({"kind": "echo", "field": "thousandfold"})
    result = trial.run(trial.rows(40), on_unknown=policy)
    assert isinstance(result.error, ImportStoppedError)
    assert "timestamp_format" in str(result.error)
    assert trial.ends(result) == {"unknown": 4, "not_sent": 36}
    assert trial.calls() == 1


def test_milliseconds_to_a_seconds_api_cost_one_badge(trial: Trial) -> None:
    result = trial.run(trial.rows(40), canary=True, client={"timestamp_format": "epoch_milliseconds"})
    assert isinstance(result.error, ImportStoppedError)
    assert trial.ends(result) == {"unknown": 1, "not_sent": 39}
    assert len(trial.simulator.store) == 1


# -- the canary ------------------------------------------------------------------------------------------


def test_canaries_of_1_10_100_go_first(trial: Trial) -> None:
    sizes: list[int] = []
    by_request: dict[str, int] = {}
    result = trial.run(trial.rows(400), canary=True, batch_size=100, concurrency=4)
    for grant in trial.simulator.store.grants():
        request = grant.request_id.rpartition("_")[0]
        by_request[request] = by_request.get(request, 0) + 1
    sizes = list(by_request.values())
    assert result.error is None
    assert sizes[:3] == [1, 10, 100]
    assert sum(sizes) == 400


def test_canaries_are_never_larger_than_batch_size(trial: Trial) -> None:
    result = trial.run(trial.rows(40), canary=True, batch_size=8)
    assert result.error is None
    assert trial.calls() == 1 + 1 + 1 + 3  # 1, 8, 8, and the remaining 23 by eights


PROOFLESS: dict[str, dict[str, Any]] = {
    "short array": {"kind": "array", "change": "short"},
    "reordered array": {"kind": "array", "change": "reordered"},
    "wrong customer": {"kind": "echo", "field": "customer"},
    "wrong expiry": {"kind": "echo", "field": "expiry"},
    "envelope": {"kind": "status", "status": 200, "body": "envelope", "when": "after"},
    "truncated": {"kind": "truncated"},
}


@pytest.mark.parametrize("fault", PROOFLESS.values(), ids=PROOFLESS)
@pytest.mark.parametrize(("number", "accepted", "unknown"), [(2, 1, 10), (3, 11, 100)])
def test_a_canary_that_fails_a_proof_stops_the_job(
    trial: Trial, fault: dict[str, Any], number: int, accepted: int, unknown: int
) -> None:
    trial.faults({**fault, "numbers": [number]})
    result = trial.run(trial.rows(300), canary=True, batch_size=100, concurrency=4)
    assert isinstance(result.error, ImportStoppedError)
    assert trial.ends(result) == {"accepted": accepted, "unknown": unknown, "not_sent": 300 - accepted - unknown}
    assert trial.calls() == number
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("policy", ["hold", "resend"])
def test_a_canary_that_fails_a_proof_is_not_resent(trial: Trial, policy: str) -> None:
    trial.faults({"kind": "array", "change": "reordered", "numbers": [2]})
    result = trial.run(trial.rows(40), canary=True, on_unknown=policy)
    assert isinstance(result.error, ImportStoppedError)
    assert trial.ends(result) == {"accepted": 1, "unknown": 4, "not_sent": 35}
    assert trial.calls() == 2


def test_a_canary_lost_on_the_wire_is_verified(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 503, "when": "after", "numbers": [1]})
    result = trial.run(trial.rows(40), canary=True, batch_size=100)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 40})
    assert trial.times_granted() == [1]


def test_a_refused_first_row_stops_nothing(trial: Trial) -> None:
    rows = trial.rows(40)
    trial.faults({"kind": "row_error", "code": 1026, "customer_id": rows[0]["customerId"]})
    result = trial.run(rows, canary=True, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 39, "rejected": 1})


# -- nothing but refusals --------------------------------------------------------------------------------


def test_a_refused_first_full_batch_stops_the_job(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026})
    result = trial.run(trial.rows(40))
    assert isinstance(result.error, ImportStoppedError)
    assert trial.ends(result) == {"rejected": 4, "not_sent": 36}
    assert trial.calls() == 1
    assert trial.rows_reported_as(result, "not_sent") == list(range(5, 41))


def test_five_refused_batches_stop_the_job(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "first": 4})
    result = trial.run(trial.rows(80), max_rejected="100%")
    assert isinstance(result.error, ImportStoppedError)
    assert trial.ends(result) == {"accepted": 12, "rejected": 20, "not_sent": 48}
    assert trial.calls() == 8


def test_refused_batches_between_good_ones_stop_nothing(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "first": 2, "every": 2})
    result = trial.run(trial.rows(80), max_rejected="50%")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 40, "rejected": 40})


def test_a_stopped_job_says_budget_or_cause(trial: Trial) -> None:
    trial.faults({"kind": "row_error", "code": 1026, "positions": [1]})
    result = trial.run(trial.rows(12), max_rejected="20%")
    assert isinstance(result.error, BudgetExceededError)
    assert "3 of 12 rows" in str(result.error)
