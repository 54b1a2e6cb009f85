"""The lines of the outcome table where the reply proves that nothing was applied: wait, stop, halve or bisect."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    ImportStoppedError,
    RequestRefusedError,
)

from .trial import Trial

# -- no connection ---------------------------------------------------------------------------------------


def test_a_passing_refused_connection_is_waited_out(trial: Trial) -> None:
    port = trial.simulator.port
    trial.simulator.stop()

    def come_back(seconds: float) -> None:
        if len(trial.clock.waits) == 3:
            trial.start(port=port)

    trial.clock.meanwhile = come_back
    result = trial.run(trial.rows(10), jitter=0.5)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10})
    assert trial.clock.waits == [0.5, 1.0, 2.0]
    assert trial.times_granted() == [1]


def test_a_passing_resolution_failure_is_waited_out(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, failures = socket.getaddrinfo, iter(range(3))

    def resolve_later(*arguments: Any, **named: Any) -> Any:
        if next(failures, None) is not None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_later)
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.calls() == 1


def test_without_connection_nothing_is_unknown(trial: Trial) -> None:
    port = trial.simulator.port
    trial.simulator.stop()
    result = trial.run(trial.rows(10))
    assert isinstance(result.error, ApiUnavailableError)
    assert trial.ends(result) == {"not_sent": 10}
    assert (trial.reported.counts["send"], result.summary.requests) == (6, 0)  # requests count what left this machine
    assert trial.states() == {"planned": 4}
    trial.start(port=port)
    result = trial.run(trial.rows(10))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10})
    assert trial.times_granted() == [1]


# -- credentials -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "faults", "calls", "tokens"),
    [
        ({"password": "wrong"}, [], 1, 0),
        ({"auth_type": "oauth"}, [{"kind": "status", "status": 401}], 2, 2),
        ({"auth_type": "oauth", "password": "wrong"}, [], 0, 1),
    ],
    ids=["password", "new token too", "client secret"],
)
def test_refused_credentials_stop_the_job(
    trial: Trial, client: dict[str, Any], faults: list[dict[str, Any]], calls: int, tokens: int
) -> None:
    trial.faults(*faults)
    result = trial.run(trial.rows(10), client=client)
    assert isinstance(result.error, AuthenticationError)
    assert trial.ends(result) == {"not_sent": 10}
    assert (trial.calls(), trial.calls("oauth/token")) == (calls, tokens)


def test_a_refused_token_is_renewed_and_the_batch_sent(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 401, "numbers": [2]})
    result = trial.run(trial.rows(12), client={"auth_type": "oauth"})
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]
    assert (trial.calls(), trial.calls("oauth/token")) == (4, 2)


def test_a_token_is_renewed_before_it_expires(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 429, "retry_after": 280, "numbers": [2]})
    result = trial.run(trial.rows(12), client={"auth_type": "oauth"})
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.calls("oauth/token") == 2


def test_a_token_endpoint_in_trouble_is_waited_out(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 503, "operation": "token", "times": 2})
    result = trial.run(trial.rows(4), client={"auth_type": "oauth"})
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.times_granted() == [1]


# -- refused as a whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "not enabled"),
        (404, "import_method should be POST"),
        (415, "Content-Type"),
        (422, "what the API says"),
    ],
)
def test_a_refused_request_stops_and_says_why(trial: Trial, status: int, advice: str) -> None:
    trial.faults({"kind": "status", "status": status, "numbers": [2], "body": "envelope"})
    result = trial.run(trial.rows(12))
    assert isinstance(result.error, RequestRefusedError)
    assert result.error.status == status
    assert advice in str(result.error)
    assert trial.ends(result) == {"accepted": 4, "not_sent": 8}
    assert trial.rows_reported_as(result, "not_sent") == list(range(5, 13))
    assert trial.calls() == 2
    assert len(trial.simulator.store) == 4


@pytest.mark.parametrize(("method", "other"), [("PUT", "POST"), ("POST", "PUT")])
def test_a_refused_method_stops_and_names_the_other(trial: Trial, method: str, other: str) -> None:
    trial.start(methods=(other,))
    result = trial.run(trial.rows(8), client={"import_method": method})
    assert isinstance(result.error, RequestRefusedError)
    assert f"import_method to {other}" in str(result.error)
    assert trial.ends(result) == {"not_sent": 8}
    assert (trial.calls(), len(trial.simulator.store)) == (1, 0)


def test_a_new_job_sends_what_the_stopped_left(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 403, "numbers": [2]})
    trial.run(trial.rows(12))
    result = trial.run(trial.rows(12), max_tries=2)
    assert (result.error, trial.ends(result)) == (None, {"already_accepted": 4, "accepted": 8})
    assert trial.times_granted() == [1]


# -- too large -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [{"status": 413}, {"status": 400, "code": 1060, "message": "Batch limit size exceeded"}],
    ids=["413", "1060"],
)
def test_a_large_batch_is_halved_until_accepted(trial: Trial, refusal: dict[str, Any]) -> None:
    trial.faults({"kind": "status", "min_rows": 5, **refusal})
    result = trial.run(trial.rows(40), batch_size=40)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 40})
    assert trial.calls() == 1 + 2 + 4 + 8 + 16
    assert trial.times_granted() == [1]
    assert result.summary.batches == 1


def test_a_row_too_large_alone_is_rejected(trial: Trial) -> None:
    rows = trial.rows(8)
    trial.faults({"kind": "status", "status": 413, "customer_id": rows[2]["customerId"]})
    result = trial.run(rows, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 7, "rejected": 1})
    assert trial.rows_reported_as(result, "rejected") == [3]


# -- a row that makes the API refuse all -----------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 1054])
@pytest.mark.parametrize("poisoned", [1, 100, 256])
def test_one_bad_row_is_found_in_few_requests(trial: Trial, code: int, poisoned: int) -> None:
    rows = trial.rows(256)
    customer = rows[poisoned - 1]["customerId"]
    trial.faults({"kind": "status", "status": 400, "code": code, "message": "no such thing", "customer_id": customer})
    result = trial.run(rows, batch_size=256)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 255, "rejected": 1})
    assert trial.calls() == 1 + 2 * 8
    [(number, state, stage, reported_code, message)] = trial.issues_of(result)
    assert (number, state, stage, reported_code) == (poisoned, "rejected", "send", code)
    assert "no such thing" in message
    assert trial.times_granted() == [1]


@pytest.mark.parametrize(
    ("bad", "batch_size"), [([1, 2, 33, 64], 64), ([*range(11, 19)], 32)], ids=["far apart", "neighbours"]
)
def test_bad_rows_are_found_and_all_others_sent(trial: Trial, bad: list[int], batch_size: int) -> None:
    rows = trial.rows(64)
    trial.faults(
        *({"kind": "status", "status": 400, "code": 400, "customer_id": rows[n - 1]["customerId"]} for n in bad)
    )
    result = trial.run(rows, batch_size=batch_size, max_rejected="20%")
    assert (result.error, trial.ends(result)) == (None, {"accepted": 64 - len(bad), "rejected": len(bad)})
    assert trial.rows_reported_as(result, "rejected") == bad
    assert trial.times_granted() == [1]


def test_an_unreadable_dataset_costs_few_requests(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 400, "code": 400})
    result = trial.run(trial.rows(1_024), batch_size=256)
    assert isinstance(result.error, ImportStoppedError)
    assert trial.calls() <= 100
    assert result.summary.accepted == result.summary.unknown == 0


def test_a_badge_that_refuses_calls_costs_only_its_rows(trial: Trial) -> None:
    trial.start(unknown_badge="call")
    rows = trial.rows(32)
    rows[9]["badgeMetaId"] = "f" * 24
    result = trial.run(rows, batch_size=32)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 31, "rejected": 1})
    assert [issue[:4] for issue in trial.issues_of(result)] == [(10, "rejected", "send", 1054)]
    assert trial.calls() == 1 + 2 * 5


# -- too fast --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written_as", ["seconds", "date"])
def test_retry_after_is_waited_for_to_the_second(trial: Trial, written_as: str) -> None:
    trial.faults({"kind": "status", "status": 429, "retry_after": 7, "retry_after_as": written_as, "numbers": [2]})
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.clock.waits == [7.0]
    assert trial.calls() == 4
    assert trial.times_granted() == [1]


def test_repeated_429_waits_grow(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 429, "times": 4})
    result = trial.run(trial.rows(4), jitter=0.5)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert trial.clock.waits == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(("asked", "reported"), [(301, 301), (86_400, 86_400), (900_000, 86_400)])
def test_a_days_retry_after_is_left_to_airflow(trial: Trial, asked: int, reported: int) -> None:
    """A shorter wait would be refused again; so the job ends at once, and says for how long."""
    trial.faults({"kind": "status", "status": 429, "retry_after": asked, "numbers": [2]})
    result = trial.run(trial.rows(12))
    assert isinstance(result.error, ApiUnavailableError)
    assert (result.error.status, result.error.retry_after) == (429, reported)
    assert (trial.clock.waits, trial.calls()) == ([], 2)
    assert trial.ends(result) == {"accepted": 4, "not_sent": 8}
    trial.faults()
    assert trial.ends(trial.run(trial.rows(12))) == {"accepted": 12}
    assert trial.times_granted() == [1]


def test_five_minutes_of_retry_after_are_waited(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 429, "retry_after": 300, "times": 1})
    result = trial.run(trial.rows(4))
    assert (result.error, trial.clock.waits) == (None, [300.0])


def test_endless_429_stops_with_a_retry_time(trial: Trial) -> None:
    trial.faults({"kind": "status", "status": 429, "retry_after": 20})
    result = trial.run(trial.rows(12))
    assert isinstance(result.error, ApiUnavailableError)
    assert (result.error.status, result.error.retry_after) == (429, 20)
    assert trial.ends(result) == {"not_sent": 12}
    assert trial.calls() == 6
    trial.faults()
    result = trial.run(trial.rows(12))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
def test_what_was_not_applied_is_never_unknown(trial: Trial, policy: str) -> None:
    trial.faults(
        {"kind": "status", "status": 429, "retry_after": 1, "numbers": [1]},
        {"kind": "status", "status": 413, "numbers": [2]},
        {"kind": "status", "status": 400, "code": 400, "numbers": [4]},
    )
    result = trial.run(trial.rows(12), on_unknown=policy)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 12})
    assert trial.times_granted() == [1]
    assert trial.issues_of(result) == []
