"""The database itself refuses changes of state that the table of transitions does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from airflow_provider_capillary.core.row_state import BATCH_STATES, FREE, TRANSITIONS, RowState
from airflow_provider_capillary.ledger.facts import (
    Job,
)

from .backends import Backend

_BATCH = sa.text("""
    INSERT INTO capillary_batch (id, job_id, fence, attempt, state, row_count, gone, has_late_id, fingerprint,
        request_id, sent_at, rows) VALUES (:customer, 1, 1, 1, :state, 1, 0, false, '', '', 0, :nothing)
""")
_ROW = sa.text("""
    INSERT INTO capillary_earned_badge (customer_id, badge_id, earned_at, occurrence, batch_id)
    VALUES (:customer, 1, 1, 1, :customer)
""")
_ODD = sa.text("""
    INSERT INTO capillary_odd_row (customer_id, badge_id, earned_at, occurrence, batch_id, state, job_id, row_number,
        expires_at) VALUES (:customer, 1, 1, 1, :customer, :state, 1, 1, 1)
""")
_CHANGE_BATCH = sa.text("UPDATE capillary_batch SET state = :state WHERE id = :customer")
_CHANGE_ODD = sa.text("UPDATE capillary_odd_row SET state = :state WHERE customer_id = :customer")
_CLAIM = sa.text("UPDATE capillary_earned_badge SET batch_id = 0 WHERE customer_id = :customer")
#: How a row comes to a state of its own.
_PATHS: dict[RowState, tuple[RowState, ...]] = {
    RowState.PLANNED: (RowState.PLANNED,),
    RowState.ACCEPTED: (RowState.ACCEPTED,),
    RowState.REJECTED: (RowState.REJECTED,),
    RowState.UNKNOWN: (RowState.UNKNOWN,),
    RowState.REVOKED: (RowState.ACCEPTED, RowState.REVOKED),
}
PAIRS = [(old, new) for old in RowState for new in RowState if old != new]
TO_AN_INTENT = {(old, new) for old, new in TRANSITIONS if new is RowState.INTENT}


@pytest.fixture
def looking(backend: Backend, job: Job) -> Iterator[Any]:
    """A connection past the ledger's code, and a batch to which rows may go."""
    with backend.look() as connection:
        connection.execute(_BATCH, {"customer": 0, "state": "intent", "nothing": b""})
        yield connection


def put(connection: Any, customer: int, *, state: RowState | None = None) -> None:
    """A batch of one row, which comes to a state of its own where one is given."""
    connection.execute(_BATCH, {"customer": customer, "state": "intent", "nothing": b""})
    connection.execute(_ROW, {"customer": customer})
    for step, change in zip(_PATHS[state] if state else (), (_ODD, _CHANGE_ODD), strict=False):
        connection.execute(change, {"customer": customer, "state": step.value})


def allowed(connection: Any, statement: Any, customer: int, new: RowState | None = None) -> bool:
    try:
        connection.execute(statement, {"customer": customer} | ({"state": new.value} if new else {}))
    except IntegrityError:
        return False
    return True


def test_the_database_enforces_row_states(looking: Any) -> None:
    found = set()
    for customer, (old, new) in enumerate(PAIRS, start=1):
        if old in _PATHS:
            put(looking, customer, state=old)
            if allowed(looking, _CHANGE_ODD, customer, new):
                found.add((old, new))
    assert found == {(old, new) for old, new in TRANSITIONS if old is not RowState.INTENT} - TO_AN_INTENT


def test_the_database_enforces_batch_states(looking: Any) -> None:
    found = set()
    for customer, (old, new) in enumerate(PAIRS, start=1):
        if old in BATCH_STATES:
            put(looking, customer)
            assert old is RowState.INTENT or allowed(looking, _CHANGE_BATCH, customer, old)
            if allowed(looking, _CHANGE_BATCH, customer, new):
                found.add((old, new))
    assert found == {pair for pair in TRANSITIONS if set(pair) <= set(BATCH_STATES)} - TO_AN_INTENT


def test_the_database_enforces_how_rows_differ(looking: Any) -> None:
    found = set()
    for customer, (old, new) in enumerate(PAIRS, start=1):
        if old in BATCH_STATES:
            put(looking, customer)
            assert old is RowState.INTENT or allowed(looking, _CHANGE_BATCH, customer, old)
            if allowed(looking, _ODD, customer, new):
                found.add((old, new))
    assert found == {(old, new) for old, new in TRANSITIONS if old in BATCH_STATES} - TO_AN_INTENT


def test_the_database_lets_only_free_rows_move(looking: Any) -> None:
    found = set()
    for customer, old in enumerate(RowState, start=1):
        if old in BATCH_STATES:
            put(looking, customer)
            assert old is RowState.INTENT or allowed(looking, _CHANGE_BATCH, customer, old)
            if allowed(looking, _CLAIM, customer):
                found.add(old)
        if old in _PATHS:
            put(looking, 100 + customer, state=old)
            if allowed(looking, _CLAIM, 100 + customer):
                found.add(old)
            else:
                assert old not in found
    assert found == FREE


def test_the_database_starts_batches_as_intents(looking: Any) -> None:
    for first in set(RowState) - {RowState.INTENT}:
        with pytest.raises(IntegrityError, match="enters the ledger as an intent"):
            looking.execute(_BATCH, {"customer": 1, "state": first.value, "nothing": b""})
