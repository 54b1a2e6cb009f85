from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import (
    FINAL_STATES,
    TOP_REASONS,
    Reason,
    Summary,
    Tally,
    UnaccountedRowsError,
)

QUICK = settings(max_examples=25, deadline=None)

NAMES = [state.value for state in FINAL_STATES]
COUNTS = st.fixed_dictionaries({name: st.integers(0, 10**7) for name in NAMES})


def summary(rows_read: int, counts: dict[str, int], reasons: tuple[Reason, ...] = ()) -> Summary:
    ended: dict[str, Any] = dict(counts)
    return Summary(
        job_id="job",
        rows_read=rows_read,
        **ended,
        requests=1,
        batches=1,
        started_at="2025-01-31T09:00:00+00:00",
        finished_at="2025-01-31T09:00:01+00:00",
        reasons=reasons,
        ledger="sqlite",
    )


def test_a_row_ends_in_one_of_six_states() -> None:
    assert NAMES == ["accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent"]


@QUICK
@given(COUNTS)
def test_an_account_that_adds_up_is_taken(counts: dict[str, int]) -> None:
    assert summary(sum(counts.values()), counts).rows_read == sum(counts.values())


@QUICK
@given(COUNTS, st.integers(-5, 5).filter(bool))
def test_an_account_that_differs_is_refused(counts: dict[str, int], off: int) -> None:
    total = sum(counts.values())
    with pytest.raises(UnaccountedRowsError, match=rf"rows_read={total + off}, but {total} rows are accounted for"):
        summary(total + off, counts)


def test_a_summary_is_plain_json() -> None:
    reasons = (Reason("send", 1054, "GLOBAL.BADGE_NOT_FOUND", 2),)
    plain = summary(2, {**dict.fromkeys(NAMES, 0), "rejected": 2}, reasons=reasons).as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert list(plain) == [
        "job_id",
        "rows_read",
        *NAMES,
        "requests",
        "batches",
        "started_at",
        "finished_at",
        "reasons",
        "ledger",
        "dry_run",
    ]
    assert plain["reasons"] == [{"stage": "send", "code": 1054, "message": "GLOBAL.BADGE_NOT_FOUND", "rows": 2}]


@QUICK
@given(st.lists(st.tuples(st.sampled_from(FINAL_STATES), st.integers(0, 1000))))
def test_a_tally_counts_every_row_once(added: list[tuple[RowState, int]]) -> None:
    tally = Tally()
    for state, rows in added:
        tally.add(state, rows)
    assert tally.total() == sum(rows for _, rows in added)
    for state in FINAL_STATES:
        assert tally.rows[state] == sum(rows for added_state, rows in added if added_state is state)


def test_a_reason_alone_counts_no_row() -> None:
    tally = Tally()
    tally.explain("send", 1054, "no", 3)
    assert tally.total() == 0


def test_reasons_differing_in_values_are_one() -> None:
    tally = Tally()
    for customer in range(382_442_802, 382_442_902):
        tally.explain("send", 1026, f"Customer {customer} is not found")
    assert tally.reasons() == (Reason("send", 1026, "Customer … is not found", 100),)


def test_reasons_of_another_stage_or_code_stay_apart() -> None:
    tally = Tally()
    for stage, code in (("send", 1), ("send", 2), ("badge_check", 1), ("send", None)):
        tally.explain(stage, code, "no")
    assert len(tally.reasons()) == 4


@QUICK
@given(st.permutations(range(TOP_REASONS + 5)))
def test_the_most_frequent_reasons_come_first(order: list[int]) -> None:
    tally = Tally()
    for number in order:
        tally.explain("send", number, "no", rows=100 - number)
    assert [(reason.code, reason.rows) for reason in tally.reasons()] == [(n, 100 - n) for n in range(TOP_REASONS)]


@QUICK
@given(st.permutations(["apple", "pear", "plum", "quince"]))
def test_equally_frequent_reasons_have_a_fixed_order(order: list[str]) -> None:
    tally = Tally()
    for message in order:
        tally.explain("send", None, message)
    assert [reason.message for reason in tally.reasons()] == ["apple", "pear", "plum", "quince"]
