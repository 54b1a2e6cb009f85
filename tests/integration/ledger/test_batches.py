"""A row has a state of its own only where it differs from its batch, and is as safe as with a state each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Adoption, Answer, IntentConflictError, Job, Outcome, RowChange
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend, PostgresBackend
from .building import badge, begin, bring_to, claim, granted, held, ids, intent, issue, outcome, state, states, unproven

ROWS = [badge(1), badge(2), badge(3)]
ACCEPTED, UNKNOWN, PLANNED, REJECTED = RowState.ACCEPTED, RowState.UNKNOWN, RowState.PLANNED, RowState.REJECTED


def odd_rows(backend: Backend) -> int:
    """How many rows have a state of their own."""
    with backend.look() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM capillary_odd_row")))


def batch_states(backend: Backend) -> list[str]:
    with backend.look() as connection:
        return list(connection.execute(sa.text("SELECT state FROM capillary_batch ORDER BY id")).scalars())


def viewed(backend: Backend) -> Counter[str]:
    """The states that the public view gives."""
    with backend.look() as connection:
        return Counter(connection.execute(sa.text("SELECT state FROM capillary_row")).scalars())


def accepting(batch: int, *rows: EarnedBadge, **others: Any) -> Outcome:
    return Outcome(batch, "PER_ROW", 200, accepted=rows, ids=[f"id-{row.row_number}" for row in rows], **others)


def test_one_change_accepts_each_row_with_its_id(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    assert (batch_states(backend), ledger.counts(job)) == (["intent"], {RowState.INTENT: 3})
    ledger.record(job, [accepting(batch, *ROWS)])
    assert (batch_states(backend), odd_rows(backend)) == (["accepted"], 0)
    assert states(ledger) == dict.fromkeys((1, 2, 3), "accepted")
    assert ids(ledger) == {1: "id-1", 2: "id-2", 3: "id-3"}
    assert ledger.counts(job) == {ACCEPTED: 3}
    assert viewed(backend) == {"accepted": 3}
    assert state(ledger, job, ROWS[1]) is ACCEPTED
    assert [row.earned_badge_id for row in granted(ledger, job.job_id)] == ["id-1", "id-2", "id-3"]


@pytest.mark.parametrize("reported", [ROWS, ROWS[::-1]], ids=["in order", "in another order"])
@pytest.mark.parametrize("noted", [ROWS, ROWS[::-1]], ids=["in order", "in another order"])
def test_each_row_gets_its_id_in_any_order(
    ledger: Ledger, noted: list[EarnedBadge], reported: list[EarnedBadge], job: Job
) -> None:
    ledger.record(job, [accepting(claim(ledger, job, *noted), *reported)])
    assert ids(ledger) == {1: "id-1", 2: "id-2", 3: "id-3"}


def test_rows_not_accepted_stand_beside_the_batch(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS, badge(4))
    others = [RowChange(ROWS[1], REJECTED), RowChange(badge(4), UNKNOWN, "id-x")]
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2], rows=others, issues=(issue(2, REJECTED),))])
    assert states(ledger) == {1: "accepted", 2: "rejected", 3: "accepted", 4: "unknown"}
    assert ids(ledger) == {1: "id-1", 2: None, 3: "id-3", 4: "id-x"}
    assert ledger.counts(job) == {ACCEPTED: 2, REJECTED: 1, UNKNOWN: 1}


def test_a_partial_outcome_changes_no_other_row(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2])])
    assert states(ledger) == {1: "accepted", 2: "intent", 3: "accepted"}
    assert batch_states(backend) == ["intent"]


def test_no_statement_takes_an_accepted_row_back(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = bring_to(ledger, job, ACCEPTED, *ROWS)
    later = claim(ledger, job, badge(9))
    odd = "1, batch_id, '{}', 1, 2, 1 FROM capillary_earned_badge WHERE batch_id = " + str(batch)
    columns = "(customer_id, badge_id, earned_at, occurrence, batch_id, state, job_id, row_number, expires_at)"
    attempts = [f"UPDATE capillary_batch SET state = '{new}'" for new in ("intent", "unknown", "planned")]
    attempts += [
        f"INSERT INTO capillary_odd_row {columns} SELECT customer_id, badge_id, earned_at, {odd.format(new)}"
        for new in ("unknown", "planned", "rejected")
    ]
    attempts.append(f"UPDATE capillary_earned_badge SET batch_id = {later} WHERE batch_id = {batch}")
    attempts.append("DELETE FROM capillary_batch")
    for attempt in attempts:
        with backend.look() as connection, pytest.raises(sa.exc.DBAPIError, match=r"not allowed|stays|leaves"):
            connection.execute(sa.text(attempt))
    assert states(ledger) == {1: "accepted", 2: "accepted", 3: "accepted", 9: "intent"}


def test_a_batch_changes_no_other_batchs_row(backend: Backend, ledger: Ledger, job: Job) -> None:
    """A state of its own that does not go with the row's batch would never be seen."""
    bring_to(ledger, job, UNKNOWN, *ROWS)
    other = bring_to(ledger, job, UNKNOWN, badge(9))
    with backend.look() as connection, pytest.raises(sa.exc.DBAPIError, match="not allowed"):
        connection.execute(
            sa.text(
                "INSERT INTO capillary_odd_row (customer_id, badge_id, earned_at, occurrence, batch_id, state, job_id,"
                f" row_number, expires_at) SELECT customer_id, badge_id, earned_at, occurrence, {other}, 'accepted', 1,"
                " 1, 1 FROM capillary_earned_badge ORDER BY customer_id LIMIT 1"
            )
        )


