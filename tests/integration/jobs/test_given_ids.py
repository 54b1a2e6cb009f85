"""Every id that the API gave is in the ledger, and what it stands for can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.exceptions import LeaseLostError
from airflow_provider_capillary.ledger.ledger import Ledger
from tests.integration.jobs.reconciling import reconcile
from tests.integration.jobs.revoking import active, revoke

from .trial import Trial

DELAY = 10**6  #: seconds until reads show a grant
ROWS = 20
#: Reply without proof -> how many rows get their id from it, and how many grants can be taken back.
UNPROVEN: dict[str, tuple[dict[str, Any], int, int]] = {
    "reordered": ({"kind": "array", "change": "reordered"}, ROWS, ROWS),
    "one short": ({"kind": "array", "change": "short"}, ROWS - 1, ROWS - 1),
    "one more": ({"kind": "array", "change": "long"}, ROWS, ROWS),
    "renumbered": ({"kind": "array", "change": "renumbered"}, 0, ROWS),
    "misnumbered": ({"kind": "array", "change": "misnumbered"}, 0, ROWS),
    "one entry twice": ({"kind": "array", "change": "duplicated"}, ROWS - 1, ROWS - 1),
    "badge in one entry": ({"kind": "echo", "field": "badge", "position": 4}, ROWS - 1, ROWS - 1),
    "customer in one entry": ({"kind": "echo", "field": "customer", "position": 4}, ROWS - 2, ROWS - 1),
    "customer in every entry": ({"kind": "echo", "field": "customer"}, 0, 0),
    "expiry in one entry": ({"kind": "echo", "field": "expiry", "position": 4}, ROWS, ROWS),
    "404": ({"kind": "success_status", "status": 404}, ROWS, ROWS),
    "413": ({"kind": "success_status", "status": 413}, ROWS, ROWS),
    "429": ({"kind": "success_status", "status": 429}, ROWS, ROWS),
    "500": ({"kind": "success_status", "status": 500}, ROWS, ROWS),
    "503": ({"kind": "success_status", "status": 503}, ROWS, ROWS),
}


def in_ledger(trial: Trial) -> set[str]:
    with closing(Ledger(trial.ledger_url, **trial.clock.of_a_ledger())) as ledger:
        return set(ledger.earned_badge_ids())


@pytest.fixture
def given(trial: Trial) -> Iterator[dict[str, list[str]]]:
    """Ids by request, as the API gave them; at the end each of them is in the ledger."""
    trial.start(earns_detail=False)  # reads show no ids
    found = trial.simulator.simulator.watch_given_ids()
    yield found
    assert {each for ids in found.values() for each in ids} <= in_ledger(trial)


@pytest.mark.parametrize("policy", ["verify", "hold"])
@pytest.mark.parametrize(("fault", "own", "revocable"), UNPROVEN.values(), ids=UNPROVEN)
def test_ids_of_unproven_replies_can_be_revoked(
    trial: Trial, given: dict[str, list[str]], fault: dict[str, Any], own: int, revocable: int, policy: str
) -> None:
    trial.faults({**fault, "numbers": [1]})
    result = trial.run(trial.rows(ROWS), batch_size=ROWS, on_unknown=policy, max_unknown=ROWS)
    assert (result.error, trial.times_granted(), len(given)) == (None, [1], 1)
    if policy == "hold":
        reconcile(trial, result, action="accept")
    assert trial.states() == {"accepted": ROWS}
    undone = revoke(trial, result)
    assert (undone.revoked, undone.without_id) == (revocable, ROWS - own)
    assert active(trial) == ROWS - revocable
    assert trial.states().get("revoked", 0) == own  # a row is not revoked by an id that may be another's


def test_an_id_beside_errors_survives_an_empty_read(trial: Trial) -> None:
    trial.start(read_delay_seconds=DELAY)
    given = trial.simulator.simulator.watch_given_ids()
    trial.prove_reads(seconds=DELAY)
    trial.faults({"kind": "echo", "field": "expiry", "numbers": [1]})
    result = trial.run(trial.rows(4))
    assert trial.times_granted() == [1, 2]  # reads that show nothing in time are not seen through
    assert {each for ids in given.values() for each in ids} < in_ledger(trial)
    doubts = [message for _, state, *_, message in trial.issues_of(result) if state == "accepted"]
    assert len(doubts) == 4
    assert all("may be granted twice" in message for message in doubts)
    assert revoke(trial, result).revoked == 8
    assert active(trial) == 1  # of the night before


def second_copy(trial: Trial) -> None:
    """Another copy of the job takes over, finds nothing yet, and sends all again."""
    trial.clock.advance(61)
    second = trial.run(trial.rows(10), batch_size=10)  # so that it reads before it sends anything of its own
    assert (second.error, trial.ends(second)) == (None, {"accepted": 10})


def test_a_late_copy_reports_both_ids_of_a_second_grant(trial: Trial) -> None:
    trial.start(read_delay_seconds=DELAY)
    given = trial.simulator.simulator.watch_given_ids()
    trial.prove_reads(seconds=DELAY)
    trial.moments.at("sent", lambda: second_copy(trial))
    with pytest.raises(LeaseLostError):
        trial.run(trial.rows(10), batch_size=5)
    assert trial.times_granted() == [1, 2]
    assert {each for ids in given.values() for each in ids} < in_ledger(trial)
    _, (job_id,) = trial.ask_ledger("SELECT job_id FROM capillary_job ORDER BY id")
    issues = trial.ask_ledger("SELECT row_number, state, stage, message FROM capillary_row_issue ORDER BY row_number")
    assert [(number, state, stage) for number, state, stage, _ in issues] == [
        (number, "accepted", "send") for number in range(1, 6)
    ]
    for number, *_, message in issues:
        ids = [g.earned_badge_id for g in trial.simulator.store.grants_of(trial.first_customer + number - 1)]
        assert all(each in message for each in ids)
        assert "may be granted twice" in message
    assert revoke(trial, job_id, dry_run=True).to_revoke == 15
    assert revoke(trial, job_id).revoked == 15
    assert active(trial) == 1  # of the night before
    assert (trial.states(), revoke(trial, job_id).to_revoke) == ({"accepted": 1, "revoked": 10}, 0)


def test_a_retry_repeats_the_second_grant(trial: Trial) -> None:
    trial.start(read_delay_seconds=DELAY)
    trial.prove_reads(seconds=DELAY)
    trial.moments.at("sent", lambda: second_copy(trial))
    with pytest.raises(LeaseLostError):
        trial.run(trial.rows(10), batch_size=5)
    again = trial.run(trial.rows(10), batch_size=5)
    assert (again.error, trial.ends(again)) == (None, {"accepted": 10})
    assert trial.rows_reported_as(again, "accepted") == list(range(1, 6))
