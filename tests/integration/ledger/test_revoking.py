"""Notes of what is taken back: the same on every database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError, LedgerUnusableError
from airflow_provider_capillary.ledger.facts import Answer, GrantedRow, IntentConflictError, Job, Outcome, RowChange
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend
from .building import GOLD, SILVER, badge, begin, bring_to, claim, granted, state

BY = "user anna"
REVOKE_ODD = """
    INSERT INTO capillary_odd_row (customer_id, badge_id, earned_at, occurrence, batch_id, state, job_id, row_number,
        expires_at) SELECT customer_id, badge_id, earned_at, occurrence, batch_id, 'revoked', 1, 1, 1
    FROM capillary_earned_badge
"""


def accepted(ledger: Ledger, *rows: EarnedBadge, run: str = "2026-01-01", with_id: bool = True) -> Job:
    """A job that has ended, with these rows accepted under ids of their own."""
    job = begin(ledger, run)
    batch = claim(ledger, job, *rows)
    if with_id:
        reported = Outcome(batch, "PER_ROW", 200, accepted=rows, ids=[f"id-{row.row_number}" for row in rows])
    else:
        reported = Outcome(batch, "", None, [RowChange(row, RowState.ACCEPTED) for row in rows])
    ledger.record(job, [reported])
    ledger.finish_job(job, "finished", {"rows_read": len(rows), "accepted": len(rows), "unknown": 0})
    return job


def to_be_revoked(ledger: Ledger) -> tuple[Job, Job, GrantedRow]:
    """A job that has ended with one row accepted, the same with its stock taken, and the row."""
    job = accepted(ledger, badge(1))
    mine = ledger.settlements.take_stock(job.job_id)
    [row] = granted(ledger, job.job_id)
    return job, mine, row


def notes(backend: Backend) -> list[dict[str, Any]]:
    with backend.look() as connection:
        found = connection.execute(sa.text("SELECT * FROM capillary_revocation ORDER BY earned_badge_id"))
        return [dict(row) for row in found.mappings()]


def test_granted_rows_are_counted_by_what_is_possible(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.ACCEPTED, badge(1), badge(2), badge(3, name=SILVER))
    bring_to(ledger, job, RowState.UNKNOWN, badge(4))
    bring_to(ledger, job, RowState.REJECTED, badge(5))
    bring_to(ledger, job, RowState.INTENT, badge(6))
    batch = claim(ledger, job, badge(7))
    ledger.record(job, [Outcome(batch, "PER_ROW", 200, [RowChange(badge(7), RowState.ACCEPTED, None)])])
    accepted(ledger, badge(8), run="another job")
    found = ledger.grants(job.job_id)
    assert (found.with_id, found.without_id, found.unknown, found.revoked) == ({GOLD: 2, SILVER: 1}, 1, 2, 0)
    assert [row.badge for row in granted(ledger, job.job_id)] == [badge(1), badge(2), badge(3, name=SILVER)]


def test_a_revocation_is_noted_before_it_is_asked(backend: Backend, ledger: Ledger) -> None:
    job, mine, row = to_be_revoked(ledger)
    assert not row.asked_before
    ledger.revocations.note(mine, row, by=BY)
    [note] = notes(backend)
    assert (note["asked_by"], note["answer"], note["answered_at"], note["job_id"]) == (BY, None, None, job.key)
    assert state(ledger, job, badge(1)) is RowState.ACCEPTED
    [again] = granted(ledger, job.job_id)
    assert again.asked_before
    ledger.revocations.note(mine, again, by="another person")
    assert notes(backend) == [note]  # the first word stands as long as there is no answer


@pytest.mark.parametrize("answer", [Answer.REVOKED, Answer.NOT_ACTIVE])
def test_an_inactive_row_is_revoked_for_good(backend: Backend, ledger: Ledger, answer: Answer) -> None:
    job, mine, row = to_be_revoked(ledger)
    ledger.revocations.note(mine, row, by=BY)
    assert ledger.revocations.answer(mine, row, answer)
    assert state(ledger, job, badge(1)) is RowState.REVOKED
    assert notes(backend)[0]["answer"] == answer.value
    assert (granted(ledger, job.job_id), ledger.grants(job.job_id).revoked) == ([], 1)
    summary = ledger.job(job.job_id).summary
    assert summary == {"rows_read": 1, "accepted": 1, "unknown": 0, "revoked": 1}

    assert not ledger.revocations.answer(mine, row, answer)
    assert ledger.job(job.job_id).summary == summary
    later = begin(ledger, "later")
    with pytest.raises(IntentConflictError):
        claim(ledger, later, badge(1))


@pytest.mark.parametrize("answer", [Answer.REFUSED, Answer.UNCONFIRMED])
def test_a_row_not_revoked_can_be_asked_again(backend: Backend, ledger: Ledger, answer: Answer) -> None:
    job, mine, row = to_be_revoked(ledger)
    ledger.revocations.note(mine, row, by=BY)
    assert not ledger.revocations.answer(mine, row, answer)
    assert state(ledger, job, badge(1)) is RowState.ACCEPTED
    [again] = granted(ledger, job.job_id)
    assert not again.asked_before  # there was an answer
    ledger.revocations.note(mine, again, by="user bob")
    assert [(note["asked_by"], note["answer"]) for note in notes(backend)] == [("user bob", None)]
    assert ledger.revocations.answer(mine, again, Answer.REVOKED)


def test_a_living_import_is_left_alone(backend: Backend, ledger: Ledger) -> None:
    job, mine, row = to_be_revoked(ledger)
    begin(ledger)
    with pytest.raises(JobIsRunningError):
        ledger.revocations.note(mine, row, by=BY)
    with pytest.raises(JobIsRunningError):
        ledger.revocations.answer(mine, row, Answer.REVOKED)
    assert (notes(backend), state(ledger, job, badge(1))) == ([], RowState.ACCEPTED)


def test_answer_and_state_are_noted_together(backend: Backend, ledger: Ledger) -> None:
    job, mine, row = to_be_revoked(ledger)
    ledger.revocations.note(mine, row, by=BY)
    with backend.look() as connection:  # the last thing that is written
        connection.execute(sa.text('UPDATE capillary_job SET summary = \'{"revoked": true, "x": \' || summary'))
    with pytest.raises(Exception, match=r"JSON|trailing|truncated"):
        ledger.revocations.answer(mine, row, Answer.REVOKED)
    assert (notes(backend)[0]["answer"], state(ledger, job, badge(1))) == (None, RowState.ACCEPTED)


def test_one_of_two_answers_revokes_the_row(backend: Backend) -> None:
    rows = [badge(number) for number in range(1, 21)]
    ledger = backend.open()
    job = accepted(ledger, *rows)
    line = threading.Barrier(2)

    def answer_all() -> int:
        with closing(backend.open()) as own:
            mine = own.settlements.take_stock(job.job_id)
            seen = granted(own, job.job_id)
            line.wait(60)
            revoked = 0
            for row in seen:
                own.revocations.note(mine, row, by=BY)
                revoked += own.revocations.answer(mine, row, Answer.REVOKED)
            return revoked

    with ThreadPoolExecutor(2) as pool:
        counts = [future.result() for future in [pool.submit(answer_all) for _ in range(2)]]
    assert sum(counts) == 20
    assert ledger.grants(job.job_id).revoked == 20
    assert (ledger.job(job.job_id).summary or {})["revoked"] == 20


def test_only_accepted_rows_can_be_revoked(backend: Backend, ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.UNKNOWN, badge(1))
    for attempt in ("UPDATE capillary_batch SET state = 'revoked'", REVOKE_ODD):
        with backend.look() as connection, pytest.raises(sa.exc.DBAPIError, match="not allowed"):
            connection.execute(sa.text(attempt))


def test_what_was_revoked_can_become_nothing_else(backend: Backend, ledger: Ledger) -> None:
    _, mine, row = to_be_revoked(ledger)
    ledger.revocations.answer(mine, row, Answer.REVOKED)
    with backend.look() as connection:
        for other in ("accepted", "planned", "intent", "unknown", "rejected"):
            with pytest.raises(sa.exc.DBAPIError, match="not allowed"):
                connection.execute(sa.text("UPDATE capillary_odd_row SET state = :other"), {"other": other})
        with pytest.raises(sa.exc.DBAPIError, match="loses its own state"):
            connection.execute(sa.text("DELETE FROM capillary_odd_row"))


def test_a_note_that_fails_asks_nothing(backend: Backend, ledger: Ledger) -> None:
    _, mine, row = to_be_revoked(ledger)
    with backend.look() as connection:
        connection.execute(sa.text("ALTER TABLE capillary_revocation RENAME TO elsewhere"))
    with pytest.raises(LedgerUnusableError):
        ledger.revocations.note(mine, row, by=BY)


def test_freed_rows_can_be_claimed_and_keep_issues(backend: Backend, ledger: Ledger) -> None:
    job = accepted(ledger, badge(1), badge(2))
    mine = ledger.settlements.take_stock(job.job_id)
    for row in granted(ledger, job.job_id):
        ledger.revocations.note(mine, row, by=BY)
        ledger.revocations.answer(mine, row, Answer.REVOKED)
    assert [ledger.revocations.free(mine, by="user bob", limit=1) for _ in range(3)] == [1, 1, 0]
    assert [note["freed_by"] for note in notes(backend)] == ["user bob"] * 2
    assert ledger.grants(job.job_id).revoked == 2
    later = begin(ledger, "later")
    claim(ledger, later, badge(1))
    assert state(ledger, later, badge(1)) is RowState.INTENT


def test_a_living_import_s_rows_are_not_set_free(ledger: Ledger) -> None:
    job = accepted(ledger, badge(1))
    mine = ledger.settlements.take_stock(job.job_id)
    begin(ledger)
    with pytest.raises(JobIsRunningError):
        ledger.revocations.free(mine, by=BY)
