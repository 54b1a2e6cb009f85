"""The line of the table of outcomes that speaks of an array: each proof, and what follows where it is missed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Judgement, Verdict, judge
from airflow_provider_capillary.core.reply import ApiProblem, Delivery, Entry, EntryData, Reply
from airflow_provider_capillary.core.row_state import RowState

QUICK = settings(max_examples=25, deadline=None)

BADGE_ID = "654e08f2041fd452b3ef5b2e"
OTHER_BADGE_ID = "696f0fd40772ad476ecf74ac"
EXPIRES = 1_705_828_011  # 2024-01-21T09:06:51Z
ACCEPTED, REJECTED, UNKNOWN = RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN
NOT_FOUND = ApiProblem(1054, "GLOBAL.BADGE_NOT_FOUND")
BUSY = ApiProblem(521, "Multiple actions are running for the same customer. Please try after some time.")


def batch_of(rows: int) -> list[EarnedBadge]:
    return [EarnedBadge(10 + n, BADGE_ID, 1000 + n, 1_674_292_011, EXPIRES) for n in range(1, rows + 1)]


def echo(position: int, **changed: Any) -> EntryData:
    """What a server that granted the row at a position (from 1) echoes."""
    fields: dict[str, Any] = {
        "badge_meta_id": BADGE_ID,
        "customer_id": 1000 + position,
        "earned_badge_id": f"6576f7d291e0b01c659ad6{position:02}",
        "expires_on": float(EXPIRES),
        "expires_on_iso": "2024-01-21T09:06:51Z",
        "request_id": f"f93f710f169c8390c41ae095986c5a50_{position}",
    }
    return EntryData(**{**fields, **changed})


def grant(position: int, **changed: Any) -> Entry:
    return Entry(echo(position, **changed))


def refusal(*problems: ApiProblem, data: EntryData | None = None) -> Entry:
    return Entry(data, list(problems))


def judged(entries: Sequence[Entry], rows: int | None = None) -> Judgement:
    badges = batch_of(len(entries) if rows is None else rows)
    return judge(badges, Reply(Delivery.REPLIED, 200, list(entries)))


def states(judgement: Judgement) -> list[RowState]:
    return [row.state for row in judgement.rows]


def assert_all_unknown(judgement: Judgement, rows: int) -> None:
    assert judgement.verdict is Verdict.UNKNOWN
    assert states(judgement) == [UNKNOWN] * rows
    assert judgement.proof_failed
    assert judgement.reason


@QUICK
@given(st.integers(1, 120))
def test_where_every_proof_holds_each_row_is_accepted_with_its_own_earned_badge_id(rows: int) -> None:
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
def test_a_batch_seen_at_one_glance_is_judged_as_row_by_row(
    odd: dict[str, Any], errors: list[ApiProblem] | None
) -> None:
    """The short way may only say what the long way says: here the long way is forced by a refusal at the end."""
    entries = [grant(1), Entry(echo(2, **odd), errors), grant(3)]
    judgement = judged(entries)
    long_way = judged([*entries, refusal(NOT_FOUND)])
    assert judgement.rows == long_way.rows[:3]
    assert judgement.proof_failed == long_way.proof_failed
    assert judgement.wrong_time_unit == long_way.wrong_time_unit
    assert not judgement.granted_ids or states(judgement) == [ACCEPTED] * 3


@pytest.mark.parametrize("entries", [0, 1, 2, 4])
def test_an_array_of_another_length_proves_nothing_of_any_row(entries: int) -> None:
    assert_all_unknown(judged([grant(n) for n in range(1, entries + 1)], rows=3), 3)


GRANT_MISSES_ITS_PLACE = [
    pytest.param({"badge_meta_id": OTHER_BADGE_ID}, id="another badge is echoed"),
    pytest.param({"badge_meta_id": None}, id="no badge is echoed"),
    pytest.param({"badge_meta_id": ""}, id="an empty badge is echoed"),
    pytest.param({"customer_id": 999}, id="another customer is echoed"),
    pytest.param({"customer_id": "999"}, id="another customer is echoed as text"),
    pytest.param({"customer_id": None}, id="no customer is echoed"),
    pytest.param({"request_id": "f93f_1"}, id="the requestId is that of another position"),
    pytest.param({"request_id": "f93f_12"}, id="the requestId's suffix only begins with the position"),
    pytest.param({"request_id": "f93f_22"}, id="the requestId's suffix only ends with the position"),
    pytest.param({"request_id": "f93f2"}, id="the requestId has no suffix"),
    pytest.param({"request_id": ""}, id="the requestId is empty"),
    pytest.param({"request_id": None}, id="no requestId is echoed"),
]


@pytest.mark.parametrize("changed", GRANT_MISSES_ITS_PLACE)
def test_one_grant_that_is_not_about_its_row_makes_the_whole_batch_unknown(changed: dict[str, Any]) -> None:
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
def test_every_documented_form_of_an_echo_is_a_proof(changed: dict[str, Any]) -> None:
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
def test_an_expiry_that_is_not_ours_leaves_its_row_unknown_and_only_that_row(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed), grant(3)])
    assert judgement.verdict is Verdict.PER_ROW
    assert states(judgement) == [ACCEPTED, UNKNOWN, ACCEPTED]
    assert judgement.proof_failed
    assert judgement.reason == judgement.rows[1].message
    assert "expir" in judgement.reason


def test_the_earned_badge_id_of_a_row_with_another_expiry_is_kept_so_that_it_can_be_revoked() -> None:
    judgement = judged([grant(1, expires_on=EXPIRES + 60.0)])
    assert states(judgement) == [UNKNOWN]
    assert judgement.rows[0].earned_badge_id == echo(1).earned_badge_id


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
def test_an_expiry_off_by_a_thousand_is_the_wrong_time_unit(changed: dict[str, Any]) -> None:
    judgement = judged([grant(1), grant(2, **changed)])
    assert states(judgement) == [ACCEPTED, UNKNOWN]
    assert judgement.wrong_time_unit
    assert judgement.proof_failed


@pytest.mark.parametrize("changed", EXPIRY_MISSES)
def test_an_expiry_off_by_anything_else_is_not_called_the_wrong_time_unit(changed: dict[str, Any]) -> None:
    assert not judged([grant(1, **changed)]).wrong_time_unit


def test_a_good_reply_is_not_called_the_wrong_time_unit() -> None:
    assert not judged([grant(1), refusal(NOT_FOUND)]).wrong_time_unit


def test_an_expiry_that_no_float_can_hold_is_a_miss_and_not_a_crash() -> None:
    assert states(judged([grant(1, expires_on=10**400)])) == [UNKNOWN]


def test_refusals_without_an_echo_are_placed_by_their_position() -> None:
    judgement = judged([grant(1), refusal(NOT_FOUND), grant(3), refusal(BUSY)])
    assert judgement.verdict is Verdict.PER_ROW
    assert states(judgement) == [ACCEPTED, REJECTED, ACCEPTED, REJECTED]
    assert [row.code for row in judgement.rows] == [None, 1054, None, 521]
    assert not judgement.proof_failed


def test_an_array_of_nothing_but_refusals_without_echo_is_placed_by_position() -> None:
    assert states(judged([refusal(NOT_FOUND)] * 3)) == [REJECTED] * 3


@pytest.mark.parametrize("changed", GRANT_MISSES_ITS_PLACE)
def test_a_refusal_beside_a_misplaced_echo_is_not_placed_the_whole_batch_is_unknown(changed: dict[str, Any]) -> None:
    assert_all_unknown(judged([refusal(NOT_FOUND), grant(2, **changed), grant(3)]), 3)


@pytest.mark.parametrize(
    "partial",
    [
        pytest.param({"request_id": "base_2"}, id="only its requestId"),
        pytest.param({"customer_id": 1002}, id="only its customer"),
        pytest.param({"badge_meta_id": BADGE_ID}, id="only its badge"),
        pytest.param({"badge_meta_id": BADGE_ID, "customer_id": 1002}, id="badge and customer"),
        pytest.param({}, id="an empty echo"),
    ],
)
def test_a_refusal_may_echo_a_part_if_the_part_is_about_its_row(partial: dict[str, Any]) -> None:
    assert states(judged([grant(1), refusal(NOT_FOUND, data=EntryData(**partial))])) == [ACCEPTED, REJECTED]


@pytest.mark.parametrize(
    "partial",
    [
        pytest.param({"request_id": "base_1"}, id="the requestId of another position"),
        pytest.param({"customer_id": 1001}, id="the customer of another row"),
        pytest.param({"badge_meta_id": OTHER_BADGE_ID}, id="another badge"),
        pytest.param({"customer_id": 1002, "request_id": "base_3"}, id="its customer at another position"),
    ],
)
def test_a_refusal_that_echoes_another_row_makes_the_whole_batch_unknown(partial: dict[str, Any]) -> None:
    assert_all_unknown(judged([grant(1), refusal(NOT_FOUND, data=EntryData(**partial))]), 2)


@pytest.mark.parametrize(
    "errors",
    [
        pytest.param(None, id="null"),
        pytest.param([], id="empty array"),
        pytest.param(ApiProblem(), id="empty object"),
        pytest.param([ApiProblem()], id="array of an empty object"),
    ],
)
def test_errors_that_say_nothing_do_not_spoil_a_grant_nor_prove_a_refusal(
    errors: list[ApiProblem] | ApiProblem | None,
) -> None:
    assert states(judged([Entry(echo(1), errors)])) == [ACCEPTED]
    assert states(judged([Entry(None, errors)])) == [UNKNOWN]
    assert states(judged([Entry(echo(1, earned_badge_id=None), errors)])) == [UNKNOWN]
    assert states(judged([Entry(echo(1, earned_badge_id=""), errors)])) == [UNKNOWN]


@pytest.mark.parametrize(
    "errors",
    [
        pytest.param(NOT_FOUND, id="object"),
        pytest.param([NOT_FOUND], id="array"),
        pytest.param([NOT_FOUND, ApiProblem(1, "more")], id="array of two: the first is told"),
        pytest.param([ApiProblem(), NOT_FOUND], id="array that begins with an empty object"),
    ],
)
@pytest.mark.parametrize("data", [None, EntryData(), echo(1, earned_badge_id=None)], ids=["null", "empty", "echo"])
def test_errors_without_an_earned_badge_id_are_a_refusal_with_its_code_and_message(
    errors: list[ApiProblem] | ApiProblem, data: EntryData | None
) -> None:
    (row,) = judged([Entry(data, errors)]).rows
    assert (row.state, row.code, row.message) == (REJECTED, 1054, "GLOBAL.BADGE_NOT_FOUND")
    assert not row.passing


@pytest.mark.parametrize(
    "problem", [ApiProblem(code=7), ApiProblem(message="no")], ids=["only a code", "only a message"]
)
def test_half_an_error_is_an_error(problem: ApiProblem) -> None:
    (row,) = judged([refusal(problem)]).rows
    assert (row.state, row.code) == (REJECTED, problem.code)
    assert row.message


def test_warnings_do_not_spoil_a_grant() -> None:
    assert states(judged([Entry(echo(1), None, [ApiProblem(900, "already claimed")])])) == [ACCEPTED]


def test_warnings_alone_prove_nothing() -> None:
    assert states(judged([Entry(None, None, ApiProblem(900, "already claimed"))])) == [UNKNOWN]


def test_an_earned_badge_id_beside_errors_is_unknown_and_the_id_is_kept_so_that_it_can_be_revoked() -> None:
    judgement = judged([Entry(echo(1), [NOT_FOUND])])
    assert states(judgement) == [UNKNOWN]
    assert judgement.proof_failed
    assert judgement.rows[0].earned_badge_id == echo(1).earned_badge_id


@pytest.mark.parametrize("errors", [[BUSY], BUSY], ids=["array", "object"])
def test_per_row_521_is_refused_for_a_passing_reason(errors: list[ApiProblem] | ApiProblem) -> None:
    judgement = judged([grant(1), Entry(None, errors), refusal(NOT_FOUND)])
    assert states(judgement) == [ACCEPTED, REJECTED, REJECTED]
    assert [row.passing for row in judgement.rows] == [False, True, False]


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
def test_whatever_comes_back_each_row_has_one_outcome_and_none_is_accepted_without_all_proofs(
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