def test_accepted_rows_survive_the_next_trys_start(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, ACCEPTED, *ROWS)
    claim(ledger, job, badge(4))
    ledger.finish_job(job, "failed", None)
    again = begin(ledger)
    assert states(ledger) == {1: "accepted", 2: "accepted", 3: "accepted", 4: "unknown"}
    ledger.finish_job(again, "failed", None)
    ledger.settlements.take_stock(again.job_id)
    assert states(ledger) == {1: "accepted", 2: "accepted", 3: "accepted", 4: "unknown"}
    assert [row.badge.row_number for row in unproven(ledger, again.job_id)] == [4]


def next_try(ledger: Ledger, job: Job) -> None:
    ledger.finish_job(job, "failed", None)
    begin(ledger)


def stock(ledger: Ledger, job: Job) -> None:
    ledger.finish_job(job, "failed", None)
    ledger.settlements.take_stock(job.job_id)


def heir(ledger: Ledger, job: Job) -> None:
    other = begin(ledger, "another run")
    rows = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(other, [Adoption(rows)])


@pytest.mark.parametrize("taken_by", [next_try, stock, heir], ids=["next try", "stock", "another job"])
def test_a_late_reply_settles_what_is_left(
    backend: Backend, ledger: Ledger, taken_by: Callable[[Ledger, Job], None], job: Job
) -> None:
    """As a copy that stood still and wakes up reports it: it is true, but the rows are no intents any more."""
    batch = claim(ledger, job, *ROWS)
    taken_by(ledger, job)
    assert states(ledger) == dict.fromkeys((1, 2, 3), "unknown")
    ledger.record(job, [accepting(batch, *ROWS)])
    assert states(ledger) == dict.fromkeys((1, 2, 3), "accepted")
    assert ids(ledger) == {1: "id-1", 2: "id-2", 3: "id-3"}
    assert viewed(backend) == {"accepted": 3}


def test_rows_accepted_meanwhile_cannot_be_adopted(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    other = begin(ledger, "another run")
    seen = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(job, [accepting(batch, *ROWS)])
    with pytest.raises(IntentConflictError):
        ledger.record(other, [Adoption(seen)])
    assert states(ledger) == dict.fromkeys((1, 2, 3), "accepted")
    assert ledger.counts(job) == {ACCEPTED: 3}


def test_only_the_unknown_row_of_a_batch_is_adopted(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    other = begin(ledger, "another run")
    before = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2], rows=[RowChange(ROWS[1], UNKNOWN)])])
    assert batch_states(backend) == ["accepted"]
    for seen in before[::2]:
        with pytest.raises(IntentConflictError):
            ledger.record(other, [Adoption([seen])])
    seen_now = held(ledger, other, ROWS[1])
    assert seen_now is not None
    ledger.record(other, [Adoption([(ROWS[1], seen_now)])])
    assert (ledger.counts(job), ledger.counts(other)) == ({ACCEPTED: 2}, {UNKNOWN: 1})
    ledger.record(other, [Outcome(batch, "", None, [RowChange(ROWS[1], ACCEPTED, "id-found")])])
    assert ids(ledger) == {1: "id-1", 2: "id-found", 3: "id-3"}


