from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_capillary.simulator.server import RunningSimulator
from airflow_provider_capillary.simulator.simulator_settings import catalogue

Start = Callable[..., RunningSimulator]
ApiOf = Callable[[RunningSimulator], requests.Session]

BASE = "/api_gateway/v1/badges"
BADGE, OTHER_BADGE = "654e08f2041fd452b3ef5b2e", "696f0fd40772ad476ecf74ac"
NOW = 1_704_067_200.0  # 2024-01-01: between earn and expiry of the rows below


def grant(api: requests.Session, customer: int, badge: str = BADGE, earned: int = 1674292011, **times: int) -> str:
    expires = times.get("expires", 1705828011)
    row = {"badgeMetaId": badge, "customerId": customer, "earnEventDate": earned, "earnExpiresOn": expires}
    return str(api.put(f"{BASE}/import/customerBadges", json=[row]).json()[0]["data"]["earnedBadgeId"])


@pytest.fixture
def simulator(start_capillary_simulator: Start) -> RunningSimulator:
    return start_capillary_simulator(clock=lambda: NOW)


@pytest.fixture
def api(simulator: RunningSimulator, api_of: ApiOf) -> requests.Session:
    return api_of(simulator)


def read_back(api: requests.Session, customer: int = 7, badge: str = BADGE) -> Any:
    return api.get(f"{BASE}/management/{customer}/badge/{badge}?includeStatistics=true").json()["data"]


