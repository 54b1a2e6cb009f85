"""Rows that a reply accepts are settled by one note for their batch, and are as safe as with a note each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import statements
from airflow_provider_capillary.ledger.base import Adoption, IntentConflictError, Job, Outcome, RowChange
from airflow_provider_capillary.ledger.revocations import Answer
from airflow_provider_capillary.ledger.sql_ledger import SqlLedger

from .backends import Backend, SqliteBackend
from .building import badge, begin, bring_to, claim, held, intent, issue, outcome, state

ROWS = [badge(1), badge(2), badge(3)]
ACCEPTED, UNKNOWN, PLANNED, REJECTED = RowState.ACCEPTED, RowState.UNKNOWN, RowState.PLANNED, RowState.REJECTED


def told(backend: Backend, what: str = "state") -> dict[int, Any]:
    """What the ledger tells of each row, by its number."""
    with backend.look() as connection:
        rows = connection.execute(sa.text(f"SELECT row_number, {what} FROM capillary_row")).all()
    return {number: value for number, value in rows}


def accepted_batches(backend: Backend) -> list[int]:
    with backend.look() as connection:
        return list(connection.execute(sa.text("SELECT batch_id FROM capillary_accepted_batch")).scalars())


def accepting(batch: int, *rows: EarnedBadge, **others: Any) -> Outcome:
    return Outcome(batch, "PER_ROW", 200, accepted=rows, ids=[f"id-{row.row_number}" for row in rows], **others)


def test_each_row_is_accepted_under_its_own_id_by_one_note(backend: Backend, ledger: SqlLedger) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    assert (accepted_batches(backend), ledger.counts(job)) == ([], {RowState.INTENT: 3})
    ledger.record(job, [accepting(batch, *ROWS)])
    assert accepted_batches(backend) == [batch]
    assert told(backend) == dict.fromkeys((1, 2, 3), "accepted")
    assert told(backend, "earned_badge_id") == {1: "id-1", 2: "id-2", 3: "id-3"}
    assert ledger.counts(job) == {ACCEPTED: 3}
    assert state(ledger, job, ROWS[1]) is ACCEPTED
    assert [row.earned_badge_id for row in ledger.granted(job.job_id)] == ["id-1", "id-2", "id-3"]


def test_rows_that_are_not_accepted_stand_beside_those_that_are(backend: Backend, ledger: SqlLedger) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS, badge(4))
    others = [RowChange(ROWS[1], REJECTED), RowChange(badge(4), UNKNOWN, "id-x")]
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2], rows=others, issues=(issue(2, REJECTED),))])
    assert told(backend) == {1: "accepted", 2: "rejected", 3: "accepted", 4: "unknown"}
    assert told(backend, "earned_badge_id") == {1: "id-1", 2: None, 3: "id-3", 4: "id-x"}
    assert ledger.counts(job) == {ACCEPTED: 2, REJECTED: 1, UNKNOWN: 1}


def test_an_outcome_of_a_part_of_the_rows_says_nothing_of_the_others(backend: Backend, ledger: SqlLedger) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2])])
    assert told(backend) == {1: "accepted", 2: "intent", 3: "accepted"}
    assert accepted_batches(backend) == []


@pytest.mark.parametrize("new", ["unknown", "planned", "rejected"])
def test_no_statement_takes_an_accepted_row_out_of_its_batch(backend: Backend, ledger: SqlLedger, new: str) -> None:
    job = begin(ledger)
    bring_to(ledger, job, ACCEPTED, *ROWS)
    change = sa.text("UPDATE capillary_earned_badge SET state = :state WHERE row_number = 2")
    with backend.look() as connection, pytest.raises(sa.exc.DBAPIError, match="accepted with its batch"):
        connection.execute(change, {"state": new})
    assert told(backend) == dict.fromkeys((1, 2, 3), "accepted")


def test_accepted_rows_stay_so_when_the_next_try_finds_the_intents_of_this_one(
    backend: Backend, ledger: SqlLedger
) -> None:
    job = begin(ledger)
    bring_to(ledger, job, ACCEPTED, *ROWS)
    claim(ledger, job, badge(4))
    ledger.finish_job(job, "failed", None)
    again = begin(ledger)
    assert told(backend) == {1: "accepted", 2: "accepted", 3: "accepted", 4: "unknown"}
    ledger.finish_job(again, "failed", None)
    ledger.take_stock(again.job_id)
    assert told(backend) == {1: "accepted", 2: "accepted", 3: "accepted", 4: "unknown"}
    assert [row.badge.row_number for row in ledger.unproven(again.job_id)] == [4]


def next_try(ledger: SqlLedger, job: Job) -> None:
    ledger.finish_job(job, "failed", None)
    begin(ledger)


def stock(ledger: SqlLedger, job: Job) -> None:
    ledger.finish_job(job, "failed", None)
    ledger.take_stock(job.job_id)


def heir(ledger: SqlLedger, job: Job) -> None:
    other = begin(ledger, "another run")
    rows = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(other, [Adoption(rows)])


@pytest.mark.parametrize("taken_by", [next_try, stock, heir], ids=["next try", "stock", "another job"])
def test_a_reply_that_comes_after_rows_were_taken_away_still_settles_each(
    backend: Backend, ledger: SqlLedger, taken_by: Callable[[SqlLedger, Job], None]
) -> None:
    """As a copy that stood still and wakes up tells it: its word is true, but the rows are no intents any more."""
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    taken_by(ledger, job)
    assert told(backend) == dict.fromkeys((1, 2, 3), "unknown")
    ledger.record(job, [accepting(batch, *ROWS)])
    assert told(backend) == dict.fromkeys((1, 2, 3), "accepted")
    assert told(backend, "earned_badge_id") == {1: "id-1", 2: "id-2", 3: "id-3"}
    assert accepted_batches(backend) == []


def test_rows_that_were_accepted_in_the_meantime_cannot_be_taken_over(backend: Backend, ledger: SqlLedger) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    other = begin(ledger, "another run")
    seen = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(job, [accepting(batch, *ROWS)])
    with pytest.raises(IntentConflictError):
        ledger.record(other, [Adoption(seen)])
    assert told(backend) == dict.fromkeys((1, 2, 3), "accepted")
    assert ledger.counts(job) == {ACCEPTED: 3}


def test_a_row_left_unknown_beside_accepted_ones_can_be_taken_over_and_those_cannot(
    backend: Backend, ledger: SqlLedger
) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    other = begin(ledger, "another run")
    before = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2], rows=[RowChange(ROWS[1], UNKNOWN)])])
    assert accepted_batches(backend) == [batch]
    for seen in before[::2]:
        with pytest.raises(IntentConflictError):
            ledger.record(other, [Adoption([seen])])
    seen_now = held(ledger, other, ROWS[1])
    assert seen_now is not None
    ledger.record(other, [Adoption([(ROWS[1], seen_now)])])
    assert (ledger.counts(job), ledger.counts(other)) == ({ACCEPTED: 2}, {UNKNOWN: 1})
    ledger.record(other, [Outcome(batch, "", None, [RowChange(ROWS[1], ACCEPTED, "id-found")])])
    assert told(backend, "earned_badge_id") == {1: "id-1", 2: "id-found", 3: "id-3"}


def test_one_row_can_be_revoked_and_the_others_stay(backend: Backend, ledger: SqlLedger) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [accepting(batch, *ROWS)])
    ledger.finish_job(job, "finished", {"rows_read": 3, "accepted": 3, "unknown": 0})
    row = ledger.granted(job.job_id)[1]
    ledger.note_revocation(job, row, by="anna")
    assert ledger.granted(job.job_id)[1].asked_before
    assert ledger.answer_revocation(job, row, Answer.REVOKED)
    assert told(backend) == {1: "accepted", 2: "revoked", 3: "accepted"}
    assert told(backend, "earned_badge_id") == {1: "id-1", 2: "id-2", 3: "id-3"}
    found = ledger.grants(job.job_id)
    assert (sum(found.with_id.values()), found.revoked) == (2, 1)


@pytest.mark.parametrize("before", [*(one for one in RowState if one in (ACCEPTED, UNKNOWN, PLANNED, REJECTED))])
@pytest.mark.parametrize("run", ["2026-01-01", "another run"], ids=["same job", "another job"])
def test_an_intent_for_rows_that_nobody_looked_up_conflicts_with_whatever_is_there(
    backend: Backend, ledger: SqlLedger, before: RowState, run: str
) -> None:
    job = begin(ledger)
    bring_to(ledger, job, before, ROWS[1])
    own = job if run == "2026-01-01" else begin(ledger, run)
    unseen = intent(*ROWS)
    with pytest.raises(IntentConflictError):
        ledger.record(own, [type(unseen)(ROWS, "body", "request", 1, unseen=True)])
    assert told(backend) == {2: before.value}
    (batch,) = ledger.record(own, [type(unseen)([ROWS[0], ROWS[2]], "body", "request", 1, unseen=True)])
    ledger.record(own, [outcome(batch, ACCEPTED, ROWS[0], ROWS[2])])
    assert told(backend) == {1: "accepted", 2: before.value, 3: "accepted"}


def counted_by_looking(backend: Backend) -> Counter[str]:
    return Counter(told(backend).values())


def test_rows_of_accepted_batches_are_counted_without_a_look_at_each(backend: Backend, ledger: SqlLedger) -> None:
    job = begin(ledger)
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2], rows=[RowChange(ROWS[1], REJECTED)])])
    for granted in ("accepted", "revoked"):  # by hand: as a revocation between two tries does it
        with backend.look() as connection:
            change = sa.text("UPDATE capillary_earned_badge SET state = :state WHERE row_number = 3")
            connection.execute(change, {"state": granted})
    assert ledger.counts(job) == {ACCEPTED: 1, REJECTED: 1, RowState.REVOKED: 1}
    assert ledger.counts(job) == counted_by_looking(backend)
    claim(ledger, job, badge(4))
    assert ledger.counts(job) == {ACCEPTED: 1, REJECTED: 1, RowState.REVOKED: 1, RowState.INTENT: 1}
    assert ledger.counts(job) == counted_by_looking(backend)


def test_counting_reads_indexes_only(sqlite_backend: SqliteBackend) -> None:
    begin(sqlite_backend.open())
    with sqlite_backend.look() as connection:
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {statements.COUNT_TOLD}"), {"job": 1}).all()
    reads = [step.detail for step in plan if "capillary_earned_badge" in step.detail]
    assert len(reads) == 2
    assert all("USING COVERING INDEX" in read for read in reads)