def test_one_row_is_revoked_alone(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [accepting(batch, *ROWS)])
    ledger.finish_job(job, "finished", {"rows_read": 3, "accepted": 3, "unknown": 0})
    row = granted(ledger, job.job_id)[1]
    ledger.revocations.note(job, row, by="anna")
    assert granted(ledger, job.job_id)[1].asked_before
    assert ledger.revocations.answer(job, row, Answer.REVOKED)
    assert states(ledger) == {1: "accepted", 2: "revoked", 3: "accepted"}
    assert ids(ledger) == {1: "id-1", 2: "id-2", 3: "id-3"}
    found = ledger.grants(job.job_id)
    assert (sum(found.with_id.values()), found.revoked) == (2, 1)


@pytest.mark.parametrize("before", [*(one for one in RowState if one in (ACCEPTED, UNKNOWN, PLANNED, REJECTED))])
@pytest.mark.parametrize("run", ["2026-01-01", "another run"], ids=["same job", "another job"])
def test_an_intent_without_look_up_conflicts(ledger: Ledger, before: RowState, run: str, job: Job) -> None:
    bring_to(ledger, job, before, ROWS[1])
    own = job if run == "2026-01-01" else begin(ledger, run)
    unseen = intent(*ROWS)
    with pytest.raises(IntentConflictError):
        ledger.record(own, [type(unseen)(EarnedBadges.of(ROWS), "body", "request", 1, unseen=True)])
    assert states(ledger) == {2: before.value}
    (batch,) = ledger.record(
        own, [type(unseen)(EarnedBadges.of([ROWS[0], ROWS[2]]), "body", "request", 1, unseen=True)]
    )
    ledger.record(own, [outcome(batch, ACCEPTED, ROWS[0], ROWS[2])])
    assert states(ledger) == {1: "accepted", 2: before.value, 3: "accepted"}


def test_a_jobs_rows_are_counted_by_batch_and_oddity(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [accepting(batch, ROWS[0], ROWS[2], rows=[RowChange(ROWS[1], REJECTED)])])
    revoke(ledger, job, 3)
    again = begin(ledger)
    assert ledger.counts(again) == {ACCEPTED: 1, REJECTED: 1, RowState.REVOKED: 1}
    assert viewed(backend) == ledger.counts(again)
    claim(ledger, again, badge(4))
    claim(ledger, again, ROWS[1])  # leaves its first batch
    assert ledger.counts(again) == {ACCEPTED: 1, RowState.REVOKED: 1, RowState.INTENT: 2}
    assert viewed(backend) == ledger.counts(again)
    assert states(ledger) == {1: "accepted", 2: "intent", 3: "revoked", 4: "intent"}


def revoke(ledger: Ledger, job: Job, number: int) -> None:
    ledger.finish_job(job, "finished", None)
    [row] = [row for row in granted(ledger, job.job_id) if row.badge.row_number == number]
    ledger.revocations.note(job, row, by="anna")
    assert ledger.revocations.answer(job, row, Answer.REVOKED)


def test_the_next_batch_reports_rows_that_left(backend: Backend, ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, PLANNED, *ROWS)
    assert (batch_states(backend), odd_rows(backend)) == (["planned"], 0)
    second = claim(ledger, job, ROWS[0], ROWS[2])
    assert (states(ledger), ledger.counts(job)) == (
        {1: "intent", 2: "planned", 3: "intent"},
        {PLANNED: 1, RowState.INTENT: 2},
    )
    other = begin(ledger, "another run")
    third = claim(ledger, other, ROWS[1])
    ledger.record(job, [accepting(second, ROWS[0], ROWS[2])])
    ledger.record(other, [accepting(third, ROWS[1])])
    assert (ledger.counts(job), ledger.counts(other)) == ({ACCEPTED: 2}, {ACCEPTED: 1})
    assert ids(ledger) == {1: "id-1", 2: "id-2", 3: "id-3"}
    assert (batch_states(backend), odd_rows(backend)) == (["planned", "accepted", "accepted"], 0)


def test_a_fully_rejected_batch_accepts_none(backend: Backend, ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, REJECTED, *ROWS)
    assert (batch_states(backend), odd_rows(backend)) == (["planned"], 3)
    assert (states(ledger), ledger.counts(job)) == (dict.fromkeys((1, 2, 3), "rejected"), {REJECTED: 3})


def test_a_dead_trys_rows_are_unknown_by_batch(backend: Backend, ledger: Ledger, job: Job) -> None:
    claim(ledger, job, *ROWS)
    claim(ledger, job, badge(4), badge(5))
    ledger.finish_job(job, "failed", None)
    again = begin(ledger)
    assert (batch_states(backend), odd_rows(backend)) == (["unknown", "unknown"], 0)
    assert ledger.counts(again) == {UNKNOWN: 5}


