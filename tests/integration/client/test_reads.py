"""What the client reads: lists of badges, a badge, a customer; and what proves nothing."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.client.wire_reads import Badge
from airflow_provider_capillary.exceptions import ApiUnavailableError, AuthenticationError, RequestRefusedError

from .sending import BADGE, Answer, Serve, basic, paths, refusal, says


def badge_list(ids: list[str], **pagination: int) -> Answer:
    return says({"data": {"metaBasicDetails": [{"id": each} for each in ids], "pagination": pagination}, "errors": []})


def test_badge_list_parts_are_read_on_demand(serve: Serve) -> None:
    server = serve(
        badge_list(["a", "b"], totalPages=3), badge_list(["c", "d"], totalPages=3), badge_list(["e"], totalPages=3)
    )
    with basic(server.url) as client:
        badges = client.list_badges(page_size=2)
        assert next(badges) == Badge("a")
        assert len(server.requests) == 1
        assert [badge.badge_meta_id for badge in badges] == ["b", "c", "d", "e"]
    assert paths(server) == [f"/api_gateway/v1/badges/badgeMeta?page={number}&size=2" for number in range(3)]


def test_without_totals_a_short_part_is_the_last(serve: Serve) -> None:
    server = serve(badge_list(["a", "b"]), badge_list(["c"]))
    with basic(server.url) as client:
        assert len(list(client.list_badges(page_size=2))) == 3


def test_a_server_without_pages_ends_the_reading(serve: Serve) -> None:
    server = serve(badge_list(["a", "b"], totalPages=99))
    with basic(server.url) as client, pytest.raises(ApiUnavailableError, match="repeats itself"):
        list(client.list_badges(page_size=2))
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [refusal(404, "Passed badge is not found", 404), refusal(1054), refusal(404)])
def test_a_badge_the_api_denies_is_none(serve: Serve, answer: Answer) -> None:
    server = serve(answer)
    with basic(server.url) as client:
        assert client.get_badge(BADGE) is None


@pytest.mark.parametrize(
    "answer",
    [
        says(b"<html>Not Found</html>", 404),
        says({"status": 404, "error": "Not Found"}, 404),
        says({"code": 404, "message": "No such route"}, 404),
        says({"status": {"success": False, "code": 404, "message": "No such route"}}, 404),
        says(b"", 404),
    ],
    ids=["html", "spring", "gateway", "v2", "empty"],
)
def test_a_missing_address_is_no_missing_badge(serve: Serve, answer: Answer) -> None:
    server = serve(answer)
    with basic(server.url) as client, pytest.raises(RequestRefusedError) as caught:
        client.get_badge(BADGE)
    assert caught.value.status == 404


def test_a_badge_that_is_there_is_given(serve: Serve) -> None:
    server = serve(says({"data": {"id": BADGE, "name": "Gold", "active": True}, "errors": None}))
    with basic(server.url) as client:
        assert client.get_badge(BADGE) == Badge(BADGE, "Gold", is_active=True)
    assert paths(server) == [f"/api_gateway/v1/badges/badgeMeta/{BADGE}"]


def test_an_id_cannot_lead_to_another_address(serve: Serve) -> None:
    server = serve(refusal(404))
    with basic(server.url) as client:
        client.get_badge("../../v2/customers?x=1#")
    assert paths(server) == ["/api_gateway/v1/badges/badgeMeta/..%2F..%2Fv2%2Fcustomers%3Fx%3D1%23"]


def test_a_customer_s_badge_is_read_with_statistics(serve: Serve) -> None:
    details = {"earnCount": 2, "earns": []}
    data = {"id": BADGE, "earnDetails": details, "activeEarnedCount": 1, "lastEarnEventDate": 1674292011}
    server = serve(says({"data": data, "errors": [], "warnings": []}))
    with basic(server.url) as client:
        found = client.get_customer_badge(382442802, BADGE)
    assert (found.earn_count, found.active_earned_count, found.last_earn_event_at) == (2, 1, 1674292011)
    assert paths(server) == [f"/api_gateway/v1/badges/management/382442802/badge/{BADGE}?includeStatistics=true"]


def test_a_reply_without_statistics_proves_nothing(serve: Serve) -> None:
    server = serve(says({"data": {"id": BADGE, "activeEarnedCount": 0}, "errors": []}))
    with basic(server.url) as client, pytest.raises(ApiUnavailableError, match="earnCount"):
        client.get_customer_badge(1, BADGE)


def test_a_reply_about_another_badge_ends_its_connection(serve: Serve) -> None:
    details = {"earnCount": 0, "earns": []}
    server = serve(
        says({"data": {"id": "0" * 24, "earnDetails": details}}), says({"data": {"id": BADGE, "earnDetails": details}})
    )
    with basic(server.url) as client:
        with pytest.raises(ApiUnavailableError, match="about another"):
            client.get_customer_badge(1, BADGE)
        assert client.get_customer_badge(1, BADGE).earn_count == 0
    assert server.connections == 2


def test_a_badge_is_not_answered_by_another(serve: Serve) -> None:
    server = serve(says({"data": {"id": "0" * 24, "name": "Other"}, "errors": None}))
    with basic(server.url) as client, pytest.raises(ApiUnavailableError, match="about another"):
        client.get_badge(BADGE)


def test_an_unknown_customer_is_refused_with_its_code(serve: Serve) -> None:
    server = serve(refusal(1026, "Customer with the specified ID is not found"))
    with basic(server.url) as client, pytest.raises(RequestRefusedError) as caught:
        client.get_customer_badge(1, BADGE)
    assert (caught.value.status, caught.value.code) == (200, 1026)


def test_a_customer_is_looked_up_by_identifier(serve: Serve) -> None:
    server = serve(says({"entity": 306, "warnings": []}))
    with basic(server.url) as client:
        assert client.lookup_customer("email", "a+b@example.com") == 306
    assert paths(server) == [
        "/v2/customers/lookup?source=INSTORE&identifierName=email&identifierValue=a%2Bb%40example.com"
    ]


def test_an_unassigned_identifier_gives_none(serve: Serve) -> None:
    answer = says({"errors": [{"status": False, "code": 8015, "message": "No customer"}], "warnings": []}, 400)
    server = serve(answer)
    with basic(server.url) as client:
        assert client.lookup_customer("mobile", "919111111111") is None


@pytest.mark.parametrize(
    ("answer", "error", "retry_after"),
    [
        (refusal(401, status=401), AuthenticationError, None),
        (refusal(403, status=403), RequestRefusedError, None),
        (refusal(1051), RequestRefusedError, None),
        (says(b"", 302, Location="/x"), RequestRefusedError, None),
        (says(b"{}", 429, Retry_After="7"), ApiUnavailableError, 7.0),
        (says(b"<html></html>", 503, Retry_After="9"), ApiUnavailableError, 9.0),
        (says(b"<html></html>", 520), ApiUnavailableError, None),
        (says(b"<html></html>"), ApiUnavailableError, None),
        (says(b"[]"), ApiUnavailableError, None),
    ],
    ids=["401", "403", "200 with errors", "302", "429", "503", "520", "200 html", "200 array"],
)
def test_a_failed_read_says_what_is_allowed(
    serve: Serve, answer: Answer, error: type[Exception], retry_after: float | None
) -> None:
    server = serve(answer)
    with basic(server.url) as client, pytest.raises(error) as caught:
        client.get_customer_badge(1, BADGE)
    assert type(caught.value) is error
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert len(server.requests) == 1


def test_a_check_reads_one_badge_and_changes_nothing(serve: Serve) -> None:
    server = serve(badge_list([BADGE], totalPages=5))
    with basic(server.url) as client:
        client.check()
    assert [request.split(b"\r\n")[0] for request in server.requests] == [
        b"GET /api_gateway/v1/badges/badgeMeta?page=0&size=1 HTTP/1.1"
    ]


def test_a_check_of_an_organisation_without_badges_succeeds(serve: Serve) -> None:
    server = serve(badge_list([]))
    with basic(server.url) as client:
        client.check()
    assert len(server.requests) == 1
