from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_capillary.client.wire_reads import (
    UNSTATED_LIFETIME,
    Badge,
    CustomerBadge,
    Earn,
    OtherReplyError,
    RevokedBadge,
    UndecodableError,
    decode_badge,
    decode_badge_list,
    decode_customer_badge,
    decode_customer_id,
    decode_revoked,
    decode_token,
)
from airflow_provider_capillary.core.verification import Finding, settle

EARNED = 1674292011
BADGE_ID, OTHER_BADGE_ID, CUSTOMER_ID = "654e08f2041fd452b3ef5b2e", "696f0fd40772ad476ecf74ac", 382442802


def customer_badge(**changes: Any) -> CustomerBadge:
    data = {"id": BADGE_ID, "earnDetails": {"earnCount": 0, "earns": []}, "activeEarnedCount": 0, **changes}
    return decode_customer_badge(data, customer_id=CUSTOMER_ID, badge_meta_id=BADGE_ID)


def test_a_badge_of_the_list_is_read() -> None:
    found = decode_badge_list(
        {
            "metaBasicDetails": [
                {
                    "id": "66868A683778145CBB91193A",
                    "name": "Gold",
                    "startOn": 1721520000.0,
                    "expiresOnISO": "2024-09-20T09:16:40+05:30",
                    "status": "LIVE",
                    "earnType": "EARN",
                    "active": True,
                },
                {"name": "without an id"},
                None,
            ],
            "pagination": {"page": 0, "size": 10, "total": 11, "totalPages": 2},
        }
    )
    assert found.total_pages == 2
    assert found.badges == (
        Badge("66868a683778145cbb91193a", "Gold", "LIVE", True, "EARN", starts_at=1721520000, expires_at=1726804000),
    )


@pytest.mark.parametrize(
    ("fields", "instant"),
    [
        ({"lastEarnEventDate": 1674292011.9}, EARNED),
        ({"lastEarnEventDate": "2023-01-21T09:06:51Z"}, EARNED),
        ({"lastEarnEventDate": None, "lastEarnEventDateISO": "2023-01-21T14:36:51+05:30"}, EARNED),
        ({"lastEarnEventDateISO": "+57906-04-18T07:06:40Z"}, None),
        ({"lastEarnEventDateISO": "2023-01-21T09:06:51"}, None),
        ({"lastEarnEventDate": True}, None),
        ({"lastEarnEventDate": float("nan")}, None),
        ({"lastEarnEventDate": EARNED, "lastEarnEventDateISO": "2023-01-21T14:36:51+05:30"}, EARNED),
        ({"lastEarnEventDate": EARNED, "lastEarnEventDateISO": "2023-01-21T14:36:51Z"}, None),
        ({"lastEarnEventDate": EARNED * 1000, "lastEarnEventDateISO": "+55025-04-18T07:06:40Z"}, None),
        ({"lastEarnedOn": EARNED}, None),
        ({}, None),
    ],
)
def test_the_last_earn_is_number_text_or_unknown(fields: dict[str, Any], instant: int | None) -> None:
    assert customer_badge(**fields).last_earn_event_at == instant


def test_the_time_of_the_post_is_last_earned_on_date() -> None:
    """In the one published sample with all three dates, lastEarnedOn is the event date, ten seconds earlier."""
    found = customer_badge(
        lastEarnedOn=1743494913.679, lastEarnEventDate=1743494913.679, lastEarnedOnDate=1743494923.451
    )
    assert (found.last_earn_event_at, found.last_earned_at) == (1743494913, 1743494923)
    assert customer_badge(lastEarnedOn=EARNED).last_earned_at is None


