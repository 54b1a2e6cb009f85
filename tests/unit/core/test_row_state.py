from __future__ import annotations

import re
from pathlib import Path

import airflow_provider_capillary
from airflow_provider_capillary.core.row_state import BATCH_STATES, FREE, TRANSITIONS, UNPROVEN, RowState

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


def test_a_row_changes_state_only_as_promised() -> None:
    assert {(old.value, new.value) for old, new in TRANSITIONS} == ALLOWED


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
