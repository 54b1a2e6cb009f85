from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_capillary.simulator.server import RunningSimulator

Start = Callable[..., RunningSimulator]
ApiOf = Callable[[RunningSimulator], requests.Session]

IMPORT = "/api_gateway/v1/badges/import/customerBadges"
BADGE = "654e08f2041fd452b3ef5b2e"

OLDER_SAMPLE = [
    {"badgeMetaId": BADGE, "customerId": 382442802, "earnEventDate": 1674292011, "earnExpiresOn": 1705828011},
    {"badgeMetaId": BADGE, "customerId": 382442802, "earnEventDate": 1674292011, "earnExpiresOn": 1705828011},
]
# The newer page's request with the commas that its JSON lacks.
NEWER_SAMPLE = [
    {"badgeMetaId": "696f0fd40772ad476ecf74ac", "customerId": 555567088, "earnExpiresOn": 1705828011},
    {
        "badgeMetaId": "697a16140772ad476ecfe51c",
        "customerId": 12098734,
        "earnEventDate": 1635792000,
        "earnEventDateISO": "2025-09-10T15:00:00+05:30",
        "earnExpiresOn": 1667328000,
        "earnExpiresOnISO": "2022-11-02T00:10:00+05:30",
    },
]


def row(**changes: Any) -> dict[str, Any]:
    plain = {"badgeMetaId": BADGE, "customerId": 7, "earnEventDate": 1674292011, "earnExpiresOn": 1705828011}
    return {name: value for name, value in (plain | changes).items() if value is not None}