def test_the_badge_list_has_pages_of_ten(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    api = api_of(start_capillary_simulator(badges=catalogue(23)))
    pages = [api.get(f"{BASE}/badgeMeta", params={"page": page}).json()["data"] for page in range(4)]
    assert [len(page["metaBasicDetails"]) for page in pages] == [10, 10, 3, 0]
    assert pages[1]["pagination"] == {"page": 1, "size": 10, "total": 23, "totalPages": 3}
    assert len({badge["id"] for page in pages for badge in page["metaBasicDetails"]}) == 23


def test_the_badge_list_takes_size_and_name(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    badges = catalogue([{"id": BADGE, "name": "Gold"}, {"id": OTHER_BADGE, "name": "Silver"}])
    api = api_of(start_capillary_simulator(badges=badges))
    assert api.get(f"{BASE}/badgeMeta?size=1").json()["data"]["pagination"]["totalPages"] == 2
    named = api.get(f"{BASE}/badgeMeta?name=Silver").json()
    assert [badge["id"] for badge in named["data"]["metaBasicDetails"]] == [OTHER_BADGE]
    assert named["errors"] == named["warnings"] == []


def test_a_badge_is_found_by_its_id(api: requests.Session) -> None:
    reply = api.get(f"{BASE}/badgeMeta/{BADGE}").json()
    assert (reply["data"]["id"], reply["errors"], reply["warnings"]) == (BADGE, None, None)


@pytest.mark.parametrize("path", ["/badgeMeta/" + "0" * 24, "/management/7/badge/" + "0" * 24])
def test_another_organisations_badge_gets_404(api: requests.Session, path: str) -> None:
    reply = api.get(BASE + path)
    assert reply.status_code == 404
    assert reply.json()["errors"] == [{"code": 404, "message": "Passed badge is not found", "reference": None}]


def test_a_badge_never_earned_shows_zero(api: requests.Session) -> None:
    data = read_back(api)
    assert data["earnDetails"] == {"earnCount": 0, "earns": []}
    assert (data["activeEarnedCount"], data["lastEarnEventDate"], data["lastEarnEventDateISO"]) == (0, None, None)


def test_each_earn_and_the_last_are_shown(api: requests.Session) -> None:
    ids = [grant(api, 7, earned=1674292011), grant(api, 7, earned=1674292012), grant(api, 7, badge=OTHER_BADGE)]
    data = read_back(api)
    assert data["earnDetails"]["earnCount"] == 2
    assert [earn["earnedBadgeId"] for earn in data["earnDetails"]["earns"]] == ids[:2]
    assert data["earnDetails"]["earns"][0] == {
        "earnedBadgeId": ids[0],
        "earnedOn": 1674292011.0,
        "earnedOnISO": "2023-01-21T09:06:51Z",
        "earnEventDate": 1674292011.0,
        "earnEventDateISO": "2023-01-21T09:06:51Z",
        "expiresOn": 1705828011.0,
        "expiresOnISO": "2024-01-21T09:06:51Z",
        "isActive": True,
    }
    assert (data["lastEarnEventDate"], data["lastEarnEventDateISO"]) == (1674292012, "2023-01-21T09:06:52Z")
    assert (data["lastEarnedOn"], data["lastEarnedOnISO"]) == (1674292012, "2023-01-21T09:06:52Z")
    assert (data["lastEarnedOnDate"], data["lastEarnedOnDateISO"]) == (NOW, "2024-01-01T00:00:00Z")


def test_earns_may_look_like_events(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    api = api_of(start_capillary_simulator(earns_shape="event"))
    earned_id = grant(api, 7, earned=1674292011)
    assert read_back(api)["earnDetails"]["earns"] == [{"earnId": earned_id, "earnedOn": 1674292011000}]


def test_the_last_earn_is_the_latest_instant(api: requests.Session) -> None:
    grant(api, 7, earned=1674292012)
    grant(api, 7, earned=1600000000)
    assert read_back(api)["lastEarnEventDate"] == 1674292012


def test_statistics_are_shown_on_request(api: requests.Session) -> None:
    grant(api, 7)
    data = api.get(f"{BASE}/management/7/badge/{BADGE}").json()["data"]
    assert "earnDetails" not in data
    assert data["activeEarnedCount"] == 1


def test_earns_can_be_empty_as_published(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    api = api_of(start_capillary_simulator(earns_detail=False))
    grant(api, 7)
    assert read_back(api)["earnDetails"] == {"earnCount": 1, "earns": []}


def test_an_expired_badge_is_earned_but_inactive(api: requests.Session) -> None:
    grant(api, 7, expires=int(NOW) - 1)
    data = read_back(api)
    assert (data["earnDetails"]["earnCount"], data["activeEarnedCount"]) == (1, 0)


def test_a_customers_badges_are_summed_up(api: requests.Session) -> None:
    grant(api, 7)
    grant(api, 7)
    grant(api, 8, badge=OTHER_BADGE)
    data = api.get(f"{BASE}/customer/7").json()["data"]
    assert [(badge["badgeMetaId"], badge["earnedCount"]) for badge in data["badges"]] == [(BADGE, 2)]
    assert data["badges"][0]["lastEarnEventDateISO"] == "2023-01-21T09:06:51Z"
    assert data["pagination"]["total"] == 1


def test_expired_badges_show_on_request(api: requests.Session) -> None:
    grant(api, 7, expires=int(NOW) - 1)
    grant(api, 7, badge=OTHER_BADGE)

    def shown(query: str) -> list[str]:
        return [badge["badgeMetaId"] for badge in api.get(f"{BASE}/customer/7?{query}").json()["data"]["badges"]]

    assert shown("badgeType=EARNED") == [OTHER_BADGE]
    assert shown("badgeType=EXPIRED") == [BADGE]
    assert shown("includeExpired=true") == [BADGE, OTHER_BADGE]


def test_the_management_list_has_all_or_earned(api: requests.Session) -> None:
    grant(api, 7)
    every = api.get(f"{BASE}/management/7?size=50").json()["data"]
    earned = api.get(f"{BASE}/management/7?badgeType=EARNED").json()["data"]
    assert every["pagination"]["total"] == 13
    assert {badge["earnCount"] for badge in every["customerBadges"]} == {1, None}
    assert [badge["badgeMetaId"] for badge in earned["customerBadges"]] == [BADGE]


@pytest.mark.parametrize("path", ["/customer/8", "/management/8", f"/management/8/badge/{BADGE}", "/customer/x"])
def test_an_unknown_customer_gets_1026(start_capillary_simulator: Start, api_of: ApiOf, path: str) -> None:
    api = api_of(start_capillary_simulator(customers={7}))
    assert api.get(BASE + path).json()["errors"][0]["code"] == 1026


def test_a_grant_is_readable_after_the_delay(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    now = [NOW]
    api = api_of(start_capillary_simulator(clock=lambda: now[0], read_delay_seconds=30))
    grant(api, 7)
    counts = []
    for seconds in (29, 1):
        now[0] += seconds
        counts.append(read_back(api)["earnDetails"]["earnCount"])
    assert counts == [0, 1]


def test_revoking_twice_answers_814(simulator: RunningSimulator, api: requests.Session) -> None:
    kept, revoked = grant(api, 7), grant(api, 7)
    sent = {"badgeMetaId": BADGE, "customerId": 7, "earnedBadgeId": revoked}
    first, second = (api.post(f"{BASE}/customer/revokeEarn", json=sent) for _ in range(2))
    assert first.json() == {"data": sent | {"isActive": False}, "errors": [], "warnings": []}
    assert second.status_code == 409
    assert second.json()["errors"] == [
        {"code": 814, "message": "Active earn instance is not present.", "reference": None}
    ]
    assert {grant.earned_badge_id: grant.is_active for grant in simulator.store.grants()} == {
        kept: True,
        revoked: False,
    }
    assert read_back(api)["activeEarnedCount"] == 1


@pytest.mark.parametrize("wrong", [{"customerId": 8}, {"badgeMetaId": OTHER_BADGE}, {"earnedBadgeId": "0" * 24}])
def test_revoking_a_missing_badge_answers_814(
    simulator: RunningSimulator, api: requests.Session, wrong: dict[str, Any]
) -> None:
    sent = {"badgeMetaId": BADGE, "customerId": 7, "earnedBadgeId": grant(api, 7)} | wrong
    assert api.post(f"{BASE}/customer/revokeEarn", json=sent).json()["errors"][0]["code"] == 814
    assert simulator.store.summary().active == 1


def test_a_customer_is_looked_up_by_an_identifier(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    api = api_of(start_capillary_simulator(identifiers={("mobile", "919111111111"): 306}))
    query = {"source": "INSTORE", "identifierName": "mobile", "identifierValue": "919111111111"}
    found = api.get("/v2/customers/lookup", params=query)
    missing = api.get("/v2/customers/lookup", params=query | {"identifierValue": "1"})
    assert found.json() == {"entity": 306, "warnings": []}
    assert missing.json()["errors"][0]["code"] == 8015


def test_a_path_takes_a_customers_identifier(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    api = api_of(start_capillary_simulator(clock=lambda: NOW, identifiers={("email", "tom.sawyer@example.com"): 7}))
    grant(api, 7)
    headers = {"X-CAP-CUSTOMER-IDENTIFIER": "email"}
    reply = api.get(f"{BASE}/customer/tom.sawyer%40example.com", headers=headers)
    assert reply.json()["data"]["pagination"]["total"] == 1


def test_a_reading_call_has_no_other_method(api: requests.Session) -> None:
    assert api.delete(f"{BASE}/badgeMeta").status_code == 405