def test_a_jobs_commits_are_counted_upwards(ledger: Ledger, job: Job) -> None:
    seen = [ledger.job(job.job_id).commits]
    batch = claim(ledger, job, *ROWS)
    seen.append(ledger.job(job.job_id).commits)
    ledger.renew_lease(job)
    seen.append(ledger.job(job.job_id).commits)
    ledger.finish_job(job, "failed", None)
    seen.append(ledger.job(job.job_id).commits)
    ledger.record(job, [accepting(batch, *ROWS)])  # by a copy that no longer holds the lease
    seen.append(ledger.job(job.job_id).commits)
    ledger.settlements.take_stock(job.job_id)
    seen.append(ledger.job(job.job_id).commits)
    assert all(earlier < later for earlier, later in pairwise(seen))


def test_every_process_sees_the_ledgers_identity(fresh_backend: Backend) -> None:
    first, second = fresh_backend.open(), fresh_backend.open()
    assert len(first.ledger_id) == 36
    assert first.ledger_id == second.ledger_id


def test_rows_apart_take_few_statements_however_many(ledger: Ledger, job: Job) -> None:
    rows = [badge(number) for number in range(1, 601)]
    batch = claim(ledger, job, *rows)
    seen: list[str] = []
    sa.event.listen(
        ledger.database.engine, "before_cursor_execute", lambda *given: seen.extend([given[2]] * len(given[3:4]))
    )
    refused = [RowChange(row, REJECTED) for row in rows[::2]]
    ledger.record(job, [accepting(batch, *rows[1::2], rows=refused)])
    writes = [statement for statement in seen if "capillary_odd_row" in statement and "INSERT" in statement]
    assert 1 <= len(writes) <= 2
    assert ledger.counts(job) == {ACCEPTED: 300, REJECTED: 300}
    kept = ids(ledger)
    assert all(kept[row.row_number] == f"id-{row.row_number}" for row in rows[1::2])


def test_one_recording_takes_few_round_trips(postgres_backend: PostgresBackend) -> None:
    ledger = postgres_backend.open()
    job = begin(ledger)
    rows = [badge(number) for number in range(1, 9)]
    first, second = ledger.record(job, [intent(*rows[:3]), intent(rows[3])])
    seen: list[str] = []
    sa.event.listen(ledger.database.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    new = [msgspec.structs.replace(intent(*some), unseen=True) for some in (rows[4:7], rows[7:])]
    third, fourth = ledger.record(job, [accepting(first, *rows[:3]), accepting(second, rows[3]), *new])
    # besides, the driver commits
    assert [statement.split()[0] for statement in seen] == ["BEGIN", "UPDATE", "UPDATE", "WITH"]
    batches = {row.badge.row_number: row.batch for page in ledger.rows(job.job_id) for row in page}
    assert batches == {1: first, 2: first, 3: first, 4: second, 5: third, 6: third, 7: third, 8: fourth}
    assert ledger.counts(job) == {ACCEPTED: 4, RowState.INTENT: 4}


def test_a_batchs_second_outcome_changes_nothing(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1))
    ledger.record(job, [accepting(batch, badge(1)), outcome(batch, UNKNOWN, badge(1))])
    assert ledger.counts(job) == {ACCEPTED: 1}
    assert ids(ledger) == {1: "id-1"}


def test_an_odd_rows_id_survives_acceptance(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    given = 'a"b\\'
    changes = [RowChange(ROWS[0], UNKNOWN, given), RowChange(ROWS[1], UNKNOWN), RowChange(ROWS[2], UNKNOWN)]
    ledger.record(job, [Outcome(batch, "UNKNOWN", None, changes)])
    assert (ids(ledger)[1], ids(ledger)[2]) == (given, None)
    ledger.record(job, [Outcome(batch, "", None, [RowChange(ROWS[0], ACCEPTED), RowChange(ROWS[1], ACCEPTED, given)])])
    assert ids(ledger) == {1: given, 2: given, 3: None}
    assert states(ledger) == {1: "accepted", 2: "accepted", 3: "unknown"}


def test_few_accepted_rows_keep_their_ids(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    planned = [RowChange(row, PLANNED) for row in ROWS[:2]]
    ledger.record(job, [accepting(batch, ROWS[2], rows=planned)])
    assert (batch_states(backend), odd_rows(backend)) == (["planned"], 1)
    assert (states(ledger), ids(ledger)[3]) == ({1: "planned", 2: "planned", 3: "accepted"}, "id-3")
