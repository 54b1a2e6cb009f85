"""Entries with errors: which row they refuse, and what errors and warnings say beside a grant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_capillary.core.outcome import PASSING, Verdict
from airflow_provider_capillary.core.reply import ApiProblem, Entry, EntryData

from .row_replies import (
    ACCEPTED,
    BADGE_ID,
    BUSY,
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


def test_refusals_without_echo_go_by_position() -> None:
    judgement = judged([grant(1), refusal(NOT_FOUND), grant(3), refusal(BUSY)])
    assert judgement.verdict is Verdict.PER_ROW
    assert states(judgement) == [ACCEPTED, REJECTED, ACCEPTED, REJECTED]
    assert [row.code for row in judgement.rows] == [None, 1054, None, 521]
    assert not judgement.proof_failed


def test_refusals_alone_go_by_position() -> None:
    assert states(judged([refusal(NOT_FOUND)] * 3)) == [REJECTED] * 3


@pytest.mark.parametrize("changed", GRANT_MISSES_ITS_PLACE)
def test_a_refusal_beside_misplaced_echoes_is_unknown(changed: dict[str, Any]) -> None:
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
def test_a_refusal_may_echo_a_matching_part(partial: dict[str, Any]) -> None:
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
def test_a_refusal_echoing_another_row_is_unknown(partial: dict[str, Any]) -> None:
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
def test_empty_errors_neither_spoil_nor_prove(
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
        pytest.param([NOT_FOUND, ApiProblem(1, "more")], id="array of two: the first is reported"),
        pytest.param([ApiProblem(), NOT_FOUND], id="array that begins with an empty object"),
    ],
)
@pytest.mark.parametrize("data", [None, EntryData(), echo(1, earned_badge_id=None)], ids=["null", "empty", "echo"])
def test_errors_without_id_are_a_refusal(errors: list[ApiProblem] | ApiProblem, data: EntryData | None) -> None:
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


def test_an_id_beside_errors_is_unknown_and_kept() -> None:
    judgement = judged([Entry(echo(1), [NOT_FOUND])])
    assert states(judgement) == [UNKNOWN]
    assert judgement.proof_failed
    assert judgement.rows[0].earned_badge_id == echo(1).earned_badge_id


@pytest.mark.parametrize("form", [lambda busy: [busy], lambda busy: busy], ids=["array", "object"])
@pytest.mark.parametrize("code", sorted(PASSING))
def test_a_passing_code_is_worth_another_try(code: int, form: Callable[[ApiProblem], Any]) -> None:
    errors = form(ApiProblem(code, "try later"))
    judgement = judged([grant(1), Entry(None, errors), refusal(NOT_FOUND)])
    assert states(judgement) == [ACCEPTED, REJECTED, REJECTED]
    assert [row.passing for row in judgement.rows] == [False, True, False]
