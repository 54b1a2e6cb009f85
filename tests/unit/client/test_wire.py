from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from airflow_provider_capillary.client.client_settings import TimestampFormat
from airflow_provider_capillary.client.wire import (
    LONGEST_RETRY_AFTER,
    decode_envelope,
    decode_reply,
    encode_batch,
    retry_after,
    row_size,
)
from airflow_provider_capillary.core.earned_badge import EARLIEST_INSTANT, LARGEST, LATEST_INSTANT, EarnedBadge
from airflow_provider_capillary.core.outcome import Verdict, judge
from airflow_provider_capillary.core.reply import ApiProblem, Entry, Reply, Transmission

NOW = datetime(2026, 1, 29, 13, 0, tzinfo=UTC).timestamp()
DOCUMENTED_ROW = EarnedBadge(1, "654e08f2041fd452b3ef5b2e", 382442802, 1674292011, 1705828011)

OLDER_REPLY = b"""[{"data": {"badgeMetaId": "654e08f2041fd452b3ef5b2e", "customerId": 382442802,
 "earnedBadgeId": "6576f7d291e0b01c659ad606", "expiresOn": 1705828011.000000000,
 "requestId": "f93f710f169c8390c41ae095986c5a50_1"}, "errors": null, "warnings": null}]"""
NEWER_REPLY = b"""[{"data": {"badgeMetaId": "696f0fd40772ad476ecf74ac", "customerId": 555567088,
 "earnedBadgeId": "697b5f6f0772ad476ecff272", "expiresOn": 1705828011.000000000,
 "expiresOnISO": "2024-01-21T09:06:51Z", "requestId": "d9e144be-2450-4300-892f-798f9bb68ce2_1", "issuedId": null},
 "errors": null, "warnings": null}]"""

earned_badges = st.builds(
    EarnedBadge,
    row_number=st.integers(1, 10**9),
    badge_meta_id=st.text("0123456789abcdef", min_size=24, max_size=24),
    customer_id=st.integers(1, 2**63 - 1),
    earned_at=st.integers(EARLIEST_INSTANT, LATEST_INSTANT - 1),
    expires_at=st.integers(EARLIEST_INSTANT, LATEST_INSTANT - 1),
)
formats = st.sampled_from(TimestampFormat)


def decoded(body: bytes, status: int = 200, **headers: str) -> Reply:
    named = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return decode_reply(status, named, body, now=NOW)


# -- requests