def test_the_newer_pages_sample_gets_its_reply(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(clock=lambda: float(0x697B5F6F))  # the time in the sample's earnedBadgeId
    base = "d9e144be-2450-4300-892f-798f9bb68ce2"
    reply = api_of(simulator).put(IMPORT, json=NEWER_SAMPLE, headers={"X-CAP-REQUEST-ID": base})
    first, second = (grant.earned_badge_id for grant in simulator.store.grants())
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert first.startswith("697b5f6f")
    assert reply.text == (
        '[{"data":{"badgeMetaId":"696f0fd40772ad476ecf74ac","customerId":555567088,'
        f'"earnedBadgeId":"{first}","expiresOn":1705828011.000000000,"expiresOnISO":"2024-01-21T09:06:51Z",'
        f'"requestId":"{base}_1","issuedId":null}},"errors":null,"warnings":null}},'
        '{"data":{"badgeMetaId":"697a16140772ad476ecfe51c","customerId":12098734,'
        f'"earnedBadgeId":"{second}","expiresOn":1667328000.000000000,"expiresOnISO":"2022-11-01T18:40:00Z",'
        f'"requestId":"{base}_2","issuedId":null}},"errors":null,"warnings":null}}]'
    )


def test_equal_rows_are_two_grants_as_documented(capillary_simulator: RunningSimulator, api: requests.Session) -> None:
    entries = api.put(IMPORT, json=OLDER_SAMPLE).json()
    first, second = (int(entry["data"]["earnedBadgeId"], 16) for entry in entries)
    assert (second - first) % 2**24 == 3
    assert len(capillary_simulator.store) == 2
    assert capillary_simulator.store.summary().granted_twice == 1


def test_a_row_without_earn_date_is_granted_now(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(clock=lambda: 1_769_693_039.5)
    api_of(simulator).put(IMPORT, json=[row(earnEventDate=None)])
    assert [grant.earned_at for grant in simulator.store.grants()] == [1_769_693_039]


@pytest.mark.parametrize(
    ("zone", "printed"), [("UTC", "2024-01-21T09:06:51Z"), ("Asia/Kolkata", "2024-01-21T14:36:51+05:30")]
)
def test_the_expiry_is_printed_in_the_servers_zone(
    start_capillary_simulator: Start, api_of: ApiOf, zone: str, printed: str
) -> None:
    simulator = start_capillary_simulator(zone=zone)
    entries = api_of(simulator).put(IMPORT, json=[row(earnExpiresOnISO="2024-01-21T18:06:51+09:00")]).json()
    assert entries[0]["data"]["expiresOnISO"] == printed


@pytest.mark.parametrize(
    ("milliseconds", "printed"),
    [(1765178896000, "+57906-04-18T07:06:40Z"), (1796275142001, "+58891-09-10T13:13:21Z")],
)
def test_milliseconds_are_read_as_seconds(api: requests.Session, milliseconds: int, printed: str) -> None:
    reply = api.put(IMPORT, json=[row(earnExpiresOn=milliseconds)])
    assert reply.json()[0]["errors"] is None
    assert reply.json()[0]["data"]["expiresOnISO"] == printed
    assert f'"expiresOn":{milliseconds}.000000000' in reply.text


def test_unsuffixed_fields_take_iso_strings(capillary_simulator: RunningSimulator, api: requests.Session) -> None:
    api.put(IMPORT, json=[row(earnEventDate="2024-10-07T15:51:00.192Z", earnExpiresOn="2025-01-01T00:00:00+05:30")])
    (grant,) = capillary_simulator.store.grants()
    assert grant.earned_at == 1728316260.192
    assert grant.expires_at == 1735669800


def test_iso_fields_win_over_epoch_fields(capillary_simulator: RunningSimulator, api: requests.Session) -> None:
    api.put(IMPORT, json=[row(earnEventDateISO="2025-09-10T15:00:00+05:30", earnExpiresOnISO="2026-01-01T00:00:00Z")])
    (grant,) = capillary_simulator.store.grants()
    assert (grant.earned_at, grant.expires_at) == (1757496600, 1767225600)


@pytest.mark.parametrize(
    ("sent", "printed", "iso"),
    [
        (1770034996.715319, "1770034996.715319000", "2026-02-02T12:23:16Z"),
        (-0.25, "-0.250000000", "1969-12-31T23:59:59Z"),
        (-1, "-1.000000000", "1969-12-31T23:59:59Z"),
    ],
)
def test_fractions_of_a_second_keep_nine_decimals(api: requests.Session, sent: float, printed: str, iso: str) -> None:
    text = api.put(IMPORT, json=[row(earnExpiresOn=sent)]).text
    assert f'"expiresOn":{printed},"expiresOnISO":"{iso}"' in text


def test_request_ids_number_the_rows(api: requests.Session) -> None:
    given = api.put(IMPORT, json=[row(), row()], headers={"x-cap-request-id": "job-1.batch-2"})
    made_up = api.put(IMPORT, json=[row(), row()])
    other = api.put(IMPORT, json=[row()])
    assert [entry["data"]["requestId"] for entry in given.json()] == ["job-1.batch-2_1", "job-1.batch-2_2"]
    base = made_up.headers["X-Cap-Requestid"]
    assert [entry["data"]["requestId"] for entry in made_up.json()] == [f"{base}_1", f"{base}_2"]
    assert other.headers["X-Cap-Requestid"] != base


def test_an_unknown_badge_refuses_its_row_only(capillary_simulator: RunningSimulator, api: requests.Session) -> None:
    reply = api.put(IMPORT, json=[row(customerId=1), row(badgeMetaId="0" * 24), row(customerId=3)])
    entries = reply.json()
    error = {"code": 1054, "message": "GLOBAL.BADGE_NOT_FOUND", "reference": None}
    assert reply.status_code == 200
    assert entries[1] == {"data": None, "errors": [error], "warnings": None}
    assert [entries[place]["data"]["requestId"][-2:] for place in (0, 2)] == ["_1", "_3"]
    assert [grant.customer_id for grant in capillary_simulator.store.grants()] == [1, 3]


def test_an_unknown_badge_can_refuse_the_call(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(unknown_badge="call")
    reply = api_of(simulator).put(IMPORT, json=[row(), row(badgeMetaId="0" * 24)])
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["code"] == 1054
    assert len(simulator.store) == 0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"badgeMetaId": None}, 1054),
        ({"customerId": None}, 812),
        ({"earnExpiresOn": None}, 400),
        ({"customerId": 8}, 1026),
    ],
)
def test_a_row_that_lacks_something_is_refused_alone(
    start_capillary_simulator: Start, api_of: ApiOf, wrong: dict[str, Any], code: int
) -> None:
    simulator = start_capillary_simulator(customers={7})
    entries = api_of(simulator).put(IMPORT, json=[row(**wrong), row()]).json()
    assert entries[0]["errors"][0]["code"] == code
    assert entries[1]["errors"] is None
    assert len(simulator.store) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'[{"badgeMetaId": "654e08f2041fd452b3ef5b2e", "customerId": 555567088 "earnExpiresOn": 1705828011}]',
        b'[{"badgeMetaId": "654e08f2041fd452b3ef5b2e"',
        b"",
        b"{}",
        b"[null]",
        b'"text"',
        b'[{"badgeMetaId": "\xff"}]',
    ],
)
def test_a_body_that_is_no_array_gets_jacksons_message(
    capillary_simulator: RunningSimulator, api: requests.Session, body: bytes
) -> None:
    reply = api.put(IMPORT, data=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["code"] == 400
    assert reply.json()["errors"][0]["message"].startswith("JSON parse error: ")
    assert "com.fasterxml.jackson" in reply.json()["errors"][0]["message"]
    assert len(capillary_simulator.store) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("customerId", "abc"),
        ("customerId", True),
        ("customerId", [1]),
        ("customerId", 2**63),
        ("badgeMetaId", {"id": BADGE}),
        ("earnEventDate", "yesterday"),
        ("earnEventDate", "2024-10-07T15:51:00"),
        ("earnEventDate", False),
        ("earnExpiresOn", "2024-02-30T00:00:00Z"),
        ("earnExpiresOn", 10**17),
        ("earnExpiresOnISO", "2024-10-07 15:51:00Z"),
        ("earnEventDateISO", 1674292011),
    ],
)
def test_one_wrong_type_refuses_the_call(
    capillary_simulator: RunningSimulator, api: requests.Session, name: str, value: Any
) -> None:
    reply = api.put(IMPORT, json=[row(), row(**{name: value}), row()])
    assert reply.status_code == 400
    assert f'ArrayList[1]->ImportCustomerBadge["{name}"]' in reply.json()["errors"][0]["message"]
    assert len(capillary_simulator.store) == 0


