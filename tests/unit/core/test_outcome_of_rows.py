"""The line of the table of outcomes that speaks of an array: each proof, and what follows where it is missed."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.outcome import Verdict
from airflow_provider_capillary.core.reply import ApiProblem, Entry

from .row_replies import (
    ACCEPTED,
    BADGE_ID,
    EXPIRES,
    GRANT_MISSES_ITS_PLACE,
    NOT_FOUND,
    OTHER_BADGE_ID,
    REJECTED,
    UNKNOWN,
    assert_all_unknown,
    echo,
    grant,
    judged,
    refusal,
    states,
)

QUICK = settings(max_examples=25, deadline=None)


@QUICK
@given(st.integers(1, 120))
def test_with_all_proofs_each_row_is_accepted(rows: int) -> None:
    judgement = judged([grant(n) for n in range(1, rows + 1)])
    assert judgement.verdict is Verdict.PER_ROW
    assert states(judgement) == [ACCEPTED] * rows
    assert [row.earned_badge_id for row in judgement.rows] == [echo(n).earned_badge_id for n in range(1, rows + 1)]
    assert not judgement.proof_failed


ODD_ECHOES: list[dict[str, Any]] = [
    {},
    {"badge_meta_id": BADGE_ID.upper()},
    {"badge_meta_id": OTHER_BADGE_ID},
    {"badge_meta_id": None},
    {"customer_id": "1002"},
    {"customer_id": 1003},
    {"customer_id": None},
    {"earned_badge_id": None},
    {"earned_badge_id": ""},
    {"request_id": None},
    {"request_id": "base_22"},
    {"request_id": "base_3"},
    {"request_id": "base2"},
    {"expires_on": None},
    {"expires_on": None, "expires_on_iso": None},
    {"expires_on_iso": None},
    {"expires_on": float(EXPIRES) + 0.9},
    {"expires_on": float(EXPIRES) + 1.1},
    {"expires_on": float("nan")},
    {"expires_on": str(EXPIRES)},
    {"expires_on_iso": "2024-01-21T14:36:51+05:30"},
    {"expires_on_iso": "2024-01-21T09:06:52.5Z"},
    {"expires_on_iso": "2024-01-21T09:06:51"},
    {"expires_on_iso": ""},
    {"expires_on": EXPIRES * 1000.0, "expires_on_iso": "+56025-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("odd", ODD_ECHOES, ids=str)
@pytest.mark.parametrize("errors", [None, [], [ApiProblem()], [NOT_FOUND]], ids=str)
def test_the_quick_check_equals_the_slow(odd: dict[str, Any], errors: list[ApiProblem] | None) -> None:
    """The short way may only say what the long way says: here the long way is forced by a refusal at the end."""
    entries = [grant(1), Entry(echo(2, **odd), errors), grant(3)]
    judgement = judged(entries)
    long_way = judged([*entries, refusal(NOT_FOUND)])
    assert judgement.rows == long_way.rows[:3]
    assert judgement.proof_failed == long_way.proof_failed
    assert judgement.wrong_time_unit == long_way.wrong_time_unit
    assert not judgement.granted_ids or states(judgement) == [ACCEPTED] * 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("b_12\n", max_size=5) | st.sampled_from(["b_1", "b_2", "b\nb_1", "b_1\nb_2"]), max_size=3))
def test_no_text_in_a_requestid_takes_another_position(request_ids: list[str]) -> None:
    entries = [grant(n, request_id=request_id) for n, request_id in enumerate(request_ids, 1)]
    long_way = judged([*entries, refusal(NOT_FOUND)])
    assert judged([*entries]).rows == long_way.rows[: len(entries)]


@pytest.mark.parametrize("entries", [0, 1, 2, 4])
def test_a_wrong_length_proves_nothing(entries: int) -> None:
    assert_all_unknown(judged([grant(n) for n in range(1, entries + 1)], rows=3), 3)


@pytest.mark.parametrize("changed", GRANT_MISSES_ITS_PLACE)
def test_one_wrong_grant_makes_the_batch_unknown(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed), grant(3)])
    assert_all_unknown(judgement, 3)
    assert "entry 2" in judgement.reason


def test_a_requestid_suffix_is_the_whole_position() -> None:
    entries = [grant(n) for n in range(1, 12)]
    assert states(judged(entries)) == [ACCEPTED] * 11
    entries[10] = grant(11, request_id="base_1")
    assert_all_unknown(judged(entries), 11)


@pytest.mark.parametrize("order", [order for order in permutations((1, 2, 3)) if order != (1, 2, 3)])
def test_entries_in_another_order_are_never_matched_up(order: tuple[int, ...]) -> None:
    assert_all_unknown(judged([grant(n) for n in order]), 3)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"badge_meta_id": BADGE_ID.upper()}, id="badge in capitals"),
        pytest.param({"customer_id": "1002"}, id="customer as text"),
        pytest.param({"request_id": "d9e144be-2450-4300-892f-798f9bb68ce2_2"}, id="requestId of UUID form"),
        pytest.param({"expires_on_iso": None}, id="the older page: no expiresOnISO"),
        pytest.param({"expires_on": None}, id="only expiresOnISO"),
        pytest.param({"expires_on_iso": "2024-01-21T09:06:51+00:00"}, id="EU server, offset written out"),
        pytest.param({"expires_on_iso": "2024-01-21T14:36:51+05:30"}, id="India server"),
        pytest.param({"expires_on_iso": "2024-01-21T14:36:51.000+05:30"}, id="India server, milliseconds"),
        pytest.param({"expires_on": "1705828011.000000000"}, id="expiresOn as text of nine decimals"),
        pytest.param({"expires_on": "2024-01-21T14:36:51+05:30"}, id="ISO text in expiresOn"),
        pytest.param({"expires_on": EXPIRES + 1.0}, id="1 s late"),
        pytest.param({"expires_on": EXPIRES - 1.0}, id="1 s early"),
        pytest.param({"expires_on": EXPIRES + 0.999999999}, id="less than 1 s late"),
        pytest.param({"expires_on_iso": "2024-01-21T09:06:52Z"}, id="ISO 1 s late"),
        pytest.param({"expires_on_iso": "2024-01-21T14:36:50+05:30"}, id="ISO 1 s early, India server"),
    ],
)
def test_every_documented_echo_is_a_proof(changed: dict[str, Any]) -> None:
    assert states(judged([grant(1), grant(2, **changed), grant(3)])) == [ACCEPTED] * 3


EXPIRY_MISSES = [
    pytest.param({"expires_on": None, "expires_on_iso": None}, id="no expiry is echoed"),
    pytest.param({"expires_on": EXPIRES + 1.1}, id="1.1 s late"),
    pytest.param({"expires_on": EXPIRES - 1.1}, id="1.1 s early"),
    pytest.param({"expires_on": EXPIRES + 2.0, "expires_on_iso": None}, id="2 s late, no ISO"),
    pytest.param({"expires_on": 0.0}, id="zero"),
    pytest.param({"expires_on": -float(EXPIRES)}, id="negative"),
    pytest.param({"expires_on": float("inf")}, id="infinite"),
    pytest.param({"expires_on": float("nan")}, id="NaN"),
    pytest.param({"expires_on": "nan"}, id="NaN as text"),
    pytest.param({"expires_on": 10**400}, id="more than a float holds"),
    pytest.param({"expires_on": ""}, id="empty text"),
    pytest.param({"expires_on": "soon"}, id="no number"),
    pytest.param({"expires_on_iso": "2024-01-21T09:06:53Z"}, id="ISO 2 s late beside a good number"),
    pytest.param({"expires_on": None, "expires_on_iso": "2024-01-21T09:06:51+05:30"}, id="ISO of another zone"),
    pytest.param({"expires_on_iso": "2024-01-21T09:06:51"}, id="ISO without an offset"),
    pytest.param({"expires_on_iso": "+57906-04-18T07:06:40Z"}, id="ISO of a year beyond ours"),
    pytest.param({"expires_on_iso": ""}, id="empty ISO"),
    pytest.param({"expires_on_iso": "never"}, id="ISO that is none"),
]


@pytest.mark.parametrize("changed", EXPIRY_MISSES)
def test_another_expiry_leaves_only_its_row_unknown(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed), grant(3)])
    assert judgement.verdict is Verdict.PER_ROW
    assert states(judgement) == [ACCEPTED, UNKNOWN, ACCEPTED]
    assert judgement.proof_failed
    assert judgement.reason == judgement.rows[1].message
    assert "expir" in judgement.reason
    assert judgement.rows[1].earned_badge_id == echo(2).earned_badge_id
    assert not judgement.wrong_time_unit


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"expires_on": EXPIRES * 1000.0}, id="1000 times ours"),
        pytest.param({"expires_on": EXPIRES / 1000}, id="a thousandth of ours"),
        pytest.param({"expires_on": float(EXPIRES // 1000)}, id="a thousandth of ours, cut off"),
        pytest.param({"expires_on": EXPIRES * 1_000_000.0}, id="a million times ours"),
        pytest.param({"expires_on": f"{EXPIRES * 1000}.000000000"}, id="1000 times ours as text"),
        pytest.param(
            {"expires_on": EXPIRES * 1000.0, "expires_on_iso": "+56025-07-11T21:10:00Z"}, id="1000 times ours, both"
        ),
        pytest.param({"expires_on": None, "expires_on_iso": "1970-01-20T17:50:28Z"}, id="a thousandth, only as ISO"),
    ],
)
def test_a_thousandfold_expiry_is_the_wrong_unit(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed)])
    assert states(judgement) == [ACCEPTED, UNKNOWN]
    assert judgement.wrong_time_unit
    assert judgement.proof_failed


def test_a_good_reply_is_no_wrong_unit() -> None:
    assert not judged([grant(1), refusal(NOT_FOUND)]).wrong_time_unit


_PROBLEMS = st.builds(ApiProblem, st.none() | st.sampled_from([400, 521, 1054]), st.none() | st.text(max_size=5))
_CHANGES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "badge_meta_id": st.sampled_from([None, "", BADGE_ID.upper(), OTHER_BADGE_ID]),
            "customer_id": st.sampled_from([None, "", 1001, 1002, "1001", "1002"]),
            "earned_badge_id": st.sampled_from([None, ""]),
            "expires_on": st.sampled_from([None, EXPIRES * 1000.0, 0.0, str(EXPIRES), "nan", "x"]),
            "expires_on_iso": st.sampled_from([None, "2025-01-21T09:06:51Z", "", "x"]),
            "request_id": st.sampled_from([None, "", "a_1", "a_2", "a_12"]),
        },
    ),
)
_ECHOES = st.builds(lambda position, changes: echo(position, **changes), st.integers(1, 2), _CHANGES)
_SILENT: st.SearchStrategy[list[ApiProblem] | ApiProblem | None] = st.sampled_from([None, [], ApiProblem()])
_ENTRIES = st.builds(Entry, _ECHOES, _SILENT) | st.builds(
    Entry, st.none() | _ECHOES, _SILENT | _PROBLEMS | st.lists(_PROBLEMS, max_size=2)
)
_REPLIES = st.tuples(_ENTRIES, _ENTRIES).map(list) | st.lists(_ENTRIES, max_size=3)


def is_proven(position: int, entry: Entry) -> bool:
    """The guarantee once more, in other words: all that must hold before a row counts as accepted."""
    data = entry.data
    problems = [] if entry.errors is None else entry.errors if isinstance(entry.errors, list) else [entry.errors]
    return (
        data is not None
        and data.earned_badge_id not in (None, "")
        and all(problem == ApiProblem() for problem in problems)
        and str(data.badge_meta_id).lower() == BADGE_ID
        and str(data.customer_id) == str(1000 + position)
        and str(data.request_id).endswith(f"_{position}")
        and data.expires_on in (None, float(EXPIRES), str(EXPIRES))
        and data.expires_on_iso in (None, "2024-01-21T09:06:51Z")
        and (data.expires_on, data.expires_on_iso) != (None, None)
    )


@settings(max_examples=150, deadline=None)
@given(_REPLIES)
def test_no_reply_accepts_a_row_without_proofs(
    entries: list[Entry],
) -> None:
    judgement = judged(entries, rows=2)
    assert judgement.verdict in (Verdict.PER_ROW, Verdict.UNKNOWN)
    assert len(judgement.rows) == 2
    for position, row in enumerate(judgement.rows, 1):
        assert row.state in (ACCEPTED, REJECTED, UNKNOWN)
        if row.state is ACCEPTED:
            assert is_proven(position, entries[position - 1])
        if row.state is REJECTED:
            assert entries[position - 1].errors
    assert judgement.proof_failed == (UNKNOWN in states(judgement))
