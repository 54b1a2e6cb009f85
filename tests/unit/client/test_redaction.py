from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.client.redaction import LONGEST, redacted

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJDYXBpbGxhcnkifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Basic c3RvcmU6aGFzaA==", "c3RvcmU6aGFzaA"),
        ('{"Authorization": "Basic c3RvcmU6aGFzaA=="}', "c3RvcmU6aGFzaA"),
        ("X-CAP-API-OAUTH-TOKEN: opaque-token-1", "opaque-token-1"),
        (f"token was {JWT} and failed", "c2lnbmF0dXJl"),
        ("sent Bearer abcdef123456", "abcdef123456"),
        ("password=hunter2 is wrong", "hunter2"),
        ('{"password": "hunter 2"}', "hunter 2"),
        ("{'secret': 'hunter2'}", "hunter2"),
        ("Cookie: _cfuvid=abc", "abc"),
        ("GET /v2/customers/lookup?identifierName=mobile&identifierValue=919111111111 failed", "919111111111"),
        ("proxy http://user:pw@proxy.example:3128 refused", "user:pw"),
    ],
)
def test_what_looks_like_a_credential_is_not_shown(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted(text)


def test_known_secrets_are_removed_wherever_they_stand() -> None:
    assert (
        redacted("the till said 8a16a6b7 and again 8a16a6b7!", ["8a16a6b7", ""]) == "the till said *** and again ***!"
    )


def test_a_secret_within_another_does_not_uncover_it() -> None:
    assert redacted("long-secret-tail", ["long", "long-secret-tail"]) == "***"


@pytest.mark.parametrize("text", ["code 1054: GLOBAL.BADGE_NOT_FOUND", "the host name cannot be resolved", "what? yes"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@given(st.text(max_size=2000))
def test_the_result_is_one_short_printable_line(text: str) -> None:
    shown = redacted(text)
    assert len(shown) <= LONGEST
    assert shown.isprintable()


def test_cutting_leaves_no_half_of_a_secret() -> None:
    text = "x" * (LONGEST - 5) + "sesame-open"
    assert "sesa" not in redacted(text, ["sesame-open"])


def test_an_earlier_text_is_searched_for_current_secrets() -> None:
    for _ in range(2):
        assert redacted("the key is violet-42", ["violet-42"]) == "the key is ***"
        assert redacted("the key is violet-42", ["other"]) == "the key is violet-42"
        assert redacted("the key is violet-42", ["other"], longest=8) == "the key…"