def test_the_documented_request_is_encoded_as_documented() -> None:
    assert (
        json.loads(encode_batch([DOCUMENTED_ROW] * 2, TimestampFormat.EPOCH_SECONDS))
        == [
            {
                "badgeMetaId": "654e08f2041fd452b3ef5b2e",
                "customerId": 382442802,
                "earnEventDate": 1674292011,
                "earnExpiresOn": 1705828011,
            }
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("timestamp_format", "times"),
    [
        (TimestampFormat.EPOCH_SECONDS, '"earnEventDate":1674292011,"earnExpiresOn":1705828011'),
        (TimestampFormat.EPOCH_MILLISECONDS, '"earnEventDate":1674292011000,"earnExpiresOn":1705828011000'),
        (
            TimestampFormat.ISO_INLINE,
            '"earnEventDate":"2023-01-21T09:06:51Z","earnExpiresOn":"2024-01-21T09:06:51Z"',
        ),
        (
            TimestampFormat.ISO_FIELDS,
            '"earnEventDate":1674292011,"earnEventDateISO":"2023-01-21T09:06:51Z",'
            '"earnExpiresOn":1705828011,"earnExpiresOnISO":"2024-01-21T09:06:51Z"',
        ),
    ],
)
def test_each_format_writes_these_very_bytes(timestamp_format: TimestampFormat, times: str) -> None:
    expected = '[{"badgeMetaId":"654e08f2041fd452b3ef5b2e","customerId":382442802,' + times + "}]"
    assert encode_batch([DOCUMENTED_ROW], timestamp_format).decode() == expected


@given(earned_badges, formats)
def test_every_format_writes_the_same_instants(badge: EarnedBadge, timestamp_format: TimestampFormat) -> None:
    [row] = json.loads(encode_batch([badge], timestamp_format))
    factor = 1000 if timestamp_format is TimestampFormat.EPOCH_MILLISECONDS else 1
    for name, seconds in (("earnEventDate", badge.earned_at), ("earnExpiresOn", badge.expires_at)):
        for value in filter(None, (row[name], row.get(f"{name}ISO"))):
            if isinstance(value, str):
                assert datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() == seconds
            else:
                assert value == seconds * factor


@given(st.lists(earned_badges, min_size=1, max_size=20), formats)
def test_a_bodys_size_is_known_from_its_rows(badges: list[EarnedBadge], timestamp_format: TimestampFormat) -> None:
    body = encode_batch(badges, timestamp_format)
    assert len(body) == 1 + sum(row_size(badge, timestamp_format) for badge in badges)


@given(earned_badges, formats)
def test_no_row_is_larger_than_the_largest(badge: EarnedBadge, timestamp_format: TimestampFormat) -> None:
    assert row_size(badge, timestamp_format) <= row_size(LARGEST, timestamp_format)


# -- replies to an import


@pytest.mark.parametrize(
    ("body", "earned_id", "iso"),
    [
        (OLDER_REPLY, "6576f7d291e0b01c659ad606", None),
        (NEWER_REPLY, "697b5f6f0772ad476ecff272", "2024-01-21T09:06:51Z"),
    ],
)
def test_both_documented_replies_decode(body: bytes, earned_id: str, iso: str | None) -> None:
    reply = decoded(body, x_cap_requestid="f93f710f")
    assert reply.transmission is Transmission.REPLIED
    assert reply.server_request_id == "f93f710f"
    assert reply.entries is not None
    data = reply.entries[0].data
    assert data is not None
    assert (data.earned_badge_id, data.expires_on, data.expires_on_iso) == (earned_id, 1705828011.0, iso)
    assert reply.envelope is None
    assert reply.problem == ""


@pytest.mark.parametrize(
    "errors",
    ['{"code": 1054, "message": "no such badge"}', '[{"code": "1054", "message": "no such badge", "reference": null}]'],
)
def test_errors_come_as_object_or_array(errors: str) -> None:
    reply = decoded(f'[{{"data": null, "errors": {errors}, "warnings": []}}]'.encode())
    assert reply.entries is not None
    errors_found = reply.entries[0].errors
    listed = errors_found if isinstance(errors_found, list) else [errors_found]
    assert listed == [ApiProblem(1054, "no such badge")]


def test_an_error_with_other_names_keeps_its_text() -> None:
    reply = decoded(b'[{"data": null, "errors": {"errorCode": 7, "errorMessage": "odd"}}, {"errors": {"why": "so"}}]')
    assert reply.entries is not None
    assert reply.entries[0].errors == [ApiProblem(7, "odd")]
    assert reply.entries[1].errors == [ApiProblem(None, '{"why":"so"}')]


def test_an_empty_errors_object_is_no_error() -> None:
    reply = decoded(b'[{"data": {"earnedBadgeId": "a"}, "errors": {}}]')
    assert reply.entries is not None
    assert reply.entries[0].errors is None


def test_one_odd_entry_leaves_the_others_readable() -> None:
    odd = b'[{"data": {"earnedBadgeId": 5, "customerId": true}}, null, ' + OLDER_REPLY[1:]
    reply = decoded(odd)
    assert reply.entries is not None
    assert len(reply.entries) == 3
    assert reply.entries[0].data is not None
    assert reply.entries[0].data.earned_badge_id is None
    assert reply.entries[0].data.customer_id is None
    assert reply.entries[1].data is None
    assert reply.entries[2].data is not None
    assert reply.entries[2].data.earned_badge_id == "6576f7d291e0b01c659ad606"


ZEROS = "1705828011.000000000"
EXPIRIES = st.sampled_from(
    [
        *(ZEROS, ZEROS, ZEROS, f"-{ZEROS}", f"{ZEROS}0", f"{ZEROS}1", f'"{ZEROS},"', f"[{ZEROS},1]", "1705828011"),
        *(
            "1705828011.5",
            "1.7e9",
            "1e999",
            "9" * 30,
            "9" * 5000,
            "true",
            "null",
            '""',
            '{"a":1.000000000}',
            "01",
            "1.",
        ),
    ]
) | st.integers().map(str)


@settings(max_examples=300, deadline=None)
@given(st.lists(EXPIRIES | st.none(), max_size=4))
def test_expiries_read_together_equal_single_ones(expiries: list[str | None]) -> None:
    entries = ",".join(
        '{"data":{"earnedBadgeId":"a"}}' if text is None else f'{{"data":{{"earnedBadgeId":"a","expiresOn":{text}}}}}'
        for text in expiries
    )
    body = f"[{entries}]".encode()
    found: list[Any] = [entry.data and entry.data.expires_on for entry in decoded(body).entries or ()]
    assert _as_floats(found) == _as_floats(_one_by_one(body))


def _as_floats(values: list[Any]) -> list[Any]:
    return [float(value) if isinstance(value, int) else value for value in values]


def _one_by_one(body: bytes) -> list[Any]:
    try:
        return [entry.data and entry.data.expires_on for entry in msgspec.json.decode(body, type=list[Entry])]
    except msgspec.ValidationError:
        pass  # a value of another type says nothing, unless the whole reply cannot be read
    except msgspec.DecodeError:
        return []
    try:
        values = [entry["data"].get("expiresOn") for entry in msgspec.json.decode(body)]
    except msgspec.DecodeError:
        return []
    return [None if isinstance(value, (bool, list, dict)) else value for value in values]


@pytest.mark.parametrize(
    "data",
    [
        b'"text"',
        b"[]",
        b"5",
        b"false",
        b'{"customerId": 1.5}',
        b'{"customerId": [7]}',
        b'{"badgeMetaId": 5}',
        b'{"requestId": 5}',
        b'{"earnedBadgeId": 5}',
        b'{"requestId": "base_1", "earnedBadgeId": {}}',
    ],
)
def test_an_unreadable_echo_is_no_missing_echo(data: bytes) -> None:
    reply = decoded(b'[{"data": ' + data + b', "errors": [{"code": 1054, "message": "no"}]}]')
    assert judge([DOCUMENTED_ROW], reply).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (b'{"data": null, "errors": [{"code": 1060, "message": "too many"}]}', [ApiProblem(1060, "too many")]),
        (b'{"data": null, "errors": {"code": 809, "message": "again"}}', [ApiProblem(809, "again")]),
        (b'{"errors": [null, {}, {"code": 7, "message": "no", "reference": null}]}', [ApiProblem(7, "no")]),
        (b'{"data": null, "errors": [{"code": 7}], "warnings": []}', [ApiProblem(7, None)]),
        (b'{"data": {"id": 1}, "errors": [], "warnings": []}', []),
        (b"{}", []),
    ],
)
def test_an_envelope_of_the_api_is_read(body: bytes, problems: list[ApiProblem]) -> None:
    reply = decoded(body, status=400)
    assert reply.envelope == problems
    assert reply.entries is None


