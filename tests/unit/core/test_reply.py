"""Ids of replies that prove nothing: which are kept, and which row each can only mean."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Judgement, Verdict, judge
from airflow_provider_capillary.core.reply import ApiProblem, Entry, Reply, Transmission

from .row_replies import (
    BADGE_ID,
    BUSY,
    EXPIRES,
    OTHER_BADGE_ID,
    UNKNOWN,
    batch_of,
    echo,
    grant,
    judged,
    refusal,
    states,
)


def ids(judgement: Judgement) -> list[str]:
    return [one.earned_badge_id for one in judgement.given]


def own(*positions: int) -> list[str | None]:
    return [echo(position).earned_badge_id for position in positions]


def row_ids(judgement: Judgement) -> list[str | None]:
    return [row.earned_badge_id for row in judgement.rows]


def test_a_fully_accepting_reply_leaves_no_id() -> None:
    assert judged([grant(1), grant(2)]).given == ()


def test_a_reordered_reply_gives_ids_by_name() -> None:
    found = judged([grant(2), grant(3), grant(1)])
    assert found.verdict is Verdict.UNKNOWN
    assert ids(found) == own(2, 3, 1)
    assert row_ids(found) == own(1, 2, 3)


@pytest.mark.parametrize("entries", [1, 2, 4, 5])
def test_a_reply_of_wrong_length_keeps_ids(entries: int) -> None:
    found = judged([grant(position) for position in range(1, entries + 1)], rows=3)
    assert ids(found) == own(*range(1, entries + 1))
    named = row_ids(found)
    assert named[: min(3, entries)] == own(*range(1, min(3, entries) + 1))
    assert set(named[entries:]) <= {None}


def test_an_id_of_no_row_is_kept() -> None:
    found = judged([grant(1, badge_meta_id=OTHER_BADGE_ID), grant(2), grant(3, customer_id=None)])
    assert ids(found) == own(1, 2, 3)
    assert row_ids(found) == [None, *own(2), None]
    assert [one.row for one in found.given if one.row is None] == [None, None]


@pytest.mark.parametrize("customer", [1002, "1002"])
def test_two_ids_of_a_row_are_both_kept(customer: int | str) -> None:
    found = judged([grant(1, customer_id=customer), grant(2)])
    assert ids(found) == own(1, 2)
    assert row_ids(found) == [None, None]


def test_the_same_id_twice_is_one_id() -> None:
    assert row_ids(judged([grant(1), grant(1)])) == [*own(1), None]


def test_two_equal_rows_get_no_unproven_id() -> None:
    rows = [EarnedBadge(number, BADGE_ID, 1001, number, EXPIRES) for number in (1, 2)]
    found = judge(rows, Reply(Transmission.REPLIED, 200, [grant(1)]))
    assert (ids(found), row_ids(found)) == (own(1), [None, None])


def test_an_entry_with_id_and_errors_keeps_it() -> None:
    found = judged([grant(1), refusal(BUSY, data=echo(2))])
    assert (found.verdict, ids(found)) == (Verdict.PER_ROW, own(2))


def test_ids_find_their_row_in_any_spelling() -> None:
    found = judged([grant(2, customer_id="1002"), grant(1, badge_meta_id=BADGE_ID.upper())])
    assert row_ids(found) == own(1, 2)


@pytest.mark.parametrize("customer", ["", "x", "-1", "٣", "9" * 19, "9" * 5_000, 0, -5, 2**63, 2**80])
def test_an_impossible_customer_is_left_out(customer: int | str) -> None:
    [one] = judged([grant(1, customer_id=customer)], rows=2).given
    assert (one.customer_id, one.row) == (None, None)


@pytest.mark.parametrize(
    "status", [301, 302, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 499, 500, 502, 503]
)
def test_a_contradicting_status_proves_nothing(status: int) -> None:
    """Taken at its word, the rows would be sent again."""
    found = judge(batch_of(2), Reply(Transmission.REPLIED, status, [grant(1), grant(2)]))
    assert (found.verdict, states(found)) == (Verdict.UNKNOWN, [UNKNOWN] * 2)
    assert (ids(found), row_ids(found)) == (own(1, 2), own(1, 2))
    assert str(status) in found.reason


@pytest.mark.parametrize("entries", [[], [Entry()], [refusal(ApiProblem(1054, "no"))]])
def test_a_refusal_without_ids_is_judged_as_such(entries: list[Entry]) -> None:
    assert judge(batch_of(1), Reply(Transmission.REPLIED, 429, entries)).verdict is Verdict.RETRY_LATER


def test_an_entry_that_contradicts_itself_means_no_row() -> None:
    """The customer of one row and the position of another: the id may be of either."""
    found = judged([grant(1, customer_id=1002), grant(2, customer_id=1001), grant(3)])
    assert (ids(found), row_ids(found)) == (own(1, 2, 3), [None, None, *own(3)])


@pytest.mark.parametrize("request_id", [None, "", "f93f", "f93f_", "f93f_x"])
def test_an_id_without_position_goes_by_customer(request_id: str | None) -> None:
    assert row_ids(judged([grant(2, request_id=request_id), grant(1)])) == own(1, 2)
