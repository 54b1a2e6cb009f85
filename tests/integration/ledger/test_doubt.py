"""A row that was set free without proof is in doubt for ever, on both databases."""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Adoption, IntentConflictError, Issues, Job, Outcome, Proof, Settled
from airflow_provider_capillary.ledger.ledger import Ledger

from .building import badge, begin, bring_to, claim, held, intent, issue, outcome, unproven

DOUBT = "sent again without proof"
KNOWN = frozenset({1})


def set_free(ledger: Ledger, job: Job, *rows: int, doubt: str | None = DOUBT) -> None:
    batch = bring_to(ledger, job, RowState.UNKNOWN, *map(badge, rows))
    freed = outcome(batch, RowState.PLANNED, *map(badge, rows))
    ledger.record(job, [msgspec.structs.replace(freed, doubt=doubt)])


def send_again(ledger: Ledger, job: Job, *rows: int, known: frozenset[int] = KNOWN) -> int:
    (batch,) = ledger.record(job, [msgspec.structs.replace(intent(*map(badge, rows)), doubted=known)])
    return batch


def doubt_of(ledger: Ledger, job: Job, row: int) -> str | None:
    found = held(ledger, job, badge(row))
    return found.doubt if found else None


def test_a_doubt_outlives_every_state_and_job(ledger: Ledger) -> None:
    job, other = begin(ledger), begin(ledger, "later")
    set_free(ledger, job, 1)
    ledger.record(job, [outcome(send_again(ledger, job, 1), RowState.REJECTED, badge(1))])
    assert doubt_of(ledger, other, 1) == DOUBT
    ledger.record(other, [outcome(send_again(ledger, other, 1), RowState.UNKNOWN, badge(1))])
    found = held(ledger, job, badge(1))
    assert found is not None
    ledger.record(job, [Adoption([(badge(1), found)])])
    again = msgspec.structs.replace(outcome(found.batch, RowState.PLANNED, badge(1)), doubt="another doubt")
    ledger.record(job, [again])
    ledger.record(job, [outcome(send_again(ledger, job, 1), RowState.ACCEPTED, badge(1))])
    assert (found.doubt, doubt_of(ledger, job, 1)) == (DOUBT, DOUBT)


def test_only_rows_that_are_unknown_come_into_doubt(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2), badge(3))
    ledger.record(job, [outcome(batch, RowState.UNKNOWN, badge(1), badge(2))])
    ledger.record(job, [outcome(batch, RowState.ACCEPTED, badge(2))])
    freed = outcome(batch, RowState.PLANNED, badge(1), badge(2), badge(3))
    ledger.record(job, [msgspec.structs.replace(freed, doubt=DOUBT)])
    assert [doubt_of(ledger, job, row) for row in (1, 2, 3)] == [DOUBT, None, None]


def test_a_doubted_row_is_claimed_knowingly(ledger: Ledger) -> None:
    job, other = begin(ledger), begin(ledger, "later")
    set_free(ledger, job, 1)
    for known in (frozenset[int](), frozenset({2})):
        with pytest.raises(IntentConflictError):
            send_again(ledger, other, 1, 2, known=known)
    send_again(ledger, other, 1, 2)
    one, two = held(ledger, other, badge(1)), held(ledger, other, badge(2))
    assert one is not None
    assert two is not None
    assert (one.state, one.batch, one.doubt, two.doubt) == (RowState.INTENT, two.batch, DOUBT, None)


@pytest.mark.parametrize("reported_before", [True, False])
def test_an_accepted_doubted_row_is_perhaps_double(ledger: Ledger, reported_before: bool, job: Job) -> None:
    set_free(ledger, job, 1)
    batch = send_again(ledger, job, 1, 2)
    reported = tuple(issue(row, RowState.UNKNOWN, "no reply") for row in (1, 2)) if reported_before else ()
    ledger.record(
        job, [Outcome(batch, "UNKNOWN", None, outcome(batch, RowState.UNKNOWN, badge(1), badge(2)).rows, reported)]
    )
    ledger.finish_job(job, "failed", None)
    mine = ledger.settlements.take_stock(job.job_id)
    rows = [Settled(row, RowState.ACCEPTED, "seen") for row in unproven(ledger, job.job_id)]
    ledger.settlements.settle(mine, rows, proof=Proof.READ, by="Ada")
    by_row = {one.row_number: one for one in ledger.issues(job.job_id)}
    assert (by_row[1].state, by_row[1].stage) == (RowState.ACCEPTED, "send")
    assert by_row[1].message == ("no reply; " if reported_before else "") + f"seen; {DOUBT}"
    if reported_before:
        assert (by_row[2].stage, by_row[2].message) == ("verify", "no reply; seen")
    else:
        assert 2 not in by_row
        assert by_row[1].original["customerId"] == badge(1).customer_id


def test_a_persons_word_leaves_doubt_and_a_read_none(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.UNKNOWN, badge(1), badge(2))
    ledger.finish_job(job, "failed", None)
    one, two = unproven(ledger, job.job_id)
    mine = ledger.settlements.take_stock(job.job_id)
    ledger.settlements.settle(mine, [Settled(one, RowState.PLANNED, "free", doubt=DOUBT)], proof=Proof.PERSON, by="Ada")
    ledger.settlements.settle(mine, [Settled(two, RowState.PLANNED, "free")], proof=Proof.READ, by="Ada")
    assert [doubt_of(ledger, job, row) for row in (1, 2)] == [DOUBT, None]


def test_a_doubt_is_added_to_an_issue_once(ledger: Ledger, job: Job) -> None:
    ledger.record(job, [Issues([issue(1, message="first")])])
    ledger.record(job, [Issues([issue(1, message="second"), issue(2, message="new")], keep_earlier=True)])
    ledger.record(job, [Issues([issue(1, message="second")], keep_earlier=True)])
    assert [one.message for one in ledger.issues(job.job_id)] == ["first; second", "new"]