@pytest.mark.parametrize(
    ("body", "reported"),
    [
        (b'{"code": 400, "message": "JSON parse error"}', "code 400: JSON parse error"),
        (b'{"status": 404, "error": "Not Found", "path": "/x"}', "Not Found"),
        (b'{"status": {"success": false, "code": 500, "message": "no"}}', "code 500: no"),
        (b'{"status": 409, "error": "Conflict", "errors": [{"code": 409, "message": "spring"}]}', "code 409: spring"),
        (b'{"error": {"code": 400, "errors": [{"code": 400}]}}', ""),
        (b'{"errors": [{"code": "NotNull", "defaultMessage": "spring"}]}', ""),
        (b'{"errors": [{"code": 400, "message": "own"}, {"status": "409", "title": "other"}]}', "code 400: own"),
        (b'{"errors": [{"message": "no code"}]}', "no code"),
        (b'{"errors": ["no object"]}', "no object"),
        (b'{"errors": "no object"}', "no object"),
        (b'{"errors": [{"code": true, "message": "no number"}]}', "no number"),
        (b'{"data": {"id": 1}, "errors": [{"code": 400, "message": "beside data"}]}', "code 400: beside data"),
        (b'{"data": [], "errors": [{"code": 400, "message": "beside data"}]}', "code 400: beside data"),
    ],
)
def test_a_gateways_text_is_no_envelope(body: bytes, reported: str) -> None:
    reply = decoded(body, status=400)
    assert reply.envelope == []
    assert reported in reply.problem


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"null",
        b"7",
        b'"ok"',
        b"<html><title>502 Bad Gateway</title></html>",
        NEWER_REPLY[:-2],
        b"[" * 5000,
        b'{"errors": [',
        b"\xff\xfe[]",
        b'[{"data": "\xff"}]',
        b"[{}, 5",
        OLDER_REPLY + b"x",
    ],
)
def test_incomplete_json_says_so(body: bytes) -> None:
    reply = decoded(body, content_type="text/html; charset=utf-8")
    assert reply.entries is None
    assert reply.envelope is None
    assert reply.problem


def test_an_edge_page_is_named_by_its_title() -> None:
    reply = decoded(b"<html><title>502 Bad Gateway</title><p>ray 123</p></html>", 502, content_type="text/html")
    assert reply.problem == "57 bytes of text/html that are no complete JSON, titled '502 Bad Gateway'"


# -- Retry-After


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        (" 0 ", 0.0),
        ("Thu, 29 Jan 2026 13:00:30 GMT", 30.0),
        ("Thu, 29 Jan 2026 14:00:30 +0100", 30.0),
        ("Thu, 29 Jan 2026 13:00:30 -0000", 30.0),
        ("Thu, 29 Jan 2026 12:00:00 GMT", 0.0),
        ("999999999", LONGEST_RETRY_AFTER),
        ("Thu, 29 Jan 2099 12:00:00 GMT", LONGEST_RETRY_AFTER),
        ("-5", None),
        ("soon", None),
        ("inf", None),
        ("1e9", None),
        ("", None),
    ],
)
def test_retry_after_is_sensible_or_nothing(header: str, seconds: float | None) -> None:
    assert retry_after(CaseInsensitiveDict({"retry-after": header}), now=NOW) == seconds


def test_only_the_errors_field_is_the_apis_error() -> None:
    spring = decode_envelope(b'{"status": 404, "error": "Not Found"}')
    own = decode_envelope(b'{"data": null, "errors": [{"code": 404, "message": "Passed badge is not found"}]}')
    assert spring is not None
    assert own is not None
    assert (spring.errors, [each.code for each in own.errors]) == ((), [404])
    assert spring.problems
