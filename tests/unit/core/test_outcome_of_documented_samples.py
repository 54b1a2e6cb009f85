"""The replies that the API's own pages show, decoded and judged as they stand."""

from __future__ import annotations

import json

import pytest

from airflow_provider_capillary.client.wire import decode_reply
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Judgement, Verdict, judge
from airflow_provider_capillary.core.row_state import RowState

OLDER_BATCH = [EarnedBadge(n, "654e08f2041fd452b3ef5b2e", 382442802, 1674292011, 1705828011, n) for n in (1, 2)]
OLDER_REPLY = b"""[
   {
       "data": {
           "badgeMetaId": "654e08f2041fd452b3ef5b2e",
           "customerId": 382442802,
           "earnedBadgeId": "6576f7d291e0b01c659ad606",
           "expiresOn": 1705828011.000000000,
           "requestId": "f93f710f169c8390c41ae095986c5a50_1"
       },
       "errors": null,
       "warnings": null
   },
   {
       "data": {
           "badgeMetaId": "654e08f2041fd452b3ef5b2e",
           "customerId": 382442802,
           "earnedBadgeId": "6576f7d291e0b01c659ad609",
           "expiresOn": 1705828011.000000000,
           "requestId": "f93f710f169c8390c41ae095986c5a50_2"
       },
       "errors": null,
       "warnings": null
   }
]"""
NEWER_BATCH = [
    EarnedBadge(1, "696f0fd40772ad476ecf74ac", 555567088, 1674292011, 1705828011),
    EarnedBadge(2, "697a16140772ad476ecfe51c", 12098734, 1635792000, 1667328000),
]
NEWER_REPLY = b"""[
    {
        "data": {
            "badgeMetaId": "696f0fd40772ad476ecf74ac",
            "customerId": 555567088,
            "earnedBadgeId": "697b5f6f0772ad476ecff272",
            "expiresOn": 1705828011.000000000,
            "expiresOnISO": "2024-01-21T09:06:51Z",
            "requestId": "d9e144be-2450-4300-892f-798f9bb68ce2_1",
            "issuedId": null
        },
        "errors": null,
        "warnings": null
    },
    {
        "data": {
            "badgeMetaId": "697a16140772ad476ecfe51c",
            "customerId": 12098734,
            "earnedBadgeId": "697b5f6f0772ad476ecff275",
            "expiresOn": 1667328000.000000000,
            "expiresOnISO": "2022-11-01T18:40:00Z",
            "requestId": "d9e144be-2450-4300-892f-798f9bb68ce2_2",
            "issuedId": null
        },
        "errors": null,
        "warnings": null
    }
]"""


def judged(batch: list[EarnedBadge], body: bytes, status: int = 200) -> Judgement:
    return judge(batch, decode_reply(status, {"Content-Type": "application/json"}, body, now=0.0))


def states(judgement: Judgement) -> list[RowState]:
    return [row.state for row in judgement.rows]


def test_the_older_sample_is_two_grants() -> None:
    judgement = judged(OLDER_BATCH, OLDER_REPLY)
    assert states(judgement) == [RowState.ACCEPTED] * 2
    assert [row.earned_badge_id for row in judgement.rows] == ["6576f7d291e0b01c659ad606", "6576f7d291e0b01c659ad609"]


def test_the_newer_sample_is_two_grants() -> None:
    judgement = judged(NEWER_BATCH, NEWER_REPLY)
    assert states(judgement) == [RowState.ACCEPTED] * 2
    assert [row.earned_badge_id for row in judgement.rows] == ["697b5f6f0772ad476ecff272", "697b5f6f0772ad476ecff275"]


def test_a_documented_reply_proves_nothing_of_other_rows() -> None:
    assert states(judged(NEWER_BATCH, OLDER_REPLY)) == [RowState.UNKNOWN] * 2
    assert states(judged(NEWER_BATCH[::-1], NEWER_REPLY)) == [RowState.UNKNOWN] * 2


@pytest.mark.parametrize("cut", [1, 40, 400, len(NEWER_REPLY) // 2, len(NEWER_REPLY) - 1])
def test_a_cut_documented_reply_proves_nothing(cut: int) -> None:
    judgement = judged(NEWER_BATCH, NEWER_REPLY[:cut])
    assert judgement.verdict is Verdict.UNKNOWN
    assert states(judgement) == [RowState.UNKNOWN] * 2


def test_a_short_documented_array_proves_nothing() -> None:
    assert states(judged(NEWER_BATCH, json.dumps(json.loads(NEWER_REPLY)[:1]).encode())) == [RowState.UNKNOWN] * 2


@pytest.mark.parametrize(
    "errors",
    [
        pytest.param('{"code": 1054, "message": "GLOBAL.BADGE_NOT_FOUND"}', id="object, as the import page types it"),
        pytest.param(
            '[{"code": 1054, "message": "GLOBAL.BADGE_NOT_FOUND", "reference": null}]', id="array, as elsewhere"
        ),
    ],
)
def test_1054_refuses_its_row_in_both_shapes(errors: str) -> None:
    found = json.loads(NEWER_REPLY)
    found[1] = {"data": None, "errors": json.loads(errors), "warnings": None}
    judgement = judged(NEWER_BATCH, json.dumps(found).encode())
    assert states(judgement) == [RowState.ACCEPTED, RowState.REJECTED]
    assert (judgement.rows[1].code, judgement.rows[1].message) == (1054, "GLOBAL.BADGE_NOT_FOUND")


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (
            400,
            b'{"data": null, "errors": [{"code": 809, "message": "Request with same requestId is not allowed"}]}',
            Verdict.UNKNOWN,
        ),
        (
            400,
            b'{"data": null, "errors": [{"code": 400, "message": "JSON parse error: Unexpected character", '
            b'"reference": null}], "warnings": null}',
            Verdict.BISECT,
        ),
        (400, b"{}", Verdict.UNKNOWN),
        (
            200,
            b'{"data": null, "errors": [{"code": 1051, "message": "RevokeIssuals or CustomerId is mandatory"}]}',
            Verdict.UNKNOWN,
        ),
        (
            500,
            b'{"data": null, "errors": [{"code": 999999, "message": "HV000028"}], "warnings": null}',
            Verdict.UNKNOWN,
        ),
        (520, b"<html><title>520: Web server is returning an unknown error</title></html>", Verdict.UNKNOWN),
        (204, b"", Verdict.UNKNOWN),
    ],
    ids=["400 with 809", "400 parse error", "400 {}", "200 with an envelope", "500 with 999999", "edge page", "204"],
)
def test_documented_bodies_get_their_line_of_the_table(status: int, body: bytes, verdict: Verdict) -> None:
    assert judged(NEWER_BATCH, body, status).verdict is verdict


@pytest.mark.parametrize("echoed", [b"9" * 400 + b".0", b"1" + b"0" * 400, b'"NaN"', b'"Infinity"', b"NaN", b"1e400"])
def test_an_unreadable_echoed_expiry_is_unknown(echoed: bytes) -> None:
    body = OLDER_REPLY.replace(b"1705828011.000000000", echoed)
    assert states(judged(OLDER_BATCH, body)) == [RowState.UNKNOWN] * 2
