"""Connections that take long, and the processes that die behind them: when a body leaves, and what is believed then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import urllib3.util.connection as lower

from airflow_provider_capillary.core import send_limits
from airflow_provider_capillary.exceptions import ApiUnavailableError
from tests.integration.jobs.reconciling import reconcile

from .trial import Trial

LIMIT = send_limits.STALE_INTENT_SECONDS
VERIFY_AFTER = 15.0


@pytest.fixture
def slow(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the next connections take so long, by the clock of the trial: a resolver has no limit of its own."""
    connect, left = lower.create_connection, list[float]()

    def create_connection(*arguments: Any, **named: Any) -> Any:
        trial.clock.advance(left.pop(0) if left else 0.0)
        return connect(*arguments, **named)

    monkeypatch.setattr(lower, "create_connection", create_connection)
    return lambda *seconds: left.extend(seconds)


def apply_late(trial: Trial, seconds: float) -> None:
    """The API applies what it received so long after now."""
    due = trial.clock.now() + seconds
    trial.clock.meanwhile = lambda _: trial.simulator.release_late() if trial.clock.now() >= due else None


def killed_as_the_request_arrives(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "late", "numbers": [1]})
    trial.moments.die("sent")
    with pytest.raises(trial.killed):
        trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER)
    trial.faults()


@pytest.mark.parametrize("connecting", [0.0, 4.0, 9.0, LIMIT])
def test_a_death_on_a_slow_connection_doubles_nothing(
    trial: Trial, slow: Callable[..., None], connecting: float
) -> None:
    slow(connecting)
    killed_as_the_request_arrives(trial)
    apply_late(trial, VERIFY_AFTER - 0.5)
    result = trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER)
    assert (result.error, trial.ends(result)) == (None, {"accepted": 10})
    assert (trial.times_granted(), trial.calls()) == ([1], 1)


def test_a_death_during_the_write_doubles_nothing(trial: Trial, slow: Callable[..., None]) -> None:
    slow(LIMIT)
    killed_as_the_request_arrives(trial)
    trial.clock.advance(send_limits.WRITE_SECONDS - 1)  # so long the last bytes took
    apply_late(trial, VERIFY_AFTER)
    result = trial.run(trial.rows(10), batch_size=10, verify_after=VERIFY_AFTER)
    assert (result.error, trial.times_granted(), trial.calls()) == (None, [1], 1)


def test_a_reconciliation_waits_as_long_as_a_retry(trial: Trial, slow: Callable[..., None]) -> None:
    trial.prove_reads()
    slow(LIMIT)
    begun = trial.clock.now()
    killed_as_the_request_arrives(trial)
    trial.clock.advance(61 - LIMIT)  # its lease is over
    _, (job_id,) = trial.ask_ledger("SELECT job_id FROM capillary_job ORDER BY id")
    assert reconcile(trial, job_id, verify_after=VERIFY_AFTER).resend == 10
    assert trial.clock.now() - begun == LIMIT + send_limits.WRITE_SECONDS + VERIFY_AFTER


def test_another_job_waits_as_long_as_a_retry(trial: Trial, slow: Callable[..., None]) -> None:
    slow(LIMIT)
    begun = trial.clock.now()
    killed_as_the_request_arrives(trial)
    trial.clock.advance(61 - LIMIT)
    trial.moments.at("read", lambda: read.append(trial.clock.now()))
    read: list[float] = []
    trial.run(trial.rows(10), batch_size=10, run_id="night-2", verify_after=VERIFY_AFTER)
    assert read[0] - begun == LIMIT + send_limits.WRITE_SECONDS + VERIFY_AFTER


def test_a_finished_exchange_needs_no_margin(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    held = trial.run(trial.rows(4), on_unknown="hold")
    begun = trial.clock.now()
    assert reconcile(trial, held, verify_after=VERIFY_AFTER).accepted == 4
    assert trial.clock.now() - begun == VERIFY_AFTER


@pytest.mark.parametrize("connecting", [LIMIT + 0.1, 3_600.0])
def test_a_slow_connection_withdraws_the_intent(trial: Trial, slow: Callable[..., None], connecting: float) -> None:
    slow(connecting)
    result = trial.run(trial.rows(4))
    assert (result.error, trial.ends(result)) == (None, {"accepted": 4})
    assert (trial.times_granted(), result.summary.requests) == ([1], 1)
    batches = trial.ask_ledger("SELECT verdict, attempt, sent_at FROM capillary_batch ORDER BY id")
    assert [verdict for verdict, *_ in batches] == ["RETRY_LATER", "PER_ROW"]
    assert [attempt for _, attempt, _ in batches] == [1, 1]  # the first one never left
    assert batches[1][2] - batches[0][2] >= connecting - 0.001


def test_always_slow_connections_end_with_that_reason(trial: Trial, slow: Callable[..., None]) -> None:
    slow(*[LIMIT + 1] * 20)
    result = trial.run(trial.rows(4))
    assert isinstance(result.error, ApiUnavailableError)
    assert f"not sent: the connection took {LIMIT + 1:.1f} s" in str(result.error)
    assert (trial.ends(result), result.summary.requests, len(trial.simulator.store)) == ({"not_sent": 4}, 0, 0)


def test_a_slow_token_keeps_the_body_back(trial: Trial, slow: Callable[..., None]) -> None:
    """The token is fetched between the intent and the body."""
    slow(LIMIT + 1)
    result = trial.run(trial.rows(4), client={"auth_type": "oauth"})
    assert (result.error, trial.times_granted(), result.summary.requests) == (None, [1], 1)
    verdicts = [verdict for (verdict,) in trial.ask_ledger("SELECT verdict FROM capillary_batch ORDER BY id")]
    assert verdicts == ["RETRY_LATER", "PER_ROW"]


def test_a_living_process_waits_no_longer(trial: Trial) -> None:
    trial.faults({"kind": "drop", "at": "after_applying", "numbers": [1]})
    trial.run(trial.rows(4), verify_after=VERIFY_AFTER)
    assert trial.clock.waits == [VERIFY_AFTER]
