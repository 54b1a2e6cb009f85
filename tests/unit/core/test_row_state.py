from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

import airflow_provider_capillary
from airflow_provider_capillary.core.row_state import BATCH_STATES, FREE, TRANSITIONS, UNPROVEN, RowState, may_become

SCHEMA = Path(airflow_provider_capillary.__file__).parent / "ledger/migrations/versions/0001_ledger.py"

#: The promise once more, written out: a change of the table must be made in two places, on purpose.
ALLOWED = {
    ("planned", "intent"),
    ("intent", "accepted"),
    ("intent", "rejected"),
    ("intent", "unknown"),
    ("intent", "planned"),
    ("unknown", "accepted"),
    ("unknown", "planned"),
    ("rejected", "intent"),
    ("accepted", "revoked"),
}
MATRIX = list(product(RowState, RowState))
IDS = [f"{old}>{new}" for old, new in MATRIX]


@pytest.mark.parametrize(("old", "new"), MATRIX, ids=IDS)
def test_a_row_changes_state_only_as_promised(old: RowState, new: RowState) -> None:
    assert may_become(old, new) == ((old.value, new.value) in ALLOWED)


@pytest.mark.parametrize("final", [RowState.REVOKED, RowState.INVALID, RowState.ALREADY_ACCEPTED, RowState.NOT_SENT])
def test_what_is_settled_for_good_never_changes_again(final: RowState) -> None:
    assert not [new for new in RowState if may_become(final, new)]


def test_an_accepted_row_is_only_revoked() -> None:
    assert {new for new in RowState if may_become(RowState.ACCEPTED, new)} == {RowState.REVOKED}


def test_accepted_and_rejected_follow_intent_or_doubt() -> None:
    assert {old for old, new in TRANSITIONS if new is RowState.ACCEPTED} == {RowState.INTENT, RowState.UNKNOWN}
    assert {old for old, new in TRANSITIONS if new is RowState.REJECTED} == {RowState.INTENT}


def test_an_unknown_row_is_sent_only_when_absent() -> None:
    assert not may_become(RowState.UNKNOWN, RowState.INTENT)


def test_every_change_names_its_actor() -> None:
    assert all(TRANSITIONS.values())


def test_only_proven_absent_rows_may_be_claimed() -> None:
    assert {RowState.PLANNED, RowState.REJECTED} == FREE
    assert not FREE & UNPROVEN


def test_a_whole_batch_is_never_rejected_or_revoked() -> None:
    assert set(BATCH_STATES) == {RowState.INTENT, RowState.ACCEPTED, RowState.PLANNED, RowState.UNKNOWN}


def test_the_ledger_s_schema_holds_exactly_the_same_pairs() -> None:
    """Read from its source: to import it would load a database library."""
    schema = SCHEMA.read_text(encoding="utf-8")
    [pairs] = re.findall(r'_TRANSITIONS = """(.*?)"""', schema, re.DOTALL)
    [free] = re.findall(r'_MAY_BE_CLAIMED = "(.*?)"', schema)
    found = re.findall(r"'(\w+)>(\w+)'", pairs) + [(state, "intent") for state in re.findall(r"\w+", free)]
    assert len(found) == len(set(found))
    assert set(found) == {(old.value, new.value) for old, new in TRANSITIONS}
