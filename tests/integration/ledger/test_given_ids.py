"""Ids that come too late, or without proof: kept, taken by the row they mean, or reported as a second grant."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.reply import GivenId
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    Answer,
    IntentConflictError,
    Job,
    Outcome,
    Proof,
    RowChange,
    RowIssue,
    Settled,
)
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend
from .building import SILVER, badge, begin, claim, granted, held, ids, issue, state
from .building import unproven as all_unproven

ROWS = (badge(1), badge(2), badge(3))
ACCEPTED, PLANNED, REJECTED, UNKNOWN = RowState.ACCEPTED, RowState.PLANNED, RowState.REJECTED, RowState.UNKNOWN


def accepting(batch: int, prefix: str, *rows: int) -> Outcome:
    chosen = [ROWS[number - 1] for number in rows]
    return Outcome(batch, "PER_ROW", 200, accepted=chosen, ids=[f"{prefix}-{row.row_number}" for row in chosen])


def becoming(batch: int, new: RowState, *rows: int, verdict: str = "PER_ROW", granted: str | None = None) -> Outcome:
    return Outcome(batch, verdict, None, [RowChange(ROWS[number - 1], new, granted) for number in rows])


def taken_over(ledger: Ledger) -> tuple[Job, int, Job]:
    """A copy that sent all rows, and another one that took over before the reply came."""
    first = begin(ledger)
    batch = claim(ledger, first, *ROWS)
    ledger.finish_job(first, "failed", None)
    return first, batch, begin(ledger)


def sent_again(ledger: Ledger, job: Job, batch: int) -> int:
    """Nothing was found by reading, and all rows are on their way again."""
    ledger.record(job, [becoming(batch, PLANNED, 1, 2, 3, verdict="")])
    return claim(ledger, job, *ROWS)


def doubts(backend: Backend) -> dict[int, str | None]:
    """Of each row, whose customer's number says which one it is."""
    with backend.look() as connection:
        found = connection.execute(sa.text("SELECT customer_id - 1000, doubt FROM capillary_row"))
        return {number: doubt for number, doubt in found}


def reported(ledger: Ledger, job: Job) -> list[tuple[int, RowState, str]]:
    return [(one.row_number, one.state, one.message) for one in ledger.issues(job.job_id)]


def twice_message(number: int) -> str:
    both = f"late-{number} and second-{number}"
    return f"the API gave {both} for this row, one of them in a late reply: may be granted twice"


