from __future__ import annotations

import ast
import re
import sqlite3
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_capillary
from airflow_provider_capillary.core.row_state import TRANSITIONS, RowState, may_become

#: The triggers as they were made, and as they were exchanged later.
MIGRATIONS = ("0001_ledger", "0003_settling_and_revoking", "0004_quick_triggers")

#: The promise once more, by hand: a change of the table must be made in two places, on purpose.
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


@pytest.fixture(scope="module")
def triggers() -> dict[str, tuple[str, ...]]:
    """The migrations' SQL in order, taken from their source: importing them would load a database library."""
    found = [_constants(name) for name in MIGRATIONS]
    return {
        "sqlite": tuple(statement for one in found for statement in one["_SQLITE_TRIGGERS"]),
        "postgresql": tuple(statement for one in found for statement in one.get("_POSTGRESQL_TRIGGERS", ())),
    }


def _constants(migration: str) -> dict[str, Any]:
    path = Path(airflow_provider_capillary.__file__).parent / "ledger/migrations/versions" / f"{migration}.py"
    names = {"_TRANSITIONS", "_SQLITE_TRIGGERS", "_POSTGRESQL_TRIGGERS"}
    constants: list[ast.stmt] = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names
    ]
    found: dict[str, Any] = {}
    exec(compile(ast.Module(constants, []), migration, "exec"), found)
    return found


@pytest.mark.parametrize(("old", "new"), MATRIX, ids=IDS)
def test_a_row_may_change_its_state_only_as_promised(old: RowState, new: RowState) -> None:
    assert may_become(old, new) == ((old.value, new.value) in ALLOWED)


@pytest.mark.parametrize("final", [RowState.REVOKED, RowState.INVALID, RowState.ALREADY_ACCEPTED, RowState.NOT_SENT])
def test_what_is_settled_for_good_never_changes_again(final: RowState) -> None:
    assert not [new for new in RowState if may_become(final, new)]


def test_what_was_accepted_is_never_sent_again_only_taken_back() -> None:
    assert {new for new in RowState if may_become(RowState.ACCEPTED, new)} == {RowState.REVOKED}


def test_no_row_is_accepted_or_rejected_without_an_intent_or_a_doubt_before() -> None:
    assert {old for old, new in TRANSITIONS if new is RowState.ACCEPTED} == {RowState.INTENT, RowState.UNKNOWN}
    assert {old for old, new in TRANSITIONS if new is RowState.REJECTED} == {RowState.INTENT}


def test_an_unknown_row_is_never_sent_without_being_proven_absent_first() -> None:
    assert not may_become(RowState.UNKNOWN, RowState.INTENT)


def test_every_change_says_who_may_do_it() -> None:
    assert all(TRANSITIONS.values())


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_ledger_s_triggers_hold_exactly_the_same_pairs(triggers: dict[str, tuple[str, ...]], dialect: str) -> None:
    pairs = re.findall(r"'(\w+)>(\w+)'", triggers[dialect][-1])
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(old.value, new.value) for old, new in TRANSITIONS}


@pytest.mark.parametrize(("old", "new"), MATRIX, ids=IDS)
def test_sqlite_itself_refuses_every_other_change(
    triggers: dict[str, tuple[str, ...]], old: RowState, new: RowState
) -> None:
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE capillary_earned_badge (state TEXT NOT NULL)")
        database.execute("INSERT INTO capillary_earned_badge VALUES (?)", (old.value,))
        for trigger in triggers["sqlite"]:
            database.execute(trigger)
        change = ("UPDATE capillary_earned_badge SET state = ?", (new.value,))
        if old is new or may_become(old, new):  # writing the same state again changes nothing
            database.execute(*change)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="not allowed"):
                database.execute(*change)
    finally:
        database.close()


@pytest.mark.parametrize("state", list(RowState))
def test_in_sqlite_a_row_enters_the_ledger_only_as_an_intent(
    triggers: dict[str, tuple[str, ...]], state: RowState
) -> None:
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE capillary_earned_badge (state TEXT NOT NULL)")
        for trigger in triggers["sqlite"]:
            database.execute(trigger)
        entering = ("INSERT INTO capillary_earned_badge VALUES (?)", (state.value,))
        if state is RowState.INTENT:
            database.execute(*entering)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="enters the ledger as an intent"):
                database.execute(*entering)
    finally:
        database.close()
