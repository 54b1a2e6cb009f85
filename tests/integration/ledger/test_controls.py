"""Which badges are known to be there, so that reading them shows whether reads show imports."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Controls, Job, Outcome, RowChange
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.queries import QUERIES

from .backends import Backend
from .building import EARNED, GOLD, SILVER, badge, begin, bring_to, claim, outcome

ACCEPTED = RowState.ACCEPTED


def found(ledger: Ledger, job: Job, *, name: str = GOLD, before: float = 1e12, expired: bool = True) -> Controls:
    near = badge(999, name=name, earned=EARNED if expired else 4_000_000_000)
    return ledger.find_controls(job, near, before=before)


def rows_of(controls: Controls) -> list[int]:
    return [one.row_number for one in controls.badges]


def test_only_rows_that_a_reply_proves_serve(ledger: Ledger, job: Job) -> None:
    for number, state in enumerate((RowState.INTENT, RowState.UNKNOWN, RowState.PLANNED, RowState.REJECTED), 1):
        bring_to(ledger, job, state, badge(number))
    read = bring_to(ledger, job, RowState.UNKNOWN, badge(5))
    ledger.record(job, [Outcome(read, "", None, [RowChange(badge(5), ACCEPTED, "65" * 12)])])
    assert found(ledger, job) == Controls(())
    bring_to(ledger, job, ACCEPTED, badge(6))
    assert rows_of(found(ledger, job)) == [6]


def test_only_a_customers_latest_row_serves(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, ACCEPTED, badge(1, customer=7), badge(2, customer=8), badge(3, customer=9))
    claim(ledger, job, badge(4, customer=7, earned=EARNED + 1))
    claim(ledger, job, badge(5, customer=8, earned=EARNED - 1), badge(6, customer=9, occurrence=2))
    assert rows_of(found(ledger, job)) == [2]


def test_the_same_badge_serves_first_of_three(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, ACCEPTED, badge(1), badge(2))
    bring_to(ledger, job, ACCEPTED, *(badge(number, name=SILVER) for number in range(3, 9)))
    assert rows_of(found(ledger, job))[:2] == [1, 2]
    assert len(found(ledger, job).badges) == 3
    assert {one.badge_meta_id for one in found(ledger, job, name=SILVER).badges} == {SILVER}


def test_a_row_serves_on_its_side_of_expiry(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, ACCEPTED, badge(1), badge(2, earned=4_000_000_000))
    assert rows_of(found(ledger, job)) == [1]
    assert rows_of(found(ledger, job, expired=False)) == [2]


def test_a_young_row_says_when_it_serves(ledger: Ledger, job: Job) -> None:
    bring_to(ledger, job, ACCEPTED, badge(1))
    young = found(ledger, job, before=1.0)
    assert young.badges == ()
    assert young.next_at is not None
    assert rows_of(found(ledger, job, before=young.next_at)) == [1]


def test_rows_of_another_organisation_do_not_serve(ledger: Ledger) -> None:
    bring_to(ledger, begin(ledger), ACCEPTED, badge(1))
    ledger.add_organisation("other")
    other = begin(ledger, "other", organisation="other")
    assert found(ledger, other) == Controls(())
    bring_to(ledger, other, ACCEPTED, badge(2))
    assert rows_of(found(ledger, other)) == [2]


def test_rows_of_every_job_serve_unless_rejected(ledger: Ledger, job: Job) -> None:
    rows = [badge(number) for number in range(1, 4)]
    batch = claim(ledger, job, *rows)
    refused = [RowChange(rows[0], RowState.REJECTED)]
    ledger.record(job, [Outcome(batch, "PER_ROW", 200, refused, (), rows[1:], ["65" * 12] * 2)])
    assert rows_of(found(ledger, begin(ledger, "later"))) == [2, 3]


def test_the_newest_batches_are_found_by_an_index(backend: Backend, ledger: Ledger, job: Job) -> None:
    for number in range(1, 41):
        batch = claim(ledger, job, badge(number))
        ledger.record(job, [outcome(batch, ACCEPTED, badge(number))])
    values = {"before": 1e12, "organisation": job.organisation_key, "limit": 40}
    explain = "EXPLAIN QUERY PLAN" if backend.name == "sqlite" else "EXPLAIN"
    with backend.look() as connection:
        if backend.name != "sqlite":
            connection.execute(sa.text("SET enable_seqscan = off"))
        plan = " ".join(
            str(row) for row in connection.execute(sa.text(f"{explain} {QUERIES['replied_batches']}"), values)
        )
    assert "capillary_batch_replied" in plan
    assert "TEMP B-TREE" not in plan
    assert len(found(ledger, job).badges) == 3