@pytest.mark.parametrize(("sent", "read"), [("12098734", 12098734), (12.9, 12), (-5, -5)])
def test_a_customer_id_is_read_leniently(
    capillary_simulator: RunningSimulator, api: requests.Session, sent: Any, read: int
) -> None:
    assert api.put(IMPORT, json=[row(customerId=sent)]).json()[0]["data"]["customerId"] == read


def test_unknown_properties_are_ignored(api: requests.Session) -> None:
    assert api.put(IMPORT, json=[row(requestId="mine", note={"a": [1]})]).json()[0]["errors"] is None


def test_an_empty_array_gets_an_empty_array(api: requests.Session) -> None:
    assert api.put(IMPORT, json=[]).text == "[]"


def test_a_body_sent_in_chunks_is_read(capillary_simulator: RunningSimulator, api: requests.Session) -> None:
    pieces = [b"[", json.dumps(row()).encode(), b"]"]
    reply = api.put(IMPORT, data=iter(pieces), headers={"Content-Type": "application/json"})
    assert reply.status_code == 200
    assert len(capillary_simulator.store) == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_gets_415(api: requests.Session, content_type: str | None) -> None:
    reply = api.put(IMPORT, data=json.dumps([row()]), headers={"Content-Type": content_type})
    assert reply.status_code == 415
    assert reply.json()["data"] is None


@pytest.mark.parametrize(
    ("methods", "put", "post"), [(("PUT",), 200, 405), (("POST",), 405, 200), (("PUT", "POST"), 200, 200)]
)
def test_the_import_answers_to_its_methods(
    start_capillary_simulator: Start, api_of: ApiOf, methods: tuple[str, ...], put: int, post: int
) -> None:
    api = api_of(start_capillary_simulator(methods=methods))
    replies = api.put(IMPORT, json=[row()]), api.post(IMPORT, json=[row()])
    assert [reply.status_code for reply in replies] == [put, post]
    assert {reply.headers["Allow"] for reply in replies if reply.status_code == 405} <= {", ".join(methods)}


def test_a_repeated_request_id_is_granted_by_default(
    capillary_simulator: RunningSimulator, api: requests.Session
) -> None:
    for _ in range(2):
        assert api.put(IMPORT, json=[row()], headers={"X-CAP-REQUEST-ID": "same"}).status_code == 200
    assert len(capillary_simulator.store) == 2


def test_a_checked_request_id_is_refused_with_809(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(refuse_repeated_request_ids=True)
    api = api_of(simulator)
    replies = [api.put(IMPORT, json=[row()], headers={"X-CAP-REQUEST-ID": "same"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 400]
    error = {"code": 809, "message": "Request with same requestId is not allowed", "reference": None}
    assert replies[1].json() == {"data": None, "errors": [error], "warnings": None}
    assert len(simulator.store) == 1


def test_an_unknown_path_gets_404(api: requests.Session) -> None:
    assert api.put("/api_gateway/v1/badges/import", json=[]).status_code == 404


def test_a_path_prefix_belongs_to_the_url(start_capillary_simulator: Start, api_of: ApiOf) -> None:
    simulator = start_capillary_simulator(path_prefix="/eu")
    assert simulator.url.endswith("/eu")
    assert api_of(simulator).put(IMPORT, json=[row()]).status_code == 200
    outside = simulator.url.removesuffix("/eu")
    assert requests.put(outside + IMPORT, json=[row()], timeout=20).status_code == 404
