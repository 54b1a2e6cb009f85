"""What the ledger shows of rows: whose they are now, since when they are unproven, and why they were not accepted."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import (
    Adoption,
    IntentConflictError,
    Issues,
    Job,
    Outcome,
    RowChange,
)
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend
from .building import (
    EARNED,
    GOLD,
    SILVER,
    badge,
    begin,
    bring_to,
    claim,
    held,
    ids,
    issue,
    outcome,
    state,
)

IN_LEDGER = (RowState.PLANNED, RowState.INTENT, RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN)


# ------------------------------------------------------------------------------------------------------ adoption


@pytest.mark.parametrize("now", [RowState.INTENT, RowState.UNKNOWN])
def test_an_unproven_row_is_adopted_with_its_batch(ledger: Ledger, job: Job, now: RowState) -> None:
    batch = bring_to(ledger, job, now, badge(1))
    heir = begin(ledger, "another run")
    before = held(ledger, heir, badge(1))
    assert before is not None
    ledger.record(heir, [Adoption([(badge(5, customer=badge(1).customer_id), before)])])
    after = held(ledger, heir, badge(1))
    assert after is not None
    assert (after.job, after.row_number, after.state, after.batch) == (heir.key, 5, RowState.UNKNOWN, batch)
    ledger.record(heir, [outcome(batch, RowState.ACCEPTED, badge(1))])
    assert ledger.counts(heir) == {RowState.ACCEPTED: 1}
    assert ledger.counts(job) == {}


@pytest.mark.parametrize("now", [RowState.PLANNED, RowState.ACCEPTED, RowState.REJECTED])
def test_a_row_settled_meanwhile_is_not_adopted(ledger: Ledger, job: Job, now: RowState) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    heir = begin(ledger, "another run")
    rows = [(b, one) for b in (badge(1), badge(2)) if (one := held(ledger, heir, b))]
    ledger.record(job, [outcome(batch, now, badge(2))])
    with pytest.raises(IntentConflictError):
        ledger.record(heir, [Adoption(rows)])
    assert ledger.counts(heir) == {}
    assert ledger.counts(job) == {RowState.INTENT: 1, now: 1}


def test_a_row_is_adopted_by_one_job_only(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, RowState.UNKNOWN, badge(1))
    first, second = begin(ledger, "first heir"), begin(ledger, "second heir")
    found = held(ledger, first, badge(1))
    assert found is not None
    ledger.record(first, [Adoption([(badge(1), found)])])
    with pytest.raises(IntentConflictError):
        ledger.record(second, [Adoption([(badge(1), found)])])
    assert ledger.counts(first) == {RowState.UNKNOWN: 1}


def test_a_reply_after_adoption_counts(ledger: Ledger, job: Job) -> None:
    rows = [badge(row) for row in (1, 2, 3)]
    batch = claim(ledger, job, *rows)
    heir = begin(ledger, "another run")
    ledger.record(heir, [Adoption([(b, one) for b in rows if (one := held(ledger, heir, b))])])
    changes = [
        RowChange(rows[0], RowState.ACCEPTED, "65" * 12),
        RowChange(rows[1], RowState.REJECTED),
        RowChange(rows[2], RowState.PLANNED),
    ]
    ledger.record(job, [Outcome(batch, "PER_ROW", 200, changes)])
    # an unknown row that the API proves to have refused is a row that is not there
    assert [state(ledger, heir, b) for b in rows] == [RowState.ACCEPTED, RowState.PLANNED, RowState.PLANNED]


# ---------------------------------------------------------------------------------------------------------- find


def test_find_gives_every_occurrence_of_an_instant(ledger: Ledger, job: Job) -> None:
    rows = [badge(1, customer=7), badge(2, customer=7, occurrence=2), badge(3, customer=7, earned=EARNED + 60)]
    claim(ledger, job, *rows)
    found = ledger.find(job, [rows[0]])
    assert list(found) == [(7, GOLD)]
    assert sorted(one.occurrence for one in found[7, GOLD]) == [1, 2]
    both = ledger.find(job, [rows[0], rows[2]])
    assert sorted(one.row_number or 0 for one in both[7, GOLD]) == [1, 2, 3]


def test_find_gives_every_instant_once(ledger: Ledger, job: Job) -> None:
    rows = [badge(1, customer=7), badge(2, customer=7, earned=EARNED + 60), badge(3, customer=8)]
    claim(ledger, job, *rows, badge(4, customer=7, name=SILVER))
    asked = [badge(1, customer=7, earned=EARNED + 999), badge(2, customer=7)]
    found = ledger.find(job, asked, any_date=True)
    assert list(found) == [(7, GOLD)]
    assert sorted(one.row_number or 0 for one in found[7, GOLD]) == [1, 2]


def test_find_gives_nothing_unseen(ledger: Ledger, job: Job) -> None:
    claim(ledger, job, badge(1))
    assert ledger.find(job, [badge(2), badge(1, name=SILVER)]) == {}
    assert ledger.find(job, [badge(2)], any_date=True) == {}


def test_a_job_lives_while_open_and_leased(backend: Backend, ledger: Ledger, job: Job) -> None:
    claim(ledger, job, badge(1))
    watcher = begin(ledger, "another run")

    def alive() -> bool:
        found = held(ledger, watcher, badge(1))
        assert found is not None
        return found.job_is_alive

    assert alive()
    assert held(ledger, job, badge(1)).job_is_alive is False  # type: ignore[union-attr]  # of others only
    backend.pass_time(61)
    assert not alive()
    ledger.renew_lease(job)
    assert alive()
    ledger.finish_job(job, "failed", None)
    assert not alive()


def test_a_row_is_unproven_since_sent_or_left(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1))
    backend.pass_time(30)
    sent = ledger.ages([batch])[batch]
    assert sent.is_cut_off
    assert sent.seconds == pytest.approx(30, abs=20)
    ledger.record(job, [outcome(batch, RowState.UNKNOWN, badge(1))])
    backend.pass_time(70)
    ledger.record(job, [Outcome(batch, "", None, [])])  # a finding is no reply
    given_up = ledger.ages([batch])[batch]
    assert not given_up.is_cut_off
    assert given_up.seconds == pytest.approx(70, abs=20)


def test_counts_are_those_of_the_jobs_own_rows(ledger: Ledger, job: Job) -> None:
    for number, end in enumerate(IN_LEDGER):
        bring_to(ledger, job, end, *(badge(10 * number + extra) for extra in range(1, number + 2)))
    other = begin(ledger, "another run")
    claim(ledger, other, badge(99))
    assert ledger.counts(job) == {end: number + 1 for number, end in enumerate(IN_LEDGER)}
    assert ledger.counts(other) == {RowState.INTENT: 1}


# --------------------------------------------------------------------------------------------------------- issues


def test_issues_are_one_per_row_in_order(ledger: Ledger, job: Job) -> None:
    full = issue(
        2,
        RowState.REJECTED,
        "refused: é😀 'quoted' %s :name",
        code=521,
        request_id="r-1",
        attempt=3,
        badge_meta_id=GOLD,
    )
    ledger.record(job, [Issues([issue(3), issue(1, message="old")])])
    ledger.record(job, [Outcome(1, "", None, [], [full]), Issues([issue(1, message="new")])])
    other = begin(ledger, "another run")
    ledger.record(other, [Issues([issue(1, message="of another job")])])
    assert list(ledger.issues(job.job_id)) == [issue(1, message="new"), full, issue(3)]


def test_issues_are_streamed(ledger: Ledger, job: Job) -> None:
    ledger.record(job, [Issues([issue(row) for row in range(2_500, 0, -1)])])
    stream = ledger.issues(job.job_id)
    assert next(stream).row_number == 1
    claim(ledger, job, badge(1))  # a reader does not stand in a writer's way
    assert next(stream).row_number == 2
    stream.close()  # type: ignore[attr-defined]
    assert [one.row_number for one in ledger.issues(job.job_id)] == list(range(1, 2_501))


def test_a_missing_job_has_no_issues(ledger: Ledger, job: Job) -> None:
    assert list(ledger.issues(job.job_id)) == []
    assert list(ledger.issues("no such job")) == []


def test_text_no_database_takes_is_replaced(ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1))
    odd = issue(1, message="a\0b\ud800c", code=10**30, request_id="\0", badge_meta_id="x\0")
    granted = Outcome(batch, "PER_ROW", 200, [RowChange(badge(1), RowState.ACCEPTED, "6\0")], [odd])
    ledger.record(job, [granted])
    (kept,) = ledger.issues(job.job_id)
    assert (kept.message, kept.code, kept.request_id, kept.badge_meta_id) == ("a�b?c", None, "�", "x�")
    assert ids(ledger) == {1: "6�"}


@pytest.mark.parametrize("rows", [1, 249, 250, 251, 500, 1_000, 1_013])
def test_a_batch_of_any_size_is_noted_and_changed(ledger: Ledger, job: Job, rows: int) -> None:
    badges = [badge(row) for row in range(1, rows + 1)]
    batch = claim(ledger, job, *reversed(badges))
    states = [(RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN)[row % 3] for row in range(rows)]
    changes = [RowChange(one, state, f"{one.row_number:024x}") for one, state in zip(badges, states, strict=True)]
    ledger.record(job, [Outcome(batch, "PER_ROW", 200, changes)])
    assert ledger.counts(job) == {state: states.count(state) for state in set(states)}
    found = ledger.find(job, badges)
    assert [found[(one.customer_id, one.badge_meta_id)][0].state for one in badges] == states


def test_an_oversized_code_is_kept(ledger: Ledger, job: Job) -> None:
    ledger.record(job, [Issues([issue(1, code=2**40)])])
    assert [one.code for one in ledger.issues(job.job_id)] == [2**40]


def test_granted_ids_are_kept_for_revocation(backend: Backend, ledger: Ledger, job: Job) -> None:
    batch = claim(ledger, job, badge(1), badge(2))
    ledger.record(job, [Outcome(batch, "UNKNOWN", 200, [RowChange(badge(1), RowState.UNKNOWN, "aa" * 12)])])
    ledger.record(job, [Outcome(batch, "", None, [RowChange(badge(1), RowState.ACCEPTED)])])  # an id once seen stays
    ledger.record(job, [Outcome(batch, "", None, [RowChange(badge(2), RowState.ACCEPTED, "bb" * 12)])])
    assert ids(ledger) == {1: "aa" * 12, 2: "bb" * 12}
    with backend.look() as connection:
        settled = connection.execute(sa.text("SELECT status, verdict FROM capillary_batch")).one()
    assert tuple(settled) == (200, "UNKNOWN")


def test_one_of_two_issues_of_a_row_counts(ledger: Ledger, job: Job) -> None:
    odd = 'a "quoted" \\ text, {with} NULL, \0 and \ud800 é'
    twice = [issue(1, RowState.REJECTED, "first"), issue(1, RowState.REJECTED, odd), issue(2, RowState.INVALID)]
    ledger.record(job, [Issues(twice)])
    ledger.record(job, [Issues([issue(2, RowState.REJECTED), issue(3, RowState.INVALID)], keep_earlier=True)])
    found = list(ledger.issues(job.job_id))
    assert [(one.row_number, one.state) for one in found] == [
        (1, RowState.REJECTED),
        (2, RowState.INVALID),
        (3, RowState.INVALID),
    ]
    assert found[0].message.startswith('a "quoted" \\ text, {with} NULL, ')