@pytest.mark.parametrize(
    ("earn", "read"),
    [
        ({"earnedBadgeId": "a", "earnEventDate": EARNED}, Earn("a", EARNED)),
        ({"id": "b", "earnEventDateISO": "2023-01-21T09:06:51Z"}, Earn("b", EARNED)),
        ({"earnId": "c", "earnedOn": EARNED * 1000}, Earn("c", EARNED)),
        ({"earnId": "c", "earnedOn": EARNED * 1000 + 999}, Earn("c", EARNED)),
        ({"earnId": "c", "earnedOn": EARNED}, Earn("c", EARNED)),
        ({"earnId": "c", "earnedOn": "2023-01-21T09:06:51Z"}, Earn("c", EARNED)),
        ({"earnedOnISO": "2023-01-21T09:06:51Z"}, Earn(None, EARNED)),
        ({"earnedOn": EARNED * 1000, "earnedOnISO": "2023-01-21T09:06:51Z"}, Earn(None, EARNED)),
        ({"earnId": "d", "earnedBadgeId": "d"}, Earn("d")),
        # empty text is no id
        ({"earnedBadgeId": "", "earnEventDate": EARNED}, Earn(None, EARNED)),
        ({"earnedBadgeId": " ", "earnId": "d"}, Earn("d")),
        # the event date has its documented name: what else is there is another date
        ({"earnEventDate": EARNED, "earnedOn": (EARNED + 10) * 1000}, Earn(None, EARNED)),
        # ambiguous: proves nothing
        ({"earnId": "d", "earnedBadgeId": "e"}, Earn()),
        ({"earnId": "d", "id": "e", "earnedBadgeId": "d"}, Earn()),
        ({"earnedOn": EARNED * 1000, "earnedOnISO": "2023-01-21T09:06:52Z"}, Earn()),
        ({"earnedOn": EARNED * 1000, "earnedOnISO": "+55025-04-18T07:06:40Z"}, Earn()),
        ({"earnedOn": EARNED * 1_000_000}, Earn()),
        ({"earnedOn": 0}, Earn()),
        ({"earnedOn": float("inf")}, Earn()),
        ({"earnedOn": True}, Earn()),
        ({"earnEventDate": "2023-01-21T09:06:51", "earnedOn": EARNED * 1000}, Earn()),
        ({"earnId": 5}, Earn()),
        ("text", Earn()),
        (None, Earn()),
    ],
)
def test_an_earn_is_read_by_either_name_and_unit(earn: Any, read: Earn) -> None:
    assert customer_badge(earnDetails={"earnCount": 1, "earns": [earn]}).earns == (read,)


def test_an_earn_like_an_event_settles_its_row() -> None:
    view = customer_badge(earnDetails={"earnCount": 1, "earns": [{"earnId": "c", "earnedOn": EARNED * 1000}]}).view()
    settled = settle(EARNED, view, others_at_instant=0)
    assert (settled.finding, settled.earned_badge_id) == (Finding.GRANTED, "c")


@pytest.mark.parametrize(
    "data", [None, {}, {"earnDetails": None}, {"earnDetails": {"earns": []}}, {"activeEarnedCount": 0}]
)
def test_a_missing_count_is_not_zero(data: Any) -> None:
    with pytest.raises(UndecodableError):
        decode_customer_badge(data and {"id": BADGE_ID, **data}, customer_id=CUSTOMER_ID, badge_meta_id=BADGE_ID)


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"id": BADGE_ID.upper()},
        {"id": None, "badgeMetaId": BADGE_ID},
        {"badgeMetaId": BADGE_ID},
        {"customerId": CUSTOMER_ID},
        {"customerId": str(CUSTOMER_ID)},
        {"customerId": None},
        {"earnDetails": {"earnCount": 1, "earns": [{"badgeMetaId": BADGE_ID, "customerId": CUSTOMER_ID}]}},
    ],
)
def test_a_read_may_name_its_subject_in_any_way(named: dict[str, Any]) -> None:
    assert customer_badge(**named).earn_count in (0, 1)