def test_a_second_grant_is_reported_with_both_ids(backend: Backend, ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    ledger.record(second, [accepting(again, "second", 1, 2, 3)])
    ledger.record(first, [accepting(batch, "late", 1, 2, 3)])
    assert reported(ledger, second) == [(number, ACCEPTED, twice_message(number)) for number in (1, 2, 3)]
    assert doubts(backend) == {number: twice_message(number) for number in (1, 2, 3)}
    assert ids(ledger) == {number: f"second-{number}" for number in (1, 2, 3)}
    assert set(ledger.earned_badge_ids()) == {f"{one}-{number}" for one in ("late", "second") for number in (1, 2, 3)}
    assert [(row.earned_badge_id, row.is_second) for row in ledger.revocations.second_grants(second.job_id)] == [
        (f"late-{number}", True) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("with_reads", [False, True], ids=["by a reply", "by a read"])
def test_a_second_grant_is_reported_in_either_order(backend: Backend, ledger: Ledger, with_reads: bool) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    ledger.record(first, [accepting(batch, "late", 1, 2, 3)])
    assert set(doubts(backend).values()) == {None}  # nothing is known of the second request yet
    if with_reads:
        ledger.record(second, [becoming(again, UNKNOWN, 1, 2, 3, verdict="UNKNOWN")])
        for number in (1, 2, 3):
            stated = issue(number, ACCEPTED, "found by reading back")
            change = RowChange(ROWS[number - 1], ACCEPTED, f"second-{number}")
            ledger.record(second, [Outcome(again, "", None, [change], [stated])])
    else:
        ledger.record(second, [accepting(again, "second", 1, 2, 3)])
    assert [(number, state) for number, state, _ in reported(ledger, second)] == [(n, ACCEPTED) for n in (1, 2, 3)]
    for number, _, message in reported(ledger, second):
        assert f"late-{number} and second-{number}" in message
        assert message.count("may be granted twice") == 1


def test_a_row_about_to_be_resent_is_accepted(ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    ledger.record(second, [becoming(batch, PLANNED, 1, 2, 3, verdict="")])
    ledger.record(first, [accepting(batch, "late", 1, 2, 3)])
    assert ids(ledger) == {number: f"late-{number}" for number in (1, 2, 3)}
    assert ledger.counts(second) == {ACCEPTED: 3}
    with pytest.raises(IntentConflictError):
        claim(ledger, second, *ROWS)
    assert (reported(ledger, second), ledger.revocations.second_grants(second.job_id)) == ([], [])


def test_a_row_whose_second_request_failed_is_accepted(ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    ledger.record(first, [accepting(batch, "late", 1, 3)])
    ledger.record(second, [becoming(again, PLANNED, 1, 2, 3, verdict="RETRY_LATER")])
    assert ledger.counts(second) == {ACCEPTED: 2, PLANNED: 1}
    assert ids(ledger) == {1: "late-1", 2: None, 3: "late-3"}
    assert (reported(ledger, second), ledger.revocations.second_grants(second.job_id)) == ([], [])
    claim(ledger, second, ROWS[1])


def test_a_row_refused_second_is_reported_with_its_id(ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    refused = Outcome(again, "PER_ROW", 200, [RowChange(ROWS[0], REJECTED)], [issue(1, REJECTED, "has it already")])
    ledger.record(second, [refused])
    ledger.record(first, [accepting(batch, "late", 1)])
    [(_, reported_as, message)] = reported(ledger, second)
    assert reported_as is REJECTED
    assert message.startswith("has it already; ")
    assert "late-1" in message


def test_a_row_found_without_id_takes_the_late_one(backend: Backend, ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    ledger.record(second, [becoming(batch, ACCEPTED, 1, 2, 3, verdict="")])
    assert set(ids(ledger).values()) == {None}
    ledger.record(first, [accepting(batch, "late", 1, 2, 3)])
    assert ids(ledger) == {number: f"late-{number}" for number in (1, 2, 3)}
    assert (reported(ledger, second), set(doubts(backend).values())) == ([], {None})


def test_a_late_confirmation_changes_nothing(backend: Backend, ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    ledger.record(second, [becoming(batch, ACCEPTED, 1, verdict="", granted="late-1")])
    ledger.record(first, [accepting(batch, "late", 1)])
    assert (reported(ledger, second), doubts(backend)[1], list(ledger.earned_badge_ids())) == ([], None, ["late-1"])


def test_a_second_grant_is_reported_once(ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    ledger.record(second, [accepting(again, "second", 1, 2, 3)])
    for _ in range(3):
        ledger.record(first, [accepting(batch, "late", 1, 2, 3)])
    assert reported(ledger, second) == [(number, ACCEPTED, twice_message(number)) for number in (1, 2, 3)]
    assert len(ledger.revocations.second_grants(second.job_id)) == 3


def test_the_owning_job_reports_it(ledger: Ledger) -> None:
    first = begin(ledger)
    batch = claim(ledger, first, *ROWS)
    other = begin(ledger, "another run")
    seen = [(row, one) for row in ROWS if (one := held(ledger, other, row))]
    ledger.record(other, [Adoption(seen)])
    again = sent_again(ledger, other, batch)
    ledger.record(other, [accepting(again, "second", 1, 2, 3)])
    ledger.finish_job(other, "finished", {"accepted": 3})
    ledger.record(first, [accepting(batch, "late", 2)])
    assert reported(ledger, first) == []
    assert reported(ledger, other) == [(2, ACCEPTED, twice_message(2))]
    [row] = ledger.revocations.second_grants(other.job_id)
    assert (row.badge, row.earned_badge_id, ledger.revocations.second_grants(first.job_id)) == (ROWS[1], "late-2", [])


@pytest.mark.parametrize("answer", Answer)
def test_revoking_a_second_grant_keeps_the_row(ledger: Ledger, answer: Answer) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    ledger.record(second, [accepting(again, "second", 1, 2, 3)])
    ledger.record(first, [accepting(batch, "late", 1)])
    ledger.finish_job(second, "finished", {"accepted": 3, "unknown": 0})
    [row] = ledger.revocations.second_grants(second.job_id)
    ledger.revocations.note(second, row, by="anna")
    assert not ledger.revocations.answer(second, row, answer)
    assert state(ledger, second, ROWS[0]) is ACCEPTED
    assert ids(ledger)[1] == "second-1"
    left = answer in (Answer.REFUSED, Answer.UNCONFIRMED)
    assert len(ledger.revocations.second_grants(second.job_id)) == left
    assert [one.earned_badge_id for one in granted(ledger, second.job_id)] == [f"second-{n}" for n in (1, 2, 3)]


def unproven(batch: int, *given: GivenId) -> Outcome:
    rows = {one.row.row_number: one.earned_badge_id for one in given if one.row}
    changes = [RowChange(row, UNKNOWN, rows.get(row.row_number)) for row in ROWS]
    return Outcome(batch, "UNKNOWN", 200, changes, given=given)


def test_ids_without_proof_are_kept_with_their_batch(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    given = (
        GivenId("a", ROWS[0].customer_id, ROWS[0].badge_meta_id, ROWS[0]),
        GivenId("b", 999, SILVER),
        GivenId("c"),
        GivenId("d\0\ud800", None, "\0"),
    )
    ledger.record(job, [unproven(batch, *given)])
    assert sorted(ledger.earned_badge_ids()) == ["a", "b", "c", "d\N{REPLACEMENT CHARACTER}?"]
    with backend.look() as connection:
        kept = connection.execute(
            sa.text("SELECT batch_id, earned_badge_id, customer_id, badge_meta_id FROM capillary_given_id ORDER BY id")
        ).all()
    assert [tuple(row) for row in kept][:3] == [
        (batch, "a", 1_001, ROWS[0].badge_meta_id),
        (batch, "b", 999, SILVER),
        (batch, "c", None, None),
    ]


@pytest.mark.parametrize("by", ["read", "word"])
def test_a_settled_row_keeps_its_unproven_id(ledger: Ledger, by: str, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [unproven(batch, GivenId("a", ROWS[0].customer_id, ROWS[0].badge_meta_id, ROWS[0]))])
    if by == "read":
        ledger.record(job, [becoming(batch, ACCEPTED, 1, verdict="")])
        ledger.finish_job(job, "finished", {"accepted": 1, "unknown": 2})
    else:
        ledger.finish_job(job, "finished", {"accepted": 0, "unknown": 3})
        [row, *_] = all_unproven(ledger, job.job_id)
        ledger.settlements.settle(job, [Settled(row, ACCEPTED, "by anna")], proof=Proof.PERSON, by="anna")
    [found, *_] = granted(ledger, job.job_id)
    assert (found.earned_badge_id, found.state, found.is_proven) == ("a", ACCEPTED, False)
    ledger.revocations.note(job, found, by="anna")
    assert not ledger.revocations.answer(job, found, Answer.NOT_ACTIVE)  # it may not be the row's own
    assert state(ledger, job, ROWS[0]) is ACCEPTED
    assert ids(ledger)[1] == "a"


@pytest.mark.parametrize("by", ["read", "reconciliation"])
def test_a_freed_row_with_an_id_is_in_doubt(backend: Backend, ledger: Ledger, by: str, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [unproven(batch, GivenId("a", ROWS[0].customer_id, ROWS[0].badge_meta_id, ROWS[0]))])
    if by == "read":
        ledger.record(job, [becoming(batch, PLANNED, 1, 2, 3, verdict="")])
    else:
        ledger.finish_job(job, "failed", {"accepted": 0, "unknown": 3})
        free = [Settled(row, PLANNED, "not there") for row in all_unproven(ledger, job.job_id)]
        ledger.settlements.settle(job, free, proof=Proof.READ, by="anna")
    found = doubts(backend)
    assert "the API gave a for this row without proof" in (found[1] or "")
    assert (found[2], found[3]) == (None, None)


def test_a_refusal_ends_the_doubt_of_an_id(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, *ROWS)
    ledger.record(job, [becoming(batch, PLANNED, 1, 2, 3, verdict="RETRY_LATER")])
    assert set(doubts(backend).values()) == {None}


def test_an_issue_that_stands_is_added_to(ledger: Ledger) -> None:
    first, batch, second = taken_over(ledger)
    again = sent_again(ledger, second, batch)
    stated: RowIssue = issue(1, ACCEPTED, "found by reading back")
    ledger.record(second, [becoming(again, UNKNOWN, 1, verdict="UNKNOWN")])
    ledger.record(second, [Outcome(again, "", None, [RowChange(ROWS[0], ACCEPTED, "second-1")], [stated])])
    ledger.record(first, [accepting(batch, "late", 1)])
    assert reported(ledger, second) == [(1, ACCEPTED, f"found by reading back; {twice_message(1)}")]


TEXTS = ["", " ", "0" * 24, "NULL", "null", "ab" * 12, "AB" * 12, "a,b", "a b", "a\nb\t", "Ä\N{SNOWMAN}", "²", "٣" * 24]
TEXTS += ['"', 'a"b', "'", "'; --", "\\", "a\\b", "{}", "%s", "%s %(x)s :x", "?1"]


@pytest.mark.parametrize("way", ["by the batch", "row by row", "in two parts", "without proof"])
def test_ids_of_any_text_are_kept(ledger: Ledger, job: Job, way: str) -> None:
    given: dict[int, str | None] = {**dict(enumerate(TEXTS, 1)), 98: None, 99: "65" * 12}
    if way == "by the batch":
        del given[98]  # the API gives an id for every row that it accepts so
    rows = [badge(number) for number in given]
    batch = claim(ledger, job, *rows)
    changes = [RowChange(row, UNKNOWN if way == "without proof" else ACCEPTED, given[row.row_number]) for row in rows]
    outcomes = {
        "by the batch": [Outcome(batch, "PER_ROW", 200, accepted=rows, ids=[text or "" for text in given.values()])],
        "in two parts": [Outcome(batch, "PER_ROW", 200, part) for part in (changes[:5], changes[5:])],
    }
    ledger.record(job, outcomes.get(way, [Outcome(batch, "PER_ROW", 200, changes)]))
    assert ids(ledger) == given