@pytest.mark.parametrize(
    "named",
    [
        {"id": OTHER_BADGE_ID},
        {"id": None},
        {"id": 7},
        {"id": True},
        {"badgeMetaId": OTHER_BADGE_ID},
        {"id": None, "badgeMetaId": OTHER_BADGE_ID},
        {"customerId": CUSTOMER_ID + 1},
        {"customerId": f"{CUSTOMER_ID}0"},
        {"customerId": float(CUSTOMER_ID)},
        {"customerId": {}},
        {"earnDetails": {"earnCount": 1, "customerId": 7}},
        {"earnDetails": {"earnCount": 2, "earns": [{}, {"badgeMetaId": OTHER_BADGE_ID}]}},
        {"earnDetails": {"earnCount": 1, "earns": [{"customerId": 7}]}},
    ],
)
def test_a_read_about_another_proves_nothing(named: dict[str, Any]) -> None:
    with pytest.raises(OtherReplyError):
        customer_badge(**named)


@pytest.mark.parametrize(
    "sign",
    [
        {"activeEarnedCount": 1},
        {"lastEarnedOn": EARNED},
        {"lastEarnedOn": "no date"},
        {"lastEarnedOnDateISO": "2023-01-21T09:06:51Z"},
        {"lastEarnEventDateISO": "+57906-04-18T07:06:40Z"},
    ],
)
def test_any_sign_of_an_earn_prevents_absence(sign: dict[str, Any]) -> None:
    assert settle(EARNED, customer_badge().view(), others_at_instant=0).finding is Finding.ABSENT
    assert settle(EARNED, customer_badge(**sign).view(), others_at_instant=0).finding is Finding.UNDECIDED


def test_a_lookup_gives_the_entity_as_a_number() -> None:
    assert decode_customer_id({"entity": 306, "warnings": []}) == 306
    assert decode_customer_id({"entity": "306"}) == 306


@pytest.mark.parametrize("data", [{}, {"entity": None}, {"entity": True}, {"entity": "x"}, []])
def test_a_lookup_without_an_entity_is_undecodable(data: Any) -> None:
    with pytest.raises(UndecodableError):
        decode_customer_id(data)


def test_an_unusable_token_is_undecodable() -> None:
    with pytest.raises(UndecodableError):
        decode_token({"accessToken": "a\r\nX: y", "ttlSeconds": 300})


@pytest.mark.parametrize(("ttl", "lifetime"), [(300, 300.0), (None, UNSTATED_LIFETIME), (-1, UNSTATED_LIFETIME)])
def test_a_token_without_lifetime_is_used_briefly(ttl: int | None, lifetime: float) -> None:
    assert decode_token({"accessToken": "t", "ttlSeconds": ttl}).lifetime == lifetime


def test_a_token_is_not_shown() -> None:
    assert "sesame" not in repr(decode_token({"accessToken": "sesame", "ttlSeconds": 300}))


def test_a_badge_without_an_id_is_undecodable() -> None:
    with pytest.raises(UndecodableError):
        decode_badge({"name": "Gold"}, badge_meta_id=BADGE_ID)
    with pytest.raises(OtherReplyError):
        decode_badge({"id": OTHER_BADGE_ID, "name": "Gold"}, badge_meta_id=BADGE_ID)


def revoked(data: Any) -> RevokedBadge:
    return decode_revoked(data, badge_meta_id=BADGE_ID, customer_id=CUSTOMER_ID, earned_badge_id="e1")


def test_a_revocation_says_whether_the_badge_is_active() -> None:
    assert revoked({"earnedBadgeId": "e1", "isActive": False}) == RevokedBadge("e1", False)
    assert revoked({}) == RevokedBadge()


def test_a_revocation_naming_no_badge_confirms_nothing() -> None:
    assert revoked({"badgeMetaId": BADGE_ID, "isActive": False}).is_active is None


@pytest.mark.parametrize(
    "named", [{"earnedBadgeId": "e2"}, {"badgeMetaId": OTHER_BADGE_ID}, {"customerId": CUSTOMER_ID + 1}]
)
def test_a_revocation_of_something_else_is_not_ours(named: dict[str, Any]) -> None:
    with pytest.raises(OtherReplyError):
        revoked({"earnedBadgeId": "e1", "isActive": False, **named})
